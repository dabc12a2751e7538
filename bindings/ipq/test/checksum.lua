--- Whether a packet's lengths and checksums are right.
local assign = require "ipq.build.assign"
local misuse = require "ipq.build.misuse"
local packet = require "ipq.test.packet"

local M = {}

--- The packet as it is right: what the rewriting that live packets go through makes of it when all its lengths and
--- checksums are computed. Of a fragment that is the IP header's; a UDP checksum of 0 over IPv4 is right. nil and
--- why, where that cannot be told.
---@param pkt ipq.test.Packet
---@return ipq.test.Packet? right
---@return string? why
function M.right(pkt)
  if pkt.truncated then return nil, "the packet is cut off: its checksums cannot be told" end
  -- Bytes behind the IP packet are the link's.
  local length = pkt.ip and pkt.ip.length or pkt.ip6 and pkt.ip6.length + 40 or #pkt.bytes
  local own = pkt.bytes:sub(1, length)
  local ok, bytes = pcall(assign.complete, own, pkt.family, pkt.hw_protocol)
  if not ok then return nil, misuse.plain(bytes) end
  return packet.new(bytes .. pkt.bytes:sub(#own + 1), pkt.meta)
end

return M
