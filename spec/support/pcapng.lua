--- pcapng files, written by plain Lua (draft-ietf-opsawg-pcapng): sections of blocks in either byte order.
local ffi = require "ffi"
local m = require "spec.support.message"

local M = {}

local Section = {}
Section.__index = Section

--- A section, of this machine's byte order or with is_swapped of the other one. Its methods add blocks to it; text() is
--- all of it.
function M.section(is_swapped)
  local little = not is_swapped == ffi.abi "le"
  local self = setmetatable({ blocks = {}, is_little = little }, Section)
  return self:block(0x0a0d0d0a, self:u32(0x1a2b3c4d) .. self:u16(1) .. self:u16(0) .. ("\255"):rep(8))
end

function Section:u16(n)
  local text = m.be16(n)
  return self.is_little and text:reverse() or text
end

function Section:u32(n)
  local text = m.be32(n)
  return self.is_little and text:reverse() or text
end

function Section:u64(n)
  local high, low = self:u32(math.floor(n / 2 ^ 32)), self:u32(n % 2 ^ 32)
  return self.is_little and low .. high or high .. low
end

local function padded(bytes) return bytes .. ("\0"):rep(-#bytes % 4) end

--- A list of { code, value }, with its end; "" where there is none.
function Section:options(list)
  if not list or #list == 0 then return "" end
  local texts = {}
  for i, option in ipairs(list) do
    texts[i] = self:u16(option[1]) .. self:u16(#option[2]) .. padded(option[2])
  end
  return table.concat(texts) .. ("\0"):rep(4)
end

function Section:block(kind, body)
  local len = self:u32(#body + 12)
  self.blocks[#self.blocks + 1] = self:u32(kind) .. len .. body .. len
  return self
end

--- Options: link, snaplen (0), options.
function Section:interface(options)
  return self:block(1, self:u16(options.link) .. self:u16(0) .. self:u32(options.snaplen or 0)
    .. self:options(options.options))
end

--- An Enhanced Packet Block. Options: interface (0), ticks (0), len (on the wire), options.
function Section:packet(bytes, options)
  options = options or {}
  local ticks = options.ticks or 0
  return self:block(6, self:u32(options.interface or 0) .. self:u32(math.floor(ticks / 2 ^ 32))
    .. self:u32(ticks % 2 ^ 32) .. self:u32(#bytes) .. self:u32(options.len or #bytes) .. padded(bytes)
    .. self:options(options.options))
end

--- The block that this one has replaced.
function Section:old_packet(bytes, options)
  options = options or {}
  return self:block(2, self:u16(options.interface or 0) .. self:u16(65535) .. self:u64(0) .. self:u32(#bytes)
    .. self:u32(options.len or #bytes) .. padded(bytes) .. self:options(options.options))
end

--- One without a time.
function Section:simple_packet(bytes, len) return self:block(3, self:u32(len or #bytes) .. padded(bytes)) end

function Section:text() return table.concat(self.blocks) end

return M
