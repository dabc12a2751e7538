-- Reads all that there is of each packet, and accepts it.
-- In the program no script has it by require.
local fields = (debug.getregistry()["ipq.require"] or require) "ipq.build.fields"
local ipq = require "ipq"

local extensions = { 0, 43, 44, 51, 60, 135 }

local function read(view, names)
  local text
  for i = 1, #names do text = tostring(view[names[i]]) end
  return text
end

return function(pkt)
  read(pkt, fields.meta)
  read(pkt, fields.derived)
  for i = 1, #fields.headers do
    local view = pkt[fields.headers[i]]
    if view then read(view, fields.of[fields.headers[i]]) end
  end
  if pkt.tcp then pkt.tcp:option(2) end
  for i = 1, pkt.ip6 and #extensions or 0 do pkt.ip6:exthdr(extensions[i]) end
  assert(#pkt:copy() == #pkt.payload and #tostring(pkt) > 0)
  return ipq.ACCEPT
end
