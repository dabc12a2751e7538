-- ClientHellos of TLS, made of what they have to say.
local m = require "spec.support.message"
local char = string.char
local be16 = m.be16

local M = {}

local function list8(text) return char(#text) .. text end
local function list16(text) return be16(#text) .. text end
M.list8, M.list16 = list8, list16

--- Numbers of 16 bits one after the other.
function M.numbers(numbers)
  local bytes = {}
  for i, number in ipairs(numbers) do bytes[i] = be16(number) end
  return table.concat(bytes)
end

--- An extension, { type, bytes }.
function M.sni(name) return { 0, list16("\0" .. list16(name)) } end
function M.groups(numbers) return { 10, list16(M.numbers(numbers)) } end
function M.formats(numbers) return { 11, list8(char(unpack(numbers))) } end
function M.signatures(numbers) return { 13, list16(M.numbers(numbers)) } end
function M.versions(numbers) return { 43, list8(M.numbers(numbers)) } end
function M.ech(size) return { 0xfe0d, "\0\0\1\0\1\7" .. list16(("e"):rep(32)) .. list16(("x"):rep(size or 144)) } end
--- A share of a key, of so many bytes: post-quantum ones have 1,216.
function M.share(size) return { 51, list16(be16(0x11ec) .. list16(("k"):rep(size))) } end

function M.alpn(names)
  local bytes = {}
  for i, name in ipairs(names) do bytes[i] = list8(name) end
  return { 16, list16(table.concat(bytes)) }
end

--- A hello as a handshake message: version, session, ciphers, compression and extensions, a list; false: none.
function M.message(o)
  local extensions = {}
  for i, extension in ipairs(o.extensions or {}) do extensions[i] = be16(extension[1]) .. list16(extension[2]) end
  local body = be16(o.version or 0x0303) .. (o.random or ("r"):rep(32)) .. list8(o.session or "")
    .. list16(M.numbers(o.ciphers or { 0x1301, 0x1302 })) .. list8(o.compression or "\0")
    .. (o.extensions == false and "" or list16(table.concat(extensions)))
  return "\1" .. char(math.floor(#body / 0x10000)) .. be16(#body % 0x10000) .. body
end

--- A message in records of so many bytes.
function M.records(message, size)
  local records = {}
  for at = 1, #message, size or 16384 do
    records[#records + 1] = "\22\3\1" .. list16(message:sub(at, at + (size or 16384) - 1))
  end
  return table.concat(records)
end

--- The hello of a client that asks for a name, with that many bytes in all: 1,800 with a post-quantum share of a key.
function M.client(name, size)
  local o = { session = ("s"):rep(32), ciphers = { 0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f },
    extensions = { { 0x4a4a, "" }, M.sni(name), M.groups { 0x5a5a, 0x11ec, 29, 23, 24 }, M.formats { 0 },
      M.alpn { "h2", "http/1.1" }, M.signatures { 0x0403, 0x0804, 0x0401 }, M.versions { 0x6a6a, 0x0304, 0x0303 },
      (size or 0) > 1500 and M.share(1216) or M.share(32) } }
  if size then
    table.insert(o.extensions, { 21, "" })
    o.extensions[#o.extensions][2] = ("\0"):rep(size - 5 - #M.message(o))
  end
  return M.records(M.message(o))
end

local GREASE = {}
for i = 0, 15 do GREASE[i + 1] = i * 0x1010 + 0x0a0a end
M.GREASE = GREASE

--- The numbers, in another order, some GREASE among them.
local function shuffled(r, numbers)
  local list = { unpack(numbers) }
  if r.number(0, 1) == 0 then list[#list + 1] = r.pick(GREASE) end
  for i = #list, 2, -1 do
    local j = r.number(1, i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

local function some(r, most, highest)
  local numbers = {}
  for i = 1, r.number(1, most) do numbers[i] = r.number(1, highest) end
  return shuffled(r, numbers)
end

local LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

function M.random_name(r)
  local labels = {}
  for i = 1, r.number(1, 5) do
    local letters = { "x" }
    for j = 2, r.number(1, 30) do
      local at = r.number(1, #LETTERS)
      letters[j] = LETTERS:sub(at, at)
    end
    labels[i] = table.concat(letters)
  end
  return table.concat(labels, ".")
end

--- What a random hello has, for M.message(); its name, if it has one, is in it, too.
function M.random(r)
  local o = { version = r.pick { 0x0301, 0x0302, 0x0303 }, session = r.bytes(r.pick { 0, 32 }), random = r.bytes(32),
    ciphers = some(r, 20, 0xd000) }
  local extensions = {}
  local function add(extension, of)
    if r.number(0, of or 2) > 0 then extensions[#extensions + 1] = extension end
  end
  o.name = M.random_name(r)
  add(M.sni(o.name), 5)
  o.name = #extensions > 0 and o.name or nil
  o.alpn = r.pick { { "h2", "http/1.1" }, { "http/1.1" }, { "h3" }, { "x" } }
  add(M.alpn(o.alpn))
  add(M.groups(some(r, 6, 0x2000)))
  add(M.formats { 0, 1, 2 })
  add(M.signatures(some(r, 10, 0x0900)))
  add(M.versions(shuffled(r, { 0x0304, 0x0303 })))
  add(M.ech(r.number(1, 200)), 1)
  add(M.share(r.pick { 32, 65, 1216 }))
  add({ 23, "" })
  add({ 35, r.bytes(r.number(0, 100)) })
  add({ 65281, "\0" })
  add({ r.pick(GREASE), "" })
  for i = #extensions, 2, -1 do
    local j = r.number(1, i)
    extensions[i], extensions[j] = extensions[j], extensions[i]
  end
  o.extensions = extensions
  return o
end

return M
