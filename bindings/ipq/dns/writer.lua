--- DNS messages from fields, as bytes. What is wrong with the fields raises without a line: see build/misuse.lua.
local abi = require "ipq.engine.abi"
local address = require "ipq.packet.address"
local bit = require "bit"
local data = require "ipq.dns.data"
local ffi = require "ffi"
local keys = require "ipq.build.keys"
local misuse = require "ipq.build.misuse"
local names = require "ipq.dns.names"
-- A script may overwrite globals.
local char, floor, ipairs, max, pairs = string.char, math.floor, ipairs, math.max, pairs
local setmetatable, tostring, type = setmetatable, tostring, type

local C, E, bad = abi.C, ffi.C, misuse.bad
local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local OPT, ANY, IN = names.types.OPT, names.types.ANY, 1
local QR, TC, RD, RA, CD, OPCODE = 0x8000, 0x200, 0x100, 0x80, 0x10, 0x7800
local OWN_SIZE = 1232 -- that an answer announces: "DNS Flag Day 2020"
local UDP_LEAST = 512 -- what who announces nothing takes

local writer = ffi.new "struct ipq_dns_writer"

local M = {}

local bits = { qr = QR, aa = 0x400, tc = TC, rd = RD, ra = RA, ad = 0x20, cd = CD }

local edns_size, edns_flags = ffi.new "uint32_t[1]", ffi.new "uint32_t[1]"
local packed = ffi.new "uint8_t[16]"

local function set16(at, value) writer.bytes[at], writer.bytes[at + 1] = rshift(value, 8), band(value, 255) end

local function type_number(value)
  return names.type_number(value) or bad("dns: there is no type '%s'", tostring(value))
end

local function rcode_number(value)
  return names.rcode_number(value) or bad("dns: there is no rcode '%s'", tostring(value))
end

local function whole(what, value, most)
  if type(value) ~= "number" or value < 0 or value > most or value % 1 ~= 0 then
    bad("dns: %s is a whole number from 0 to %d, not %s", what, most, tostring(value))
  end
  return value
end

local question_fields = { "name", "type", "class" }
local record_fields = { "name", "type", "class", "ttl", "data" }

local function put_head(given, kind)
  data.put_name(writer, given.name, true)
  C.ipq_dns_put16(writer, type_number(kind))
  C.ipq_dns_put16(writer, whole("class", given.class or IN, 65535))
end

local function put_question(given)
  keys.check("dns: a question's fields", given, question_fields)
  put_head(given, given.type or "A")
end

local function put_record(given)
  keys.check("dns: a record's fields", given, record_fields)
  local kind = given.type or "A"
  if given.data == nil then bad "dns: a record's data must be a string" end
  put_head(given, kind)
  C.ipq_dns_put32(writer, whole("ttl", given.ttl or 300, 2 ^ 32 - 1))
  data.write(writer, names.type_name(type_number(kind)), given.data)
end

local edns_fields = { "size", "version", "rcode", "dnssec_ok", "options" }

local function put_option(_, option)
  C.ipq_dns_put16(writer, whole("an option's code", option.code, 65535))
  data.measured(writer, C.ipq_dns_put, option.data, #option.data)
end

local function put_options(_, list)
  for _, option in ipairs(list or {}) do put_option(nil, option) end
end

--- RFC 6891 section 6.1.2
local function put_edns(edns, rcode)
  keys.check("dns: the fields of edns", edns, edns_fields)
  C.ipq_dns_put(writer, "\0", 1)
  C.ipq_dns_put16(writer, OPT)
  C.ipq_dns_put16(writer, whole("edns.size", edns.size or OWN_SIZE, 65535))
  C.ipq_dns_put16(writer, rshift(rcode, 4) * 256 + whole("edns.version", edns.version or 0, 255))
  C.ipq_dns_put16(writer, edns.dnssec_ok and 0x8000 or 0)
  data.measured(writer, put_options, edns.options)
end

--- Writes a section, and how many are in it, in the header.
local function put_section(at, list, put, more)
  local count = more
  for i = 1, list and #list or 0 do
    put(list[i])
    count = count + 1
  end
  if count > 65535 then bad "dns: a section of more than 65535" end
  set16(at, count)
end

--- Writes the records behind the questions. rcode may have 12 bits, of which EDNS has the upper ones.
local function put_records(given, edns, rcode)
  put_section(6, given.answers, put_record, 0)
  put_section(8, given.authorities, put_record, 0)
  put_section(10, given.additional, put_record, edns and 1 or 0)
  if edns then put_edns(edns, rcode) end
end

local function result()
  if writer.is_full ~= 0 then return nil, "the message would have more than 65535 bytes" end
  return (ffi.string(writer.bytes, writer.len))
end

--- The flags that fields give, beside those that there are.
local function flags_of(given, flags, rcode)
  for name, value in pairs(bits) do
    if given[name] ~= nil then flags = given[name] and bor(flags, value) or band(flags, bit.bnot(value)) end
  end
  if given.opcode then flags = bor(band(flags, bit.bnot(OPCODE)), lshift(whole("opcode", given.opcode, 15), 11)) end
  return (bor(band(flags, 0xfff0), band(rcode, 15)))
end

local sections = { "questions", "answers", "authorities", "additional" }
local build_fields = { "id", "qr", "aa", "tc", "rd", "ra", "ad", "cd", "opcode", "rcode", "name", "type", "questions",
  "answers", "authorities", "additional", "edns" }
M.build_fields = build_fields

local function check(what, given, fields)
  keys.check(what, given, fields)
  for _, name in ipairs(sections) do
    if given[name] ~= nil and type(given[name]) ~= "table" then bad("dns: %s are a list", name) end
  end
end

--- A message of fields. Gives its bytes, or nil and why there is none.
function M.build(given)
  check("dns: a message's fields", given, build_fields)
  local is_answer = given.qr or given.qr == nil and given.answers ~= nil
  local rcode = rcode_number(given.rcode or 0)
  C.ipq_dns_begin(writer)
  set16(0, whole("id", given.id or 1, 65535))
  set16(2, flags_of(given, bor(RD, is_answer and QR or 0), rcode))
  put_section(4, given.questions or { { name = given.name or "example.org", type = given.type } }, put_question, 0)
  put_records(given, given.edns, rcode)
  local bytes, why = result()
  return bytes, why
end

local rewrite_fields = { "id", "qr", "aa", "tc", "rd", "ra", "ad", "cd", "opcode", "rcode", "answers", "authorities",
  "additional", "edns" }

local function begin_with(message)
  local code = C.ipq_dns_begin_with(writer, message)
  if code < 0 then return (ffi.string(C.ipq_dns_strerror(code))) end
end

--- A message with other fields; the questions stay as they are, and sections that are not given.
---@param message any struct ipq_dns *
---@param view ipq.DnsMessage the same
function M.rewrite(message, view, given)
  check("dns: what is rewritten", given, rewrite_fields)
  local why = view.malformed or begin_with(message)
  if why then return nil, why end
  local all = {}
  for i = 2, #sections do all[sections[i]] = given[sections[i]] or view[sections[i]] end
  local edns, rcode = given.edns, rcode_number(given.rcode or view.rcode)
  if edns == nil then edns = view.edns end
  if given.id then set16(0, whole("id", given.id, 65535)) end
  set16(2, flags_of(given, message.flags, rcode))
  put_records(all, edns or nil, rcode)
  local bytes
  bytes, why = result()
  return bytes, why
end

local answer_fields = { "rcode", "aa", "A", "AAAA", "ttl", "answers", "authorities", "additional", "tcp" }
M.answer_fields = answer_fields

local sizes = { A = 4, AAAA = 16 }

--- A record of the question's name with an address.
local function put_address(message, kind, text, ttl)
  local size = sizes[kind]
  if not address.parse(size == 4 and 4 or 6, text, packed) then data.not_an_address(kind, text) end
  C.ipq_dns_put_name(writer, message.name, message.name_len, true)
  C.ipq_dns_put16(writer, names.types[kind])
  C.ipq_dns_put16(writer, IN)
  C.ipq_dns_put32(writer, ttl)
  C.ipq_dns_put16(writer, size)
  C.ipq_dns_put(writer, packed, size)
end

--- Records with these addresses, if the question asks for such. Gives how many.
local function put_addresses(message, kind, list, ttl)
  if list == nil or message.class ~= IN or message.type ~= names.types[kind] and message.type ~= ANY then return 0 end
  if type(list) == "string" then
    put_address(message, kind, list, ttl)
    return 1
  end
  if type(list) ~= "table" then bad("dns: %s is an address, or a list of them", kind) end
  for i = 1, #list do put_address(message, kind, list[i], ttl) end
  return #list
end

-- Tables of fields that were looked at: most are made once, and pairs() is not compiled.
local checked = setmetatable({}, { __mode = "k" })

local plain_edns = { dnssec_ok = false }

--- The answer to a query. Gives its bytes, or nil and why there is none.
---@param message any struct ipq_dns *
---@param is_tcp? boolean
function M.answer(message, given, is_tcp)
  if not checked[given] then
    check("dns: the fields of an answer", given, answer_fields)
    checked[given] = true
  end
  local rcode = rcode_number(given.rcode or 0)
  if band(message.flags, QR) ~= 0 then return nil, "it is an answer itself" end
  local why = message.name_len == 0 and "it asks nothing" or begin_with(message)
  if why then return nil, why end
  local edns = C.ipq_dns_edns(message, edns_size, edns_flags)
  if rcode > 15 and not edns then return nil, "this rcode takes EDNS, which the query has not" end
  if edns then plain_edns.dnssec_ok = band(edns_flags[0], 0x8000) ~= 0 end
  local flags = bor(QR, band(message.flags, OPCODE + RD + CD), RA, band(rcode, 15), given.aa and bits.aa or 0)
  set16(2, flags)
  local ttl = whole("ttl", given.ttl or 60, 2 ^ 31 - 1)
  local count = put_addresses(message, "A", given.A, ttl) + put_addresses(message, "AAAA", given.AAAA, ttl)
  put_section(6, given.answers, put_record, count)
  put_section(8, given.authorities, put_record, 0)
  put_section(10, given.additional, put_record, edns and 1 or 0)
  if edns then put_edns(plain_edns, rcode) end
  is_tcp = is_tcp or given.tcp
  if not is_tcp and writer.len > (edns and max(edns_size[0], UDP_LEAST) or UDP_LEAST) then
    -- RFC 2181 section 9
    begin_with(message)
    set16(2, bor(flags, TC))
    put_records({}, edns and plain_edns, rcode)
  end
  local bytes
  bytes, why = result()
  if bytes and is_tcp then return (M.with_length(bytes)) end
  return bytes, why
end

--- A message as it goes over TCP (RFC 1035 section 4.2.2).
function M.with_length(bytes) return char(floor(#bytes / 256), #bytes % 256) .. bytes end

M.UDP_LEAST, M.MOST = UDP_LEAST, E.IPQ_DNS_MOST

return M
