-- Capture files, written and read by plain Lua: pcap-savefile(5), and pcapng with one interface.
local ffi = require "ffi"
local m = require "spec.support.message"

local M = {}

M.ETHERNET, M.NULL, M.RAW, M.LOOP, M.SLL, M.SLL2 = 1, 0, 101, 108, 113, 276

local function be(n, size) return (size == 4 and m.be32 or m.be16)(n) end
local function host(n, size) return (size == 4 and m.host32 or m.host16)(n) end

local function put(file, frames, n, ng)
  for _, frame in ipairs(frames) do
    local bytes, sec, sub = frame[1], frame.sec or 1700000000, frame.sub or 0
    if ng then
      local padded = bytes .. ("\0"):rep(-#bytes % 4)
      local us = sec * 1000000 + sub
      file:write(n(6, 4), n(32 + #padded, 4), n(0, 4), n(math.floor(us / 2 ^ 32), 4), n(us % 2 ^ 32, 4),
        n(#bytes, 4), n(frame.len or #bytes, 4), padded, n(32 + #padded, 4))
    else
      file:write(n(sec, 4), n(sub, 4), n(#bytes, 4), n(frame.len or #bytes, 4), bytes)
    end
  end
end

--- Writes frames: { bytes, sec =, sub = (microseconds, or nanoseconds), len = (on the wire) }. Options: link,
--- nano, swapped (the other byte order), ng.
function M.write(path, frames, options)
  options = options or {}
  local n = options.swapped and be or host
  local link = options.link or M.RAW
  local file = assert(io.open(path, "wb"))
  if options.ng then
    local section = n(0x1a2b3c4d, 4) .. n(1, 2) .. n(0, 2) .. ("\255"):rep(8)
    file:write(n(0x0a0d0d0a, 4), n(28, 4), section, n(28, 4))
    file:write(n(1, 4), n(20, 4), n(link, 2), n(0, 2), n(65535, 4), n(20, 4))
  else
    file:write(n(options.nano and 0xa1b23c4d or 0xa1b2c3d4, 4), n(2, 2), n(4, 2), n(0, 4), n(0, 4), n(262144, 4),
      n(link, 4))
  end
  put(file, frames, n, options.ng)
  file:close()
end

--- Writes frames behind those of a file without options.
function M.append(path, frames)
  local file = assert(io.open(path, "ab"))
  put(file, frames, host)
  file:close()
end

local function native32(text, at)
  return tonumber(ffi.cast("uint32_t *", ffi.cast("const char *", text) + at)[0])
end

local function swapped32(text, at) return native32(text:sub(at + 1, at + 4):reverse(), 0) end

--- Reads a pcap file: the frames, and link, nano, is_swapped (the other byte order).
function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  local magic = native32(text, 0)
  local is_swapped = magic ~= 0xa1b2c3d4 and magic ~= 0xa1b23c4d
  local u32 = is_swapped and swapped32 or native32
  local frames, at = {}, 24
  while at < #text do
    local size = u32(text, at + 8)
    frames[#frames + 1] = { text:sub(at + 17, at + 16 + size), sec = u32(text, at), sub = u32(text, at + 4),
      len = u32(text, at + 12) }
    at = at + 16 + size
  end
  return frames, { link = u32(text, 20), nano = u32(text, 0) == 0xa1b23c4d, is_swapped = is_swapped }
end

return M
