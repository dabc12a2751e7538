-- Netlink messages as the kernel builds them (linux/netfilter/nfnetlink_queue.h), from strings.
local bit = require "bit"
local ffi = require "ffi"

local M = {}

function M.be16(n) return string.char(bit.rshift(n, 8), bit.band(n, 255)) end
function M.be32(n)
  return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255),
    bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end
function M.be64(n) return M.be32(math.floor(n / 2 ^ 32)) .. M.be32(n % 2 ^ 32) end

--- Host order, as netlink's own headers are.
function M.host16(n) return ffi.string(ffi.new("uint16_t[1]", n), 2) end
function M.host32(n) return ffi.string(ffi.new("uint32_t[1]", n), 4) end

-- NFQA_*
M.PACKET_HDR, M.MARK, M.TIMESTAMP, M.INDEV, M.OUTDEV = 1, 3, 4, 5, 6
M.PHYSINDEV, M.PHYSOUTDEV, M.HWADDR, M.PAYLOAD, M.CT, M.CT_INFO = 7, 8, 9, 10, 11, 12
M.CAP_LEN, M.SKB_INFO, M.EXP, M.UID, M.GID, M.SECCTX, M.VLAN = 13, 14, 15, 16, 17, 18, 19
M.L2HDR, M.PRIORITY = 20, 21

local function pad(bytes) return bytes .. ("\0"):rep(-#bytes % 4) end

--- One attribute, padded; length and type as given even where they lie.
function M.attr(kind, value, length)
  return pad(M.host16(length or #value + 4) .. M.host16(kind) .. value)
end

--- NFQA_PACKET_HDR
function M.hdr(id, protocol, hook)
  return M.attr(M.PACKET_HDR, M.be32(id) .. M.be16(protocol or 0x0800) .. string.char(hook or 3))
end

--- A whole NFQNL_MSG_PACKET message around attributes.
function M.packet(attributes, options)
  options = options or {}
  local body = string.char(options.family or 2, 0) .. M.be16(options.queue_num or 0) .. attributes
  return M.host32(options.length or 16 + #body) .. M.host16(options.type or 0x0300) .. M.host16(0)
    .. M.host32(0) .. M.host32(0) .. body
end

--- A message with a header and the payload, the usual case.
function M.simple(id, payload, more)
  return M.packet(M.hdr(id) .. (more or "") .. M.attr(M.PAYLOAD, payload))
end

return M
