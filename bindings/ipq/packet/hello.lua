--- A client's hello as a script sees it, of TLS (tls.lua) or of QUIC (quic.lua). There is one, in memory of C's, and
--- what a script has of it is a number in a pointer's bits, good until the next one is read: so to look for a name
--- makes no more garbage than the name. hello:copy() is for who wants to keep it.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local names = require "ipq.packet.name"
local spelling = require "ipq.spelling"
-- A script may overwrite globals.
local error, pairs, setmetatable, tostring, type = error, pairs, setmetatable, tostring, type

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.hello then return core.hello end

local C, cast = abi.C, ffi.cast
local u64, view_pointer = ffi.typeof "uint64_t", ffi.typeof "struct ipq_hello_view *"
local GREASE_ALPN = 2 -- bytes

local hello = C.ipq_hello_new()
if hello == nil then error("no memory for a hello", 0) end
hello = ffi.gc(hello, C.ipq_hello_free)
-- The bits of the view of what is in it; 0: there is nothing.
local current, newest = ffi.new "uint64_t[1]", ffi.new "uint64_t[1]"

local M = {
  --- Where C puts it (struct ipq_hello *).
  memory = hello,
}

local function open(view)
  if type(view) ~= "cdata" then
    error("call it as hello:copy()", 3)
  end
  if cast(u64, view) ~= current[0] or current[0] == 0 then
    error("this hello is gone, for another one was read since; hello:copy() gives a table that can be kept", 3)
  end
end

--- The 16-bit numbers of a part, without GREASE (RFC 8701).
local function numbers_of(part)
  local list, bytes = {}, hello.body + part.at
  for i = 0, part.len - 2, 2 do
    local number = bytes[i] * 0x100 + bytes[i + 1]
    if not C.ipq_hello_is_grease(number) then list[#list + 1] = number end
  end
  return list
end

local get = {}

function get.sni()
  if hello.name_len == 0 then return nil end
  return (names.name(hello.name, hello.name_len, hello.name_hash))
end

function get.sni_error()
  if hello.sni_error == 0 then return nil end
  return (ffi.string(C.ipq_sni_strerror(hello.sni_error)))
end

function get.ech() return hello.has_ech ~= 0 end

function get.alpn()
  local list, bytes, at = {}, hello.body + hello.alpn.at, 0
  while at < hello.alpn.len do
    local len = bytes[at]
    local is_grease = len == GREASE_ALPN and C.ipq_hello_is_grease(bytes[at + 1] * 0x100 + bytes[at + 2])
    if not is_grease then list[#list + 1] = ffi.string(bytes + at + 1, len) end
    at = at + 1 + len
  end
  return list
end

function get.versions()
  if hello.versions.len == 0 then return { hello.version } end
  return (numbers_of(hello.versions))
end

function get.ciphers() return (numbers_of(hello.ciphers)) end

function get.extensions()
  local list, bytes, at = {}, hello.body + hello.extensions.at, 0
  while at < hello.extensions.len do
    local number = bytes[at] * 0x100 + bytes[at + 1]
    if not C.ipq_hello_is_grease(number) then list[#list + 1] = number end
    at = at + 4 + bytes[at + 2] * 0x100 + bytes[at + 3]
  end
  return list
end

local text = ffi.new("char[?]", ffi.C.IPQ_JA4_SIZE)

function get.ja3()
  C.ipq_hello_ja3(hello, text)
  return (ffi.string(text))
end

function get.ja4()
  C.ipq_hello_ja4(hello, text)
  return (ffi.string(text))
end

local methods = {}

--- All fields in a table, which can be kept.
---@return table
function methods:copy()
  open(self)
  local fields = {}
  for name, read in pairs(get) do fields[name] = read() end
  return fields
end

local known = { copy = true }
for name in pairs(get) do known[name] = true end

ffi.metatype("struct ipq_hello_view", {
  __index = function(view, key)
    open(view)
    local read = get[key]
    if read ~= nil then return (read()) end
    local method = methods[key]
    if method == nil then error(("a hello has no '%s'%s"):format(tostring(key), spelling.hint(key, known)), 2) end
    return method
  end,
  __newindex = function() error("a hello's fields cannot be assigned", 2) end,
  __tostring = function(view)
    open(view)
    return "ClientHello " .. (get.sni() and "for " .. get.sni() or "without a name")
  end,
})

--- What is in the memory is another one, or none: views that there were are good no more.
function M.close() current[0] = 0 end

--- A view of what C has put into the memory.
function M.view()
  newest[0] = newest[0] + 1
  current[0] = newest[0]
  return (cast(view_pointer, newest[0]))
end

--- The words of C's errors by their numbers, each made when it is asked for first.
function M.reasons(strerror)
  return (setmetatable({}, { __index = function(reasons, code)
    local words = ffi.string(strerror(code))
    reasons[code] = words
    return words
  end }))
end

core.hello = M
return M
