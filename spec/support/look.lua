-- Reads packets inside of packets.
local fields = require "ipq.build.fields"

local M = {}

--- Reads all that there is of a packet inside, and of those inside of it. Gives how many there were.
function M.read_all(inner)
  local count = 0
  while inner do
    count = count + 1
    for _, name in ipairs { "saddr", "daddr", "sport", "dport", "protocol", "fragment", "malformed", "truncated" } do
      tostring(inner[name])
    end
    local next_one = inner.inner
    assert(#inner.payload:string() == #inner.payload)
    for _, header in ipairs(fields.headers) do
      local view = header ~= "ether" and header ~= "arp" and inner[header]
      if view then
        for _, field in ipairs(fields.of[header]) do tostring(view[field]) end
        if header == "tcp" then view:option(2) end
        if header == "ip6" then view:exthdr(43) end
        if header:find "^icmp" then next_one = next_one or view.inner end
      end
    end
    inner = next_one
  end
  return count
end

return M
