-- Anonymises the headers of IP packets in their place, and of those that ICMP errors quote, and what is behind them.
-- No length changes. What has a place for an address that is known here has it mapped; options that are not known
-- become no-operations; all else behind the headers becomes zeros.
--
-- at and stop are offsets in a Buffer that has the packet: where a thing begins, and where what is there of it ends.
local bit = require "bit"

local band, rshift = bit.band, bit.rshift

local M = {}

local ICMP, IGMP, TCP, UDP, DCCP, GRE, ESP, AH, ICMPV6, SCTP, UDPLITE = 1, 2, 6, 17, 33, 47, 50, 51, 58, 132, 136
local HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60

-- Zeros, as many as are asked for: a text of each length up to CHUNK.
local CHUNK = 2048
local zeros = {}

local function zero(b, at, stop)
  while at < stop do
    local n = math.min(stop - at, CHUNK)
    local text = zeros[n]
    if not text then
      text = ("\0"):rep(n)
      zeros[n] = text
    end
    b:write(at, text)
    at = at + n
  end
end

--- Maps all addresses of that size, by that function. What is too short for one becomes zeros.
local function put_all(self, b, at, stop, size, put)
  while at + size <= stop do
    put(self.addresses, b, at)
    at = at + size
  end
  zero(b, at, stop)
end

-- Checksums (RFC 1071). A sum is one of 16-bit words in ones' complement.

local function fold(sum)
  while sum > 0xffff do sum = sum % 0x10000 + math.floor(sum / 0x10000) end
  return sum
end

local function sum_of(b, at, stop)
  local sum = 0
  for i = at, stop - 2, 2 do sum = sum + b:u16(i) end
  if (stop - at) % 2 == 1 then sum = sum + b:u8(stop - 1) * 256 end
  return fold(sum)
end

--- Has the checksum at that offset follow what it covers, whose sum was before and is after. (RFC 1624)
local function follow(b, at, before, after)
  b:set_u16(at, 0xffff - fold(0xffff - b:u16(at) + 0xffff - before + after))
end

-- Options

local EOL, NOP, SACK, TIMESTAMPS = 0, 1, 5, 8
local RECORD_ROUTE, TIMESTAMP, LOOSE_ROUTE, STRICT_ROUTE, IP_ROUTER_ALERT = 7, 68, 131, 137, 148

--- Goes through the options of an IPv4 or TCP header. treat(context, b, kind, at, stop) says whether one stays. What is
--- behind their end, or makes no sense, becomes zeros.
local function walk_options(context, b, at, stop, treat)
  while at < stop do
    local kind = b:u8(at)
    local length = 1
    if kind ~= NOP then
      length = kind ~= EOL and at + 2 <= stop and b:u8(at + 1) or 0
      if length < 2 or at + length > stop then
        zero(b, at, stop)
        return
      end
      if not treat(context, b, kind, at, at + length) then b:write(at, ("\1"):rep(length)) end
    end
    at = at + length
  end
end

--- RFC 791 section 3.1: those that have addresses have them mapped.
local function treat_ip_option(self, b, kind, at, stop)
  local first, step = at + 3, 4
  if kind == TIMESTAMP then
    local flag = stop - at >= 4 and band(b:u8(at + 3), 15)
    if flag == 0 then return true end -- without addresses
    if flag ~= 1 and flag ~= 3 then return false end
    first, step = at + 4, 8
  elseif kind ~= RECORD_ROUTE and kind ~= LOOSE_ROUTE and kind ~= STRICT_ROUTE then
    return kind == IP_ROUTER_ALERT
  end
  if stop < first or (stop - first) % step ~= 0 then return false end
  for i = first, stop - step, step do self.addresses:put_ip(b, i) end
  return true
end

--- What each side may say of itself is none of them: cookies, the keys and addresses of MPTCP, signatures.
local function treat_tcp_option(self, _, kind)
  return kind > NOP and kind <= SACK or kind == TIMESTAMPS and self.keeps_timestamps
end

local PAD1, PADN, IP6_ROUTER_ALERT, JUMBO, HOME_ADDRESS = 0, 1, 5, 0xc2, 0xc9

--- Those of a hop-by-hop or destination header: RFC 8200 section 4.2.
local function walk_options6(self, b, at, stop)
  while at < stop do
    local kind = b:u8(at)
    local length = 1
    if kind ~= PAD1 then
      length = at + 2 <= stop and 2 + b:u8(at + 1) or 0
      if length == 0 or at + length > stop then
        zero(b, at, stop)
        return
      end
      if kind == HOME_ADDRESS and length == 18 then
        self.addresses:put_ip6(b, at + 2)
      elseif kind ~= IP6_ROUTER_ALERT and kind ~= JUMBO then
        b:set_u8(at, PADN)
        zero(b, at + 2, at + length)
      end
    end
    at = at + length
  end
end

-- IP headers. Each gives the protocol that follows, where that begins, and whether it is a later fragment; or nil, and
-- where it makes no sense any more.

local function ip_header(self, b, at, stop)
  local length = band(b:u8(at), 15) * 4
  if length < 20 or at + length > stop then return nil, at end
  self.addresses:put_ip(b, at + 12)
  self.addresses:put_ip(b, at + 16)
  walk_options(self, b, at + 20, at + length, treat_ip_option)
  return b:u8(at + 9), at + length, band(b:u16(at + 6), 0x1fff) ~= 0
end

--- A routing header's addresses: of type 0 (RFC 2460), of Mobile IPv6 (type 2, RFC 6275), and a list of segments (type
--- 4, RFC 8754). False where it is another, or none.
local function routing_header(self, b, at, stop)
  local kind = b:u8(at + 2)
  local list_end = stop
  if kind == 4 then
    list_end = at + 8 + 16 * (b:u8(at + 4) + 1)
    if list_end > stop then return false end
  elseif kind ~= 0 and kind ~= 2 or (stop - at) % 16 ~= 8 then
    return false
  end
  put_all(self, b, at + 8, list_end, 16, self.addresses.put_ip6)
  zero(b, list_end, stop)
  return true
end

local is_extension = { [HOP_BY_HOP] = true, [ROUTING] = true, [FRAGMENT] = true, [AH] = true, [DESTINATION] = true }

local function ip6_header(self, b, at, stop)
  local kind, o = b:u8(at + 6), at + 40
  self.addresses:put_ip6(b, at + 8)
  self.addresses:put_ip6(b, at + 24)
  while is_extension[kind] do
    if o + 8 > stop then return nil, o end
    local length = (b:u8(o + 1) + 1) * 8
    if kind == FRAGMENT then length = 8 elseif kind == AH then length = (b:u8(o + 1) + 2) * 4 end
    local behind = o + length
    if behind > stop or kind == ROUTING and not routing_header(self, b, o, behind) then return nil, o end
    if kind == HOP_BY_HOP or kind == DESTINATION then walk_options6(self, b, o + 2, behind) end
    local is_later = kind == FRAGMENT and band(b:u16(o + 2), 0xfff8) ~= 0
    kind, o = b:u8(o), behind
    if is_later then return kind, o, true end
  end
  return kind, o, false
end

-- ICMP and IGMP

local quote -- the packet that an error is about

--- The group records of IGMPv3 (RFC 3376) and MLDv2 (RFC 3810): addresses of that size, put by that function.
local function group_records(self, b, at, stop, size, put)
  while at + 4 + size <= stop do
    local sources_end = at + 4 + size * (b:u16(at + 2) + 1)
    local record_end = sources_end + 4 * b:u8(at + 1)
    if record_end > stop then break end
    put_all(self, b, at + 4, sources_end, size, put)
    zero(b, sources_end, record_end)
    at = record_end
  end
  zero(b, at, stop)
end

--- A query or a report of a group at offset group_at, and of sources that begin at sources_at.
local function group_message(self, b, at, stop, group_at, sources_at, size, put)
  if at + group_at + size > stop then
    zero(b, at + 4, stop)
    return
  end
  put(self.addresses, b, at + group_at)
  if at + sources_at > stop then zero(b, at + group_at + size, stop) end
  put_all(self, b, at + sources_at, stop, size, put)
end

local IGMP_QUERY, IGMP_REPORT3 = 0x11, 0x22
local is_igmp = { [IGMP_QUERY] = true, [0x12] = true, [0x16] = true, [0x17] = true }

local function igmp(self, b, at, stop)
  if stop - at < 8 then
    zero(b, at, stop)
    return
  end
  local put, kind, before = self.addresses.put_ip, b:u8(at), sum_of(b, at, stop)
  if kind == IGMP_REPORT3 then
    group_records(self, b, at + 8, stop, 4, put)
  elseif is_igmp[kind] then
    group_message(self, b, at, stop, 4, 12, 4, put)
  else
    zero(b, at + 4, stop)
  end
  follow(b, at + 2, before, sum_of(b, at, stop))
end

--- Options of neighbour discovery: RFC 4861 section 4.6, RFC 4191, RFC 8106.
local function neighbour_options(self, b, at, stop)
  local addresses = self.addresses
  while at + 8 <= stop do
    local kind, length = b:u8(at), b:u8(at + 1) * 8
    local behind = at + length
    if length == 0 or behind > stop then break end
    if (kind == 1 or kind == 2) and length == 8 then
      addresses:put_ether(b, at + 2)
    elseif kind == 3 and length == 32 then
      addresses:put_prefix(b, at + 16, b:u8(at + 2))
    elseif kind == 4 then
      quote(self, b, at + 8, behind)
    elseif kind == 24 and length == 24 then
      addresses:put_prefix(b, at + 8, b:u8(at + 2))
    elseif kind == 25 then
      put_all(self, b, at + 8, behind, 16, addresses.put_ip6)
    elseif kind ~= 5 then
      zero(b, at + 2, behind)
    end
    at = behind
  end
  zero(b, at, stop)
end

-- By their type: where the addresses of a message of neighbour discovery begin, and its options.
local neighbour = { [133] = { 8, 8 }, [134] = { 16, 16 }, [135] = { 8, 24 }, [136] = { 8, 24 }, [137] = { 8, 40 } }

local function neighbour_message(self, b, at, stop, message)
  if at + message[2] > stop then
    zero(b, at + 4, stop)
    return
  end
  put_all(self, b, at + message[1], at + message[2], 16, self.addresses.put_ip6)
  neighbour_options(self, b, at + message[2], stop)
end

local is_echo, is_echo6 = { [0] = true, [8] = true }, { [128] = true, [129] = true }
local ICMP_REDIRECT = 5
local is_error = { [3] = true, [4] = true, [ICMP_REDIRECT] = true, [11] = true, [12] = true }
local is_error6 = { [1] = true, [2] = true, [3] = true, [4] = true }
local MLDV2_REPORT = 143
local is_mld = { [130] = true, [131] = true, [132] = true }

--- An echo message has its identifier and number in front of its data.
local function echo(self, b, at, stop, is_quoted)
  if is_quoted or not self.keeps_payload then zero(b, at + 8, stop) end
end

local function icmp(self, b, at, stop, is_quoted)
  local kind = at < stop and b:u8(at)
  if is_echo[kind] then
    echo(self, b, at, stop, is_quoted)
  elseif is_quoted or not is_error[kind] or at + 8 > stop then
    zero(b, at + 4, stop)
  else
    if kind == ICMP_REDIRECT then self.addresses:put_ip(b, at + 4) end
    quote(self, b, at + 8, stop)
  end
end

local function icmpv6(self, b, at, stop, is_quoted)
  local kind = at < stop and b:u8(at)
  if is_echo6[kind] then
    echo(self, b, at, stop, is_quoted)
  elseif is_quoted or at + 8 > stop then
    zero(b, at + 4, stop)
  elseif is_error6[kind] then
    quote(self, b, at + 8, stop)
  elseif neighbour[kind] then
    neighbour_message(self, b, at, stop, neighbour[kind])
  elseif is_mld[kind] then
    group_message(self, b, at, stop, 8, 28, 16, self.addresses.put_ip6)
  elseif kind == MLDV2_REPORT then
    group_records(self, b, at + 8, stop, 16, self.addresses.put_ip6)
  else
    zero(b, at + 4, stop)
  end
end

-- What follows an IP header

--- The bytes of a transport's header, of which the first have to be there.
local function header_length(b, protocol, at, stop)
  local left = stop - at
  if protocol == TCP then return left >= 20 and math.max(20, rshift(b:u8(at + 12), 4) * 4) or left end
  if protocol == UDP or protocol == UDPLITE or protocol == ESP then return 8 end
  if protocol == SCTP then return 12 end
  if protocol == DCCP then return left >= 12 and band(b:u8(at + 8), 1) == 1 and 16 or 12 end
  if protocol == AH then return left >= 2 and (b:u8(at + 1) + 2) * 4 or 0 end
  if protocol == GRE and left >= 4 then
    local flags = b:u8(at)
    return 4 + (band(flags, 0x80) ~= 0 and 4 or 0) + (band(flags, 0x20) ~= 0 and 4 or 0)
      + (band(flags, 0x10) ~= 0 and 4 or 0)
  end
  return 0
end

-- Whose payload is that of programs, and no packet.
local has_payload = { [TCP] = true, [UDP] = true, [UDPLITE] = true, [SCTP] = true, [DCCP] = true }

local function transport(self, b, protocol, version, at, stop, is_quoted)
  if protocol == ICMP and version == 4 then
    icmp(self, b, at, stop, is_quoted)
  elseif protocol == ICMPV6 and version == 6 then
    icmpv6(self, b, at, stop, is_quoted)
  elseif protocol == IGMP and version == 4 and not is_quoted then
    igmp(self, b, at, stop)
  else
    local body = math.min(at + header_length(b, protocol, at, stop), stop)
    if protocol == TCP then walk_options(self, b, at + 20, body, treat_tcp_option) end
    if is_quoted or not (self.keeps_payload and has_payload[protocol]) then zero(b, body, stop) end
  end
end

-- Where each has its checksum, by version.
local checksum_at = {
  [4] = { [ICMP] = 2, [TCP] = 16, [UDP] = 6, [DCCP] = 6, [UDPLITE] = 6 },
  [6] = { [ICMPV6] = 2, [TCP] = 16, [UDP] = 6, [DCCP] = 6, [UDPLITE] = 6 },
}

--- The checksum of a transport whose addresses and bytes have become others. One that is not there, or is none (UDP),
--- has not to follow; SCTP's CRC cannot, and GRE's is seldom there.
local function transport_checksum(b, protocol, version, at, stop, before, after)
  local offset = checksum_at[version][protocol]
  if offset and at + offset + 2 <= stop then
    if protocol == UDP and b:u16(at + offset) == 0 then return end
    follow(b, at + offset, before, after)
    if (protocol == UDP or protocol == UDPLITE) and b:u16(at + offset) == 0 then b:set_u16(at + offset, 0xffff) end
  elseif protocol == SCTP and at + 12 <= stop then
    b:set_u32(at + 8, 0)
  elseif protocol == GRE and at + 6 <= stop and b:u8(at) >= 0x80 then
    b:set_u16(at + 4, 0)
  end
end

local function ip_checksum(b, at)
  b:set_u16(at + 10, 0)
  b:set_u16(at + 10, 0xffff - sum_of(b, at, at + band(b:u8(at), 15) * 4))
end

--- Where the packet at that offset ends by its own length, at most at stop.
local function end_of(b, version, at, stop)
  local length = version == 4 and b:u16(at + 2) or b:u16(at + 4) + 40
  if version == 6 and length == 40 then length = stop - at end
  return math.min(stop, at + length)
end

--- A packet whose checksums are made right here: one that is quoted, or of which a part is elsewhere. False where its
--- headers make no sense.
local function piece(self, b, version, at, stop, is_quoted)
  local addresses_at = version == 4 and at + 12 or at + 8
  local addresses_end = version == 4 and at + 20 or at + 40
  local before = sum_of(b, addresses_at, addresses_end)
  local header = version == 4 and ip_header or ip6_header
  local protocol, o, is_later = header(self, b, at, stop)
  if not protocol then
    zero(b, o, stop)
    return false
  end
  local after = sum_of(b, addresses_at, addresses_end)
  local behind = math.max(o, end_of(b, version, at, stop))
  zero(b, behind, stop)
  if is_later then
    if is_quoted or not (self.keeps_payload and has_payload[protocol]) then zero(b, o, behind) end
  else
    if protocol == ICMP then before, after = 0, 0 end -- it covers no addresses
    before = fold(before + sum_of(b, o, behind))
    transport(self, b, protocol, version, o, behind, is_quoted)
    transport_checksum(b, protocol, version, o, behind, before, fold(after + sum_of(b, o, behind)))
  end
  if version == 4 then ip_checksum(b, at) end
  return true
end

function quote(self, b, at, stop)
  local version = at < stop and rshift(b:u8(at), 4)
  if version == 4 and at + 20 <= stop or version == 6 and at + 40 <= stop then
    piece(self, b, version, at, stop, true)
  else
    zero(b, at, stop)
  end
end

---@class anonymise.Headers
local Headers = {}
Headers.__index = Headers

--- addresses is what addresses.lua makes of a key.
function M.new(addresses, keeps_payload, keeps_timestamps)
  return setmetatable({ addresses = addresses, keeps_payload = keeps_payload, keeps_timestamps = keeps_timestamps },
    Headers)
end

--- Anonymises an IP packet that is whole, whose checksums follow. b is its bytes. False where its headers make no
--- sense.
function Headers:whole(b, version)
  local header = version == 4 and ip_header or ip6_header
  local protocol, at = header(self, b, 0, #b)
  if not protocol then return false end
  transport(self, b, protocol, version, at, #b, false)
  return true
end

--- The same of a fragment, or of one that is cut off: nobody has all that its checksum covers. It follows what is here.
function Headers:piece(b, version) return piece(self, b, version, 0, #b, false) end

--- The same of ARP for Ethernet and IPv4. False where it is for others.
function Headers:arp(b)
  if b:u16(2) ~= 0x0800 or b:u8(4) ~= 6 or b:u8(5) ~= 4 then return false end
  for _, at in ipairs { 8, 18 } do
    self.addresses:put_ether(b, at)
    self.addresses:put_ip(b, at + 6)
  end
  return true
end

return M
