--- DNS messages over UDP, for filters that look at them: RFC 1035, RFC 3596.
local build = require "ipq.test.build"
local keys = require "ipq.build.keys"
local misuse = require "ipq.build.misuse"

local M = {}

local bad = misuse.bad

local function be16(n) return string.char(math.floor(n / 256) % 256, n % 256) end
local function be32(n) return be16(math.floor(n / 65536)) .. be16(n % 65536) end

local types = { A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, MX = 15, TXT = 16, AAAA = 28, SRV = 33, HTTPS = 65,
  ANY = 255 }
local rcodes = { noerror = 0, formerr = 1, servfail = 2, nxdomain = 3, notimp = 4, refused = 5 }

local function number_of(what, value, names)
  if type(value) == "number" then return value end
  return names[value] or bad("dns: there is no %s '%s'", what, tostring(value))
end

--- A name in labels, none compressed.
local function name_bytes(name)
  if type(name) ~= "string" then bad "dns: a name must be a string" end
  local parts = {}
  for label in name:gmatch "[^.]+" do
    if #label > 63 then bad("dns: a label of %d bytes; 63 is the most", #label) end
    parts[#parts + 1] = string.char(#label) .. label
  end
  return table.concat(parts) .. "\0"
end

--- An address's bytes, as a packet's header has them.
local function address_bytes(text, version)
  local ok, ip = pcall(version == 4 and build.ip or build.ip6, { saddr = text })
  if not ok then
    bad("dns: the data of an %s record is an IPv%d address, not %q", version == 4 and "A" or "AAAA", version, text)
  end
  return version == 4 and ip.bytes:sub(13, 16) or ip.bytes:sub(9, 24)
end

local function text_bytes(text)
  if #text > 255 then bad("dns: a TXT string of %d bytes; 255 is the most", #text) end
  return string.char(#text) .. text
end

--- What a record says: text by its type, or bytes where that has no form of its own.
local data_of = {
  A = function(text) return address_bytes(text, 4) end,
  AAAA = function(text) return address_bytes(text, 6) end,
  NS = name_bytes, CNAME = name_bytes, PTR = name_bytes, TXT = text_bytes,
  MX = function(text)
    local preference, name = text:match "^(%d+) (%S+)$"
    if not name then bad "dns: an MX record's data is \"10 mail.example\"" end
    return be16(tonumber(preference)) .. name_bytes(name)
  end,
}

local function record(given)
  keys.check("dns: a record's fields", given, { "name", "type", "class", "ttl", "data" })
  local kind = given.type or "A"
  if type(given.data) ~= "string" then bad "dns: a record's data must be a string" end
  local data = data_of[kind] and data_of[kind](given.data) or given.data
  return name_bytes(given.name) .. be16(number_of("type", kind, types)) .. be16(given.class or 1)
    .. be32(given.ttl or 300) .. be16(#data) .. data
end

local function question(given)
  keys.check("dns: a question's fields", given, { "name", "type", "class" })
  return name_bytes(given.name) .. be16(number_of("type", given.type or "A", types)) .. be16(given.class or 1)
end

local function section(list, make, parts)
  for _, given in ipairs(list or {}) do parts[#parts + 1] = make(given) end
  return be16(#(list or {}))
end

local function flag(value, bit) return value and bit or 0 end

local message_fields = {
  id = true, qr = true, aa = true, tc = true, rd = true, ra = true, rcode = true, name = true, type = true,
  questions = true, answers = true, authorities = true, additional = true,
}

local function message(given)
  local parts = {}
  local is_answer = given.qr or given.qr == nil and given.answers ~= nil
  local flags = flag(is_answer, 0x8000) + flag(given.aa, 0x400) + flag(given.tc, 0x200)
    + flag(given.rd ~= false, 0x100) + flag(given.ra, 0x80) + number_of("rcode", given.rcode or 0, rcodes)
  local questions = given.questions or { { name = given.name or "example.org", type = given.type } }
  local header = be16(given.id or 1) .. be16(flags) .. section(questions, question, parts)
    .. section(given.answers, record, parts) .. section(given.authorities, record, parts)
    .. section(given.additional, record, parts)
  return header .. table.concat(parts), is_answer
end

--- A DNS message over UDP. Fields: name and type of the question (or questions, a list of such); answers,
--- authorities, additional: lists of { name, type, ttl, data }, data as people write it ("192.0.2.1",
--- "10 mail.example"); id, qr (there are answers), aa, tc, rd (true), ra, rcode ("nxdomain" or a number). All
--- others are those of t.udp: ports are 53 and a private one, as the direction wants.
function M.dns(given)
  local result = misuse.guard(function()
    local udp, own = {}, {}
    for key, value in pairs(given or {}) do (message_fields[key] and own or udp)[key] = value end
    local payload, is_answer = message(own)
    udp.payload = payload
    udp.sport = udp.sport or is_answer and 53 or nil
    udp.dport = udp.dport or is_answer and 40000 or nil
    return build.udp(udp)
  end)
  return result
end

return M
