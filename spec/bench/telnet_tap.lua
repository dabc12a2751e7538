-- For tshark: counts TCP packets to port 23.
-- luacheck: globals Listener Field
local tap = Listener.new("tcp")
local dport = Field.new "tcp.dstport"
local count = 0

function tap.packet()
  if dport().value == 23 then count = count + 1 end
end

function tap.draw() print("telnet " .. count) end
