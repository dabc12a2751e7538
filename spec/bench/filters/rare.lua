-- One packet in twenty is the filter's: that one it looks at closely.
local ipq = require "ipq"
local seen = {}
return function(pkt)
  local tcp = pkt.tcp
  if not tcp or tcp.dport ~= 80 then return end
  local text = tcp.payload:string()
  local method, path = text:match "^(%u+) (%S+)"
  if method then
    seen[path] = (seen[path] or 0) + 1
    for _, word in ipairs { "/admin", "/login" } do
      if path:find(word, 1, true) then return ipq.DROP end
    end
  end
end
