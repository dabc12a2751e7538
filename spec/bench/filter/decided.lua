-- Takes a connection off the queue when a handler has read its client's first byte, and decided.
local ipq = require "ipq"

local function decide(stream, flow)
  if stream:read(1) then flow.data.is_decided = true end
end

return {
  stream = { port = 5201, client = decide },
  filter = function(pkt)
    if not pkt.flow or pkt.flow.data.is_decided then pkt:bypass() end
    return ipq.ACCEPT
  end,
}
