-- Does something of all that a filter can do, or holds each packet (hold=yes); prints the most memory that the process
-- has had, when it stops.
local ipq = require "ipq"

local seen = ipq.counter "seen"
local n = 0

local function let_go(held) held:verdict(ipq.ACCEPT) end

local function hold(pkt) ipq.after(0, let_go, pkt:hold()) end

local function work(pkt)
  n = n + 1
  seen:inc()
  pkt.ip.ttl = 9
  if n % 3 == 0 then pkt.mark = n % 7 end
  if n % 5 == 0 then pkt.udp.payload:replace(0, 0, pkt.saddr) end
  if n % 7 == 0 then return ipq.ACCEPT, pkt:copy() .. n end
  if n % 100 == 0 then hold(pkt) end
  if n % 10000 == 0 then error(tostring(pkt)) end
end

return {
  filter = ipq.args.hold and hold or work,
  stop = function()
    for line in io.lines "/proc/self/status" do
      if line:match "^VmHWM" then print(line) end
    end
  end,
}
