--- DNS messages over UDP, for filters that look at them.
local build = require "ipq.test.build"
local misuse = require "ipq.build.misuse"
local writer = require "ipq.dns.writer"

local M = {}

local message_fields = {}
for _, name in ipairs(writer.build_fields) do message_fields[name] = true end

--- A DNS message over UDP. Fields: those of ipq.dns.build(), as name and type of the question, answers, rcode. All
--- others are those of t.udp: ports are 53 and a private one, as the direction wants.
function M.dns(given)
  local result = misuse.guard(function()
    local udp, own = {}, {}
    for key, value in pairs(given or {}) do (message_fields[key] and own or udp)[key] = value end
    local is_answer = own.qr or own.qr == nil and own.answers ~= nil
    udp.payload = writer.build(own) or misuse.bad "dns: a message has at most 65535 bytes"
    udp.sport = udp.sport or is_answer and 53 or nil
    udp.dport = udp.dport or is_answer and 40000 or nil
    return build.udp(udp)
  end)
  return result
end

return M
