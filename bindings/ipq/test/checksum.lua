--- Whether a packet's lengths and checksums are right.
local memory = require "ipq.test.memory"
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
  local ok, _, bytes = pcall(memory.with, pkt.bytes, { family = pkt.family }, function() return nil, pkt.bytes end)
  if not ok then return nil, packet.plain(_) end
  -- Bytes behind the IP packet are the link's.
  return packet.new(bytes .. pkt.bytes:sub(#bytes + 1), pkt.meta)
end

return M
