--- DNS messages as scripts see them: fields by name. There is one message at a time: a view of it is the message's
--- serial number in a pointer's bits, and what it is of is the one that was parsed last. Header and first question are
--- read at once, in C, the rest where a script asks for it.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local core = require "ipq.core"
local data = require "ipq.dns.data"
local ffi = require "ffi"
local names = require "ipq.dns.names"
local spelling = require "ipq.spelling"
local error, pairs, tostring = error, pairs, tostring -- a script may overwrite globals

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.dns_message then return core.dns_message end

local C, E, cast, istype = abi.C, ffi.C, ffi.cast, ffi.istype
local band, rshift = bit.band, bit.rshift
local u64, view_pointer = ffi.typeof "uint64_t", ffi.typeof "struct ipq_dns_view *"
local OPT = names.types.OPT
local QUESTIONS, ANSWERS, AUTHORITIES, ADDITIONAL = 0, 1, 2, 3

local message = ffi.new "struct ipq_dns"
local record = ffi.new "struct ipq_dns_record"

-- Names that came last, so that those that come again make no garbage: Lua has each string once, while somebody keeps
-- it.
local kept = {}
for i = 0, E.IPQ_DNS_NAME_SLOTS - 1 do kept[i] = "" end

local M = { message = message, kept = kept }

--- The struct ipq_dns behind a view; nil where the value is none. A view of a message that is not the newest any more
--- raises, at that level of the caller's.
function M.open(view, level)
  if not istype(view_pointer, view) then return nil end
  if cast(u64, view) ~= message.serial or message.len == 0 then
    error("the message was used after another dns.parse(): keep what is needed of it, or parse it again", level + 1)
  end
  return message
end

--- The view of what was parsed last.
function M.view() return (cast(view_pointer, message.serial)) end

local get = {}

function get.id(m) return m.id end
function get.flags(m) return m.flags end

for name, mask in pairs { qr = 0x8000, aa = 0x400, tc = 0x200, rd = 0x100, ra = 0x80, ad = 0x20, cd = 0x10 } do
  get[name] = function(m) return band(m.flags, mask) ~= 0 end
end

function get.opcode(m) return (band(rshift(m.flags, 11), 15)) end

function get.name(m)
  if m.name_len == 0 then return nil end
  local name = ffi.string(m.name, m.name_len)
  kept[m.slot] = name
  return name
end

function get.type(m)
  if m.name_len ~= 0 then return (names.type_name(m.type)) end
end

function get.class(m)
  if m.name_len ~= 0 then return m.class end
end

--- Calls each(at) for every entry of a section with record filled in. Gives nil, or a code, where it is malformed; else
--- true.
local function walk(m, section, each, list)
  local at = C.ipq_dns_section(m, section)
  local read = section == QUESTIONS and C.ipq_dns_question or C.ipq_dns_record
  local count = m.counts[section]
  for _ = 1, count do
    if at < 0 then return at end
    at = read(m, at, record)
    if at < 0 then return at end
    local code = each(m, list)
    if code then return code end
  end
  return at < 0 and at or nil
end

local function add_question(_, list)
  list[#list + 1] = { name = ffi.string(record.name, record.name_len), type = names.type_name(record.type),
    class = record.class }
end

local function add_record(m, list)
  if record.type == OPT then return nil end
  local kind, class, ttl = record.type, record.class, record.ttl
  local name = ffi.string(record.name, record.name_len)
  local value = data.read(m, record)
  if value == nil then return -E.IPQ_DNS_DATA end
  list[#list + 1] = { name = name, type = names.type_name(kind), class = class, ttl = ttl, data = value }
end

--- What EDNS says: the first OPT record, of the root (RFC 6891 section 6.1.1).
local function add_edns(m, found)
  if record.type ~= OPT or found.edns then return nil end
  local options, at, last = {}, record.data, record.data + record.data_len
  while at < last do
    local bytes = m.bytes + at
    local size = last - at >= 4 and bytes[2] * 256 + bytes[3] or last
    if size > last - at - 4 then return -E.IPQ_DNS_DATA end
    options[#options + 1] = { code = bytes[0] * 256 + bytes[1], data = ffi.string(bytes + 4, size) }
    at = at + 4 + size
  end
  found.edns = { size = record.class, rcode = rshift(record.ttl, 24), version = band(rshift(record.ttl, 16), 255),
    dnssec_ok = band(record.ttl, 0x8000) ~= 0, options = options }
end

local function section(name, number, each)
  get[name] = function(m)
    local list = {}
    if walk(m, number, each, list) then return nil end
    return list
  end
end

section("questions", QUESTIONS, add_question)
section("answers", ANSWERS, add_record)
section("authorities", AUTHORITIES, add_record)
section("additional", ADDITIONAL, add_record)

function get.edns(m)
  local found = {}
  if m.counts[ADDITIONAL] == 0 or walk(m, ADDITIONAL, add_edns, found) then return nil end
  return found.edns
end

function get.rcode(m)
  local low = band(m.flags, 15)
  local edns = get.edns(m)
  return (names.rcode_name(edns and edns.rcode * 16 + low or low))
end

--- Why it is malformed, as text; nil where it is not.
function get.malformed(m)
  local code
  for number = QUESTIONS, ADDITIONAL do
    code = code or walk(m, number, number == QUESTIONS and add_question or add_record, {})
  end
  code = code or walk(m, ADDITIONAL, add_edns, {})
  if code then return (ffi.string(C.ipq_dns_strerror(code))) end
end

--- All that was parsed.
function get.bytes(m) return (ffi.string(m.bytes, m.len)) end

local known = {}
for name in pairs(get) do known[name] = true end

ffi.metatype("struct ipq_dns_view", {
  __index = function(view, key)
    local m = M.open(view, 2)
    local read = get[key]
    if read == nil then
      error(("a DNS message has no '%s'%s"):format(tostring(key), spelling.hint(key, known)), 2)
    end
    return (read(m))
  end,
  __newindex = function()
    error("a DNS message cannot be changed: dns.rewrite(message, fields) gives another one", 2)
  end,
  __tostring = function(view)
    local m = M.open(view, 2)
    return (("DNS %s %s %s"):format(band(m.flags, 0x8000) ~= 0 and "answer" or "query",
      get.type(m) or "of no question", get.name(m) or ""))
  end,
})

--- What the fields are called.
function M.fields() return known end

core.dns_message = M
return M
