-- Buffers with any arguments: what a Buffer gives and does is what a string would.
local bit = require "bit"
local judge = require "spec.fuzz.judge"

local sizes = { u8 = 1, u16 = 2, u32 = 4, u64 = 8 }
local odd = { -1, 0.5, 1.5, -0.5, 0 / 0, 1 / 0, -1 / 0, 2 ^ 32, 2 ^ 53, 65535, 65536, "0", "x", true, {} }

--- An offset or a length: mostly one that fits.
local function number(c, size)
  local kind = c.byte()
  if kind < 200 then return c.u16() % (size + 1) end
  if kind < 230 then return c.u16() end
  return odd[kind % #odd + 1]
end

local function is_whole(n) return type(n) == "number" and n % 1 == 0 end
--- Whether n bytes at off are there. Readers take the whole part of an offset.
local function fits(off, n, size) return type(off) == "number" and off >= 0 and off <= size - n end

local function big_endian(bytes)
  local n = 0ULL
  for i = 1, #bytes do n = n * 256 + bytes:byte(i) end
  return n
end

local function to_bytes(value, size)
  local bytes, n = {}, value + 0ULL
  for i = size, 1, -1 do
    bytes[i] = string.char(tonumber(n % 256))
    n = n / 256
  end
  return table.concat(bytes)
end

local act = {}

function act.read(c, m, b, text)
  local name = c.pick { "u8", "u16", "u32", "u64" }
  local off = number(c, #text)
  local possible = fits(off, sizes[name], #text)
  local value = m:does(possible, name, b[name], b, off)
  if not possible then return end
  local at = math.floor(off)
  judge.equal(big_endian(text:sub(at + 1, at + sizes[name])), value + 0ULL, name)
end

function act.string(c, m, b, text)
  local off, len = number(c, #text), number(c, #text)
  local possible = fits(off, 0, #text) and type(len) == "number" and len >= 0 and off <= #text - len
  local value = m:does(possible, "string", b.string, b, off, len)
  if possible then
    judge.equal(text:sub(math.floor(off) + 1, math.floor(off) + math.floor(len)), value, "string")
  end
end

function act.find(c, m, b, text)
  local needle, off = c.bytes(c.byte() % 4), number(c, #text)
  local possible = fits(off, 0, #text) and is_whole(off)
  if type(off) == "number" and not is_whole(off) then return end
  local value = m:does(possible, "find", b.find, b, needle, off)
  local found = possible and text:find(needle, off + 1, true)
  if possible then judge.equal(found and found - 1 or nil, value, "find") end
  judge.equal(text:sub(1, #needle) == needle, b:starts(needle), "starts")
end

function act.set(c, m, b, text, start)
  local name = c.pick { "u8", "u16", "u32", "u64" }
  local size = sizes[name]
  local off = number(c, #text)
  local value = c.pick { c.byte(), c.u16(), 256 ^ math.min(size, 6), 0, -1, 0.5, "1", 0 / 0, -2 ^ 31 }
  local max = size == 8 and 2 ^ 53 - 1 or 256 ^ size - 1
  local least = size == 4 and -2 ^ 31 or 0 -- as LuaJIT's bit library has 32 bits
  if size == 8 and c.byte() % 2 == 1 then value = bit.lshift(c.u16() + 0ULL, c.byte() % 64) end
  local possible = fits(off, size, #text) and is_whole(off) and
    (type(value) == "cdata" or is_whole(value) and value >= least and value <= max)
  local new = possible and to_bytes(type(value) == "number" and value % 256 ^ size or value, size)
  possible = possible and m:takes(start + off, size, new)
  if possible then m:replace(start + off, size, new) end
  m:does(possible, "set_" .. name, b["set_" .. name], b, off, value)
end

function act.write(c, m, b, text, start)
  local new, off = c.bytes(c.byte()), number(c, #text)
  local possible = fits(off, #new, #text) and is_whole(off) and m:takes(start + off, #new, new)
  if possible then m:replace(start + off, #new, new) end
  m:does(possible, "write", b.write, b, off, new)
end

function act.replace(c, m, b, text, start)
  local new, off, len = c.bytes(c.byte()), number(c, #text), number(c, #text)
  if c.byte() > 250 then new = new:rep(c.byte()) end
  local possible = is_whole(off) and is_whole(len) and len >= 0 and fits(off, len, #text)
    and m:takes(start + off, len, new)
  if possible then m:replace(start + off, len, new) end
  m:does(possible, "replace", b.replace, b, off, len, new)
end

function act.resize(c, m, b, text, start)
  local len = number(c, #text)
  local possible = is_whole(len) and len >= 0 and len <= 65535
  local less = possible and math.max(#text - len, 0) or 0
  local new = possible and ("\0"):rep(len - #text) or ""
  local at = start + #text - less
  possible = possible and (len == #text or m:takes(at, less, new))
  if possible and len ~= #text then m:replace(at, less, new) end
  m:does(possible, "resize", b.resize, b, len)
end

local acts = { "read", "string", "find", "set", "write", "replace", "resize" }

--- A Buffer, and where it begins in the packet: what follows a header, or all.
local function buffer_of(c, m, pkt)
  local header = c.byte() % 2 == 1 and (pkt.tcp or pkt.udp or pkt.icmp or pkt.icmpv6 or pkt.sctp or pkt.gre)
  if not header then return { b = pkt.payload, start = 0, is_body = false } end
  local b = header.payload
  return { b = b, start = m:reach() - #b, is_body = true }
end

return judge.player(function(c, m, pkt)
  pkt.fix = m.fix
  local kept = {}
  while not c.is_over() do
    if #kept == 0 or c.byte() % 4 == 0 then kept[#kept + 1] = buffer_of(c, m, pkt) end
    local k = kept[c.byte() % #kept + 1]
    local stop = k.is_body and m:reach() or #m.bytes
    local text = m.bytes:sub(k.start + 1, stop)
    judge.equal(#text, #k.b, "length")
    judge.equal(text, tostring(k.b), "text")
    act[c.pick(acts)](c, m, k.b, text, k.start)
  end
end)
