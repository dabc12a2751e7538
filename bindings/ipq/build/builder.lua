--- Builders: packets from tables of fields, with right lengths and checksums.
---
--- The room of what is built, live (ipq.build) and by the test kit (ipq.test.build). Here are the templates of headers.
--- assign.lua puts fields into a packet, meta.lua does the same with metadata, fields.lua has the names of both,
--- keys.lua is for tables that may have some keys alone, misuse.lua for errors. Errors are raised without a line.
local assign = require "ipq.build.assign"
local keys = require "ipq.build.keys"
local misuse = require "ipq.build.misuse"
-- A script may overwrite globals.
local floor, ipairs, pairs, char, type = math.floor, ipairs, pairs, string.char, type

local M = {}

local bad = misuse.bad

local function be16(n) return (char(floor(n / 256) % 256, n % 256)) end

-- Templates. Addresses are those of RFC 5737 and RFC 3849.

local IPV4 = "\69\0%s\0\1\0\0\64%s\0\0\192\0\2\1\192\0\2\2"
local ADDRESSES6 = "\32\1\13\184" .. ("\0"):rep(11) .. "\1\32\1\13\184" .. ("\0"):rep(11) .. "\2"
local NO_NEXT_HEADER = 59 -- RFC 8200 section 4.7
local EXPERIMENT = 253 -- RFC 3692
-- RFC 826: a request.
local ARP = "\0\1\8\0\6\4\0\1" .. "\2\0\0\0\0\1\192\0\2\1" .. "\0\0\0\0\0\0\192\0\2\2"

--- Their protocols, and their headers: ports from the private range, and checksums that are not 0, which in UDP
--- is none.
local transports = {
  tcp = { 6, "\156\64\0\80" .. "\0\0\3\232" .. "\0\0\0\0" .. "\80\0\255\255\255\255\0\0" },
  udp = { 17, "\156\64\0\53\0\8\255\255" },
  udplite = { 136, "\156\64\0\53\0\0\255\255" },
  icmp = { 1, "\8\0\255\255\0\1\0\1" },
  icmpv6 = { 58, "\128\0\255\255\0\1\0\1" },
  sctp = { 132, "\156\64\0\80\0\0\0\1\0\0\0\0" },
  dccp = { 33, "\156\64\0\80\4\0\255\255\5\0\0\0\0\0\0\1" }, -- DCCP-Data with a long sequence number
  gre = { 47, "\0\0\8\0" },
  esp = { 50, "\0\0\1\0\0\0\0\1" },
}

-- Lengths of extension headers: in units of size bytes, less those that do not count (RFC 8200, RFC 4302).
local AH, FRAGMENT = 51, 44

local function extension(kind, nexthdr, data)
  if kind == FRAGMENT then
    if #data ~= 6 then bad "exthdrs: a fragment header has 6 bytes of data: offset and flags, identification" end
    return char(nexthdr, 0) .. data
  end
  local size, uncounted = kind == AH and 4 or 8, kind == AH and 2 or 1
  data = data .. ("\0"):rep(-(#data + 2) % 8)
  return char(nexthdr, (#data + 2) / size - uncounted) .. data
end

--- The chain of extension headers before what protocol says, and the number of its first.
local function extensions(list, protocol)
  local chain = ""
  if type(list) ~= "table" then bad "exthdrs must be a list of { nexthdr = number, data = bytes }" end
  for i = #list, 1, -1 do
    keys.check(("exthdrs: entry %d's fields"):format(i), list[i], { "nexthdr", "data" })
    local kind, data = list[i].nexthdr, list[i].data or ""
    if type(kind) ~= "number" or type(data) ~= "string" or #data > 2038 then
      bad("exthdrs: entry %d must be { nexthdr = number, data = string }", i)
    end
    chain = extension(kind, protocol, data) .. chain
    protocol = kind
  end
  return chain, protocol
end

local function template(version, protocol, header, exthdrs)
  if version == 4 then return IPV4:format(be16(20 + #header), char(protocol)) .. header end
  local chain, first = extensions(exthdrs or {}, protocol)
  return "\96\0\0\0" .. be16(#chain + #header) .. char(first, 64) .. ADDRESSES6 .. chain .. header
end

-- Which IP version

local function has_colon(text) return type(text) == "string" and text:find(":", 1, true) ~= nil end

local function version_of(given)
  local ip6 = given.ip6 or {}
  if given.ip then return 4 end
  if given.ip6 or given.exthdrs or given.family == "ip6" then return 6 end
  for _, field in ipairs { "hoplimit", "nexthdr", "flowlabel" } do
    if given[field] ~= nil then return 6 end
  end
  local addresses = { given.saddr or ip6.saddr, given.daddr or ip6.daddr }
  return (has_colon(addresses[1]) or has_colon(addresses[2])) and 6 or 4
end

local flag_names = { "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr" }

--- A segment without any flag is none that a host would send.
local function with_flags(given)
  local tcp = given.tcp or {}
  if given.flags or tcp.flags then return given end
  for _, name in ipairs(flag_names) do
    if given[name] ~= nil or tcp[name] ~= nil then return given end
  end
  local copy = { ack = true }
  for key, value in pairs(given) do copy[key] = value end
  return copy
end

-- RFC 792 and RFC 4443: each is of one version, and has a builder.
local versions = { icmp = 4, icmpv6 = 6, ip = 4, ip6 = 6 }
local others = { icmp = "icmpv6", icmpv6 = "icmp", ip = "ip6", ip6 = "ip" }

--- The version of what the builder makes from these fields. who is before its name, "ipq.build.".
local function version_for(name, given, who)
  local wanted, own = version_of(given), versions[name]
  if not own or wanted == own then return wanted end
  -- ICMP over IPv6 is nonsense that a filter may meet: where it is asked for by the header, it is meant.
  if name == "icmp" and given.ip6 then return wanted end
  -- IPv4 may be said by nothing at all.
  for _, field in ipairs { "saddr", "daddr" } do
    local inner = given.ip or given.ip6
    local address = given[field] or type(inner) == "table" and inner[field] or nil
    if address and has_colon(address) ~= (own == 6) then
      bad("%s%s builds IPv%d, and %s is %s; %s%s builds IPv%d", who, name, own, field, address, who, others[name],
        10 - own)
    end
  end
  return own
end

local function build(name, version, given)
  local ip = version == 4 and "ip" or "ip6"
  local plan = assign.build_plan(name and { name, ip } or { ip }, given)
  local protocol, header = EXPERIMENT, ""
  if name then
    protocol, header = transports[name][1], transports[name][2]
  elseif version == 6 and not plan.payload then
    protocol = NO_NEXT_HEADER
  end
  return assign.build(template(version, protocol, header, plan.exthdrs), plan), plan.meta
end

M.names = { ip = true, ip6 = true }
for name in pairs(transports) do M.names[name] = true end

--- Builds a packet. Fields are given by name: those of its own header, of the IP header, or metadata. Where both
--- headers have a field, the IP header's is given in a table of its own: { id = 7, ip = { id = 8 } }. The packet is
--- IPv6 where an address, a field or family says so. Lengths and checksums are computed unless they are given. Of ip
--- and ip6, protocol or nexthdr say what payload is, which is taken as it is.
---@param name string one of names
---@param given table<string, any>
---@param who string what is before its name in messages, "ipq.build."
---@return ipq.OwnPacket packet
---@return table<string, any> meta the metadata among the fields, as it was given
function M.build(name, given, who)
  if name == "tcp" then given = with_flags(given) end
  local packet, meta = build(transports[name] and name, version_for(name, given, who), given)
  return packet, meta
end

--- The same of ARP over Ethernet, between addresses of IPv4: fields of pkt.arp, and metadata. A request unless
--- operation says otherwise.
function M.arp(given)
  local plan = assign.build_plan({ "arp" }, given)
  plan.meta.family, plan.meta.hw_protocol = plan.meta.family or "arp", plan.meta.hw_protocol or 0x0806
  return assign.build(ARP, plan), plan.meta
end

return M
