--- Header views: pkt.ip, pkt.tcp and the others, made from tables of fields.
---
--- Each field becomes a function of its own by generated text. Closures over an offset would share one
--- function prototype, and LuaJIT would then load the offset each time instead of knowing it.
local abi = require "ipq.engine.abi"
local address = require "ipq.packet.address"
local bit = require "bit"
local buffer = require "ipq.packet.buffer"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local numbers = require "ipq.packet.number"
local own = require "ipq.engine.own"
local spelling = require "ipq.spelling"
-- A script may overwrite globals.
local assert, concat, error, ipairs, loadstring, pairs = assert, table.concat, error, ipairs, loadstring, pairs
local setfenv, tostring, type = setfenv, tostring, type

local C = abi.C
local packet_of = live.any_packet_of

local M = {}

local scratch = ffi.new "uint8_t[16]"

--- Raises for a change that cannot be. level is that of error() for the caller.
local function check(result, what, level)
  if result ~= 0 then error(what .. ": " .. ffi.string(C.ipq_rewrite_strerror(result)), level + 1) end
end

local environment = {
  C = C, address = address, band = bit.band, bor = bit.bor, rshift = bit.rshift, lshift = bit.lshift,
  bnot = bit.bnot, scratch = scratch, check = check, refusal = numbers.refusal, type = type, error = error,
}

local function compile(text, name)
  return (setfenv(assert(loadstring(text, "=ipq/packet/header.lua:" .. name)), environment)())
end

--- A function that assigns, from the text of its body. Its errors are at that level of error() for it: 3 is the line of
--- its caller's caller.
local function compile_writer(body, name, level)
  return (compile(("local NAME, LEVEL = %q, %d\nreturn function(p, h, v)\n%s\nend")
    :format(name, level or 3, body), name))
end

--- The bytes at h[offset] as one number of size bytes, as Lua text.
local function load_text(offset, size)
  local terms = {}
  for i = 0, size - 1 do
    terms[#terms + 1] = ("h[%d]%s"):format(offset + i, i < size - 1 and (" * %.0f"):format(256 ^ (size - 1 - i)) or "")
  end
  return "(" .. concat(terms, " + ") .. ")"
end

local function store_text(offset, size, where)
  local lines = {}
  for i = 0, size - 1 do
    lines[#lines + 1] = ("scratch[%d] = band(rshift(raw, %d), 255)"):format(i, 8 * (size - 1 - i))
  end
  lines[#lines + 1] = ("check(C.ipq_rewrite_store(p, p.%s + %d, scratch, %d), NAME, LEVEL)"):format(where, offset, size)
  return (concat(lines, "\n"))
end

--- What makes a field gives of a name and a place its reader, its writer, and where in the header it ends; nil where
--- that takes the whole header.

--- A number: width bits, shift bits from the right of the size bytes at offset (network order).
---@param size 1|2|4
function M.number(offset, size, shift, width)
  shift = shift or 0
  width = width or size * 8
  local whole = width == size * 8
  local max = 2 ^ width - 1
  local min = max == numbers.MOST32 and numbers.LEAST32 or 0
  return function(name, where, level)
    local read = whole and load_text(offset, size)
      or ("band(rshift(%s, %d), %.0f)"):format(load_text(offset, size), shift, max)
    local raw = whole and "v"
      or ("bor(band(%s, bnot(%.0f)), lshift(v, %d))"):format(load_text(offset, size), max * 2 ^ shift, shift)
    return compile("return function(p, h) return (" .. read .. ") end", name),
      compile_writer(([[
        if type(v) ~= "number" or not (v >= %.0f and v <= %.0f) or v %% 1 ~= 0 then
          error(refusal(NAME, %.0f), LEVEL)
        end
        local raw = %s
        %s]]):format(min, max, max, raw, store_text(offset, size, where)), name, level), offset + size
  end
end

--- One bit of the byte at offset, as a boolean.
function M.flag(offset, mask)
  return function(name, where, level)
    return compile(("return function(p, h) return band(h[%d], %d) ~= 0 end"):format(offset, mask), name),
      compile_writer(([[
        if type(v) ~= "boolean" then error(NAME .. " must be true or false", LEVEL) end
        local raw = v and bor(h[%d], %d) or band(h[%d], %d)
        %s]]):format(offset, mask, offset, 255 - mask, store_text(offset, 1, where)), name, level), offset + 1
  end
end

--- An address, as text.
---@param family 4|6
function M.address(offset, family)
  local read = family == 4 and "ip" or "ip6"
  return function(name, where, level)
    return compile(("return function(p, h) return (address.%s(h + %d)) end"):format(read, offset), name),
      compile_writer(([[
        if not address.parse(%d, v, scratch) then
          error(NAME .. " must be the text of an IPv%d address", LEVEL)
        end
        check(C.ipq_rewrite_store(p, p.%s + %d, scratch, %d), NAME, LEVEL)]])
          :format(family, family, where, offset, family == 4 and 4 or 16), name, level)
  end
end

--- A field that is not a piece of a fixed place: read(p, h), and write(p, h, value) where it can be assigned.
--- write's errors are at the script's line with level 3.
function M.computed(read, write)
  return function() return read, write end
end

--- Puts len bytes over those at offset. Errors are at that level of the caller's.
function M.store(p, name, offset, bytes, len, level)
  check(C.ipq_rewrite_store(p, offset, bytes, len), name, level + 1)
end

--- Puts options (bytes, "\0" is added up to whole words) in the place of the old_len bytes of options that a
--- header at offset start has behind its first 20, and their length in words into the upper or lower four
--- bits of its byte at length_at. Errors are at that level of the caller's.
function M.put_options(p, name, start, old_len, options, length_at, is_upper, level)
  if type(options) ~= "string" or #options > 40 then
    error(name .. " must be a string of at most 40 bytes", level + 1)
  end
  options = options .. ("\0"):rep(-#options % 4)
  local words, old = 5 + #options / 4, p.data[start + length_at]
  scratch[0] = is_upper and words * 16 + old % 16 or old - old % 16 + words
  check(C.ipq_rewrite_replace(p, start + 20, old_len, options, #options), name, level + 1)
  check(C.ipq_rewrite_store(p, start + length_at, scratch, 1), name, level + 1)
end

-- Beside the metatypes, which outlive this module's table (see engine/abi.lua).
core.views = core.views or {}
local views = core.views

--- Makes the view type "struct ipq_view_NAME": fields by name, where their header begins (the member of
--- struct ipq_packet that is its offset, or "l2hdr", its address), and a condition on p that says that there is such a
--- header, as text or as a function. Gives a function of p, a packet or one inside of another one, that gives the
--- view, or nil.
function M.define(name, where, condition, fields, methods)
  local get, set, ends = {}, {}, {}
  for field, make in pairs(fields) do get[field], set[field], ends[field] = make(name .. "." .. field, where) end
  local there = type(condition) == "function" and condition
    or compile("return function(p) return " .. condition .. " end", name)
  local begin = where == "l2hdr" and "p.l2hdr" or "p.data + p." .. where
  local header_of = compile("return function(p) return " .. begin .. " end", name)
  local pointer = ffi.typeof("struct ipq_view_" .. name .. " *")
  views[name] = { get = get, set = set, methods = methods or {}, where = where, fields = fields }

  local names = {}
  for _, list in ipairs { get, methods or {} } do
    for known in pairs(list) do names[known] = true end
  end

  local function no_field(key, level)
    error(("pkt.%s has no field '%s'%s"):format(name, tostring(key), spelling.hint(key, names)), level + 1)
  end

  local function open(view)
    local p = packet_of(view)
    if p.parsed == 0 then C.ipq_header_parse(p) end
    if not there(p) then error("the packet has no " .. name .. " header any more", 3) end
    return p, header_of(p)
  end

  --- Whether the field is among what is quoted of a header that is not all quoted.
  local function is_quoted(p, key)
    local stop = ends[key]
    return where ~= "l4" or stop ~= nil and stop <= p.body - p.l4
  end

  local metamethods = {
    __index = function(view, key)
      local read = get[key]
      if read ~= nil then
        local p, h = open(view)
        if p.part ~= 0 and not is_quoted(p, key) then return nil end
        return (read(p, h))
      end
      local method = methods and methods[key]
      if method == nil then no_field(key, 2) end
      return method
    end,
    __newindex = function(view, key, value)
      local write = set[key]
      if write == nil then
        if get[key] == nil then no_field(key, 2) end
        error(("pkt.%s.%s cannot be assigned%s"):format(name, key, key == "payload" and buffer.HINT or ""), 2)
      end
      local p, h = open(view)
      if p.part ~= 0 and not is_quoted(p, key) then
        error(("pkt.%s.%s cannot be assigned: the ICMP error does not quote it"):format(name, key), 2)
      end
      write(p, h, value)
    end,
  }
  ffi.metatype("struct ipq_view_" .. name, metamethods)
  own.define_view(name, metamethods)

  return function(p)
    if p.parsed == 0 then C.ipq_header_parse(p) end
    if there(p) then return (live.view(p, pointer, name, p.at)) end
  end, open
end

--- The fields of each view: name → true where they can be assigned; and its methods.
function M.fields(name)
  local names = {}
  for field in pairs(views[name].get) do names[field] = views[name].set[field] ~= nil end
  return names, views[name].methods
end

--- A function that finds a field of that name in one of those headers: "ip.ttl", or nil.
function M.hint(headers)
  return function(name)
    for _, each in ipairs(headers) do
      if views[each].get[name] ~= nil then return each .. "." .. name end
    end
  end
end

--- A function of (struct ipq_packet *, address of the header, value) that assigns a field. Its errors are at that level
--- of error() for it.
function M.writer(name, field, level)
  local view = views[name]
  local _, write = view.fields[field](name .. "." .. field, view.where, level)
  return write
end

return M
