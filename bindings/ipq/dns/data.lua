--- What the records of a DNS message say, by their types: as values to read, and from those as bytes. Names and
--- addresses are text, MX, SOA and SRV are as zone files have them, SVCB and HTTPS are tables; what has no form of its
--- own is bytes.
local abi = require "ipq.engine.abi"
local address = require "ipq.packet.address"
local bad = require("ipq.build.misuse").bad
local ffi = require "ffi"
local names = require "ipq.dns.names"
-- A script may overwrite globals.
local ipairs, pairs, sort, tonumber, tostring, type = ipairs, pairs, table.sort, tonumber, tostring, type
local floor = math.floor

local C = abi.C
local text, text_len = ffi.new("char[?]", ffi.C.IPQ_DNS_NAME_TEXT), ffi.new "uint32_t[1]"
local scratch = ffi.new "struct ipq_dns_writer"
local packed = ffi.new "uint8_t[16]"

local M = {}

-- Reading. A reader gets the message, and where the data begins and ends; it gives nil where it is malformed.

local function u16(message, at) return message.bytes[at] * 256 + message.bytes[at + 1] end
local function u32(message, at) return u16(message, at) * 65536 + u16(message, at + 2) end

--- The name at an offset, and the offset behind it.
local function name_at(message, at, last)
  local behind = C.ipq_dns_name(message, at, last, text, text_len)
  if behind < 0 then return nil end
  return ffi.string(text, text_len[0]), behind
end

--- A name that ends with the data.
local function last_name(message, at, last)
  local name, behind = name_at(message, at, last)
  if behind == last then return name end
end

--- The strings that the data is made of, each behind its length.
local function strings(message, at, last)
  local list = {}
  while at < last do
    local size = message.bytes[at]
    if size > last - at - 1 then return nil end
    list[#list + 1] = ffi.string(message.bytes + at + 1, size)
    at = at + 1 + size
  end
  return list
end

local function addresses(size, form)
  return function(message, at, last)
    local list = {}
    if (last - at) % size ~= 0 or last == at then return nil end
    while at < last do
      list[#list + 1] = form(message.bytes + at)
      at = at + size
    end
    return list
  end
end

-- RFC 9460 section 7
local param_readers = {
  alpn = strings, ipv4hint = addresses(4, address.ip), ipv6hint = addresses(16, address.ip6),
  port = function(message, at, last) return last - at == 2 and u16(message, at) or nil end,
  ["no-default-alpn"] = function(_, at, last) return at == last or nil end,
  mandatory = function(message, at, last)
    local list = {}
    if (last - at) % 2 ~= 0 then return nil end
    for key = at, last - 2, 2 do list[#list + 1] = names.param_name(u16(message, key)) end
    return list
  end,
}

local function service(message, at, last)
  if last - at < 3 then return nil end
  local target, behind = name_at(message, at + 2, last)
  if not target then return nil end
  local data, previous = { priority = u16(message, at), target = target }, -1
  while behind < last do
    if last - behind < 4 then return nil end
    local key, size = u16(message, behind), u16(message, behind + 2)
    behind = behind + 4
    -- "in strictly increasing numeric order" (RFC 9460 section 2.2)
    if size > last - behind or key <= previous then return nil end
    local name = names.param_name(key)
    local read = param_readers[name]
    local value
    if read then value = read(message, behind, behind + size) else value = ffi.string(message.bytes + behind, size) end
    if value == nil then return nil end
    data[name] = value
    behind, previous = behind + size, key
  end
  return data
end

local readers = {
  A = function(message, at, last) return last - at == 4 and address.ip(message.bytes + at) or nil end,
  AAAA = function(message, at, last) return last - at == 16 and address.ip6(message.bytes + at) or nil end,
  NS = last_name, CNAME = last_name, PTR = last_name, DNAME = last_name,
  MX = function(message, at, last)
    local name = last - at > 2 and last_name(message, at + 2, last)
    return name and u16(message, at) .. " " .. name or nil
  end,
  TXT = function(message, at, last)
    local list = strings(message, at, last)
    if list and #list < 2 then return list[1] end
    return list
  end,
  SOA = function(message, at, last)
    local primary, behind = name_at(message, at, last)
    if not primary then return nil end
    local mailbox, numbers = name_at(message, behind, last)
    if not mailbox or last - numbers ~= 20 then return nil end
    local all = primary .. " " .. mailbox
    for i = 0, 4 do all = all .. " " .. ("%d"):format(u32(message, numbers + i * 4)) end
    return all
  end,
  SRV = function(message, at, last)
    local name = last - at > 6 and last_name(message, at + 6, last)
    return name and ("%d %d %d %s"):format(u16(message, at), u16(message, at + 2), u16(message, at + 4), name) or nil
  end,
  SVCB = service, HTTPS = service,
}

--- What a record of a message says; nil where that is malformed.
---@param message any struct ipq_dns *
---@param record any struct ipq_dns_record *
function M.read(message, record)
  local read = readers[names.type_name(record.type)]
  if read then
    local value = read(message, record.data, record.data + record.data_len)
    return value
  end
  C.ipq_dns_begin(scratch)
  if C.ipq_dns_put_data(scratch, message, record) ~= 0 then return nil end
  return (ffi.string(scratch.bytes + ffi.C.IPQ_DNS_HEADER, scratch.len - ffi.C.IPQ_DNS_HEADER))
end

-- Writing. A function gets the writer, the value, the type's name, and whether names may refer to others.

local function put_name(writer, name, compress)
  if type(name) ~= "string" then bad("dns: a name must be a string, not %s", tostring(name)) end
  local code = C.ipq_dns_put_name(writer, name, #name, compress)
  if code == 0 then return end
  for label in name:gmatch "[^.]+" do
    local size = #label:gsub("\\%d%d%d", "x")
    if size > 63 then bad("dns: a label of %d bytes; 63 is the most", size) end
  end
  bad(code == -22 and "dns: %q is no name" or "dns: a name of more than 255 bytes: %q", name)
end
M.put_name = put_name

local function put_string(writer, value)
  if type(value) ~= "string" then bad("dns: a string is expected, not %s", tostring(value)) end
  if #value > 255 then bad("dns: a TXT string of %d bytes; 255 is the most", #value) end
  packed[0] = #value
  C.ipq_dns_put(writer, packed, 1)
  C.ipq_dns_put(writer, value, #value)
end

function M.not_an_address(kind, value, version)
  bad("dns: the data of an %s record is an IPv%d address, not %q", kind, version or kind == "A" and 4 or 6,
    tostring(value))
end

local function put_address(version)
  local size = version == 4 and 4 or 16
  return function(writer, value, kind)
    if not address.parse(version, value, packed) then M.not_an_address(kind, value, version) end
    C.ipq_dns_put(writer, packed, size)
  end
end

local put_ip, put_ip6 = put_address(4), put_address(6)

local function a_name(writer, value, _, compress) put_name(writer, value, compress) end

--- Numbers of so many bits and names, with blanks between them. form is what messages say.
local function words(form, pattern, ...)
  local bits = { ... }
  return function(writer, value, kind, compress)
    local parts = { tostring(value):match(pattern) }
    if type(value) ~= "string" or not parts[1] then bad("dns: an %s record's data is %q", kind, form) end
    for i, part in ipairs(parts) do
      local size = bits[i]
      local number = size > 0 and tonumber(part)
      if number and number >= 2 ^ size then bad("dns: %s is more than %d bits have", part, size) end
      if size == 16 then
        C.ipq_dns_put16(writer, number)
      elseif size == 32 then
        C.ipq_dns_put32(writer, number)
      else
        put_name(writer, part, compress)
      end
    end
  end
end

local function list_of(value) return type(value) == "table" and value or { value } end

local function each(put)
  return function(writer, value, kind)
    for _, one in ipairs(list_of(value)) do put(writer, one, kind) end
  end
end

local function param_number(name)
  return names.param_number(name) or bad("dns: there is no parameter '%s'", tostring(name))
end

local function number16(value)
  if type(value) ~= "number" or value < 0 or value > 65535 or value % 1 ~= 0 then
    bad("dns: %s is no number from 0 to 65535", tostring(value))
  end
  return value
end

local param_writers = {
  alpn = each(put_string), ipv4hint = each(function(writer, value) put_ip(writer, value, "ipv4hint") end),
  ipv6hint = each(function(writer, value) put_ip6(writer, value, "ipv6hint") end),
  port = function(writer, value) C.ipq_dns_put16(writer, number16(value)) end,
  ["no-default-alpn"] = function() end,
  mandatory = function(writer, value)
    local keys = {}
    for i, name in ipairs(list_of(value)) do keys[i] = param_number(name) end
    sort(keys)
    for _, key in ipairs(keys) do C.ipq_dns_put16(writer, key) end
  end,
}

--- Writes what put(writer, ...) writes behind its length of 16 bits.
local function measured(writer, put, ...)
  local at = writer.len
  C.ipq_dns_put16(writer, 0)
  put(writer, ...)
  local size = writer.len - at - 2
  if writer.is_full ~= 0 then return end
  writer.bytes[at], writer.bytes[at + 1] = floor(size / 256), size % 256
end
M.measured = measured

local function put_bytes(writer, value, kind)
  if type(value) ~= "string" then bad("dns: the data of a record of type %s must be bytes, a string", kind) end
  C.ipq_dns_put(writer, value, #value)
end

local function put_service(writer, value, kind)
  if type(value) == "string" then
    put_bytes(writer, value, kind)
    return
  elseif type(value) ~= "table" then
    bad("dns: an %s record's data is a table, as { priority = 1, target = \".\", alpn = { \"h2\" } }", kind)
  end
  C.ipq_dns_put16(writer, number16(value.priority or 1))
  put_name(writer, value.target or ".", false)
  local keys, of_key = {}, {}
  for name in pairs(value) do
    if name ~= "priority" and name ~= "target" then
      local key = param_number(name)
      keys[#keys + 1], of_key[key] = key, name
    end
  end
  sort(keys)
  for _, key in ipairs(keys) do
    C.ipq_dns_put16(writer, key)
    measured(writer, param_writers[names.param_name(key)] or put_bytes, value[of_key[key]], of_key[key])
  end
end

local writers = {
  A = put_ip, AAAA = put_ip6, NS = a_name, CNAME = a_name, PTR = a_name, DNAME = function(writer, value)
    put_name(writer, value, false)
  end,
  MX = words("10 mail.example", "^(%d+) (%S+)$", 16, 0),
  TXT = each(put_string),
  SOA = words("ns.example admin.example 1 7200 3600 1209600 300",
    "^(%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)$", 0, 0, 32, 32, 32, 32, 32),
  SRV = words("0 5 5060 sip.example", "^(%d+) (%d+) (%d+) (%S+)$", 16, 16, 16, 0),
  SVCB = put_service, HTTPS = put_service,
}

--- Writes what a record says, behind its length. Raises without a line where that is not what the type wants.
---@param writer any struct ipq_dns_writer *
---@param kind string the type's name
---@param value any
function M.write(writer, kind, value)
  measured(writer, writers[kind] or put_bytes, value, kind, kind ~= "SRV")
end

return M
