-- Translates addresses one to one, without state: what an inside host sends bears an address of the outside network,
-- and what comes to that one goes to the host. Both networks have the same prefix length; the bits behind the prefix
-- stay.
--
--   iptables -t raw -A PREROUTING -j NFQUEUE --queue-num 0
--   iptables -t mangle -A POSTROUTING -j NFQUEUE --queue-num 0
--   ipq-lua nat.lua inside=192.0.2.0/24 outside=198.51.100.0/24
--
-- inside6= and outside6= are IPv6's, with the same rules of ip6tables: as RFC 6296, but that checksums are adjusted,
-- not addresses. Destinations are translated in PREROUTING, before the packet's way is chosen, and sources in
-- POSTROUTING: routes, rules between them and connection tracking (behind the table raw) see inside addresses alone. In
-- another hook, and of a capture, both are.
--
-- ICMP errors are translated with the packet that they quote, also those that the router itself sends, so that path MTU
-- discovery works. What an inside host sends to an outside address gets both ends translated in PREROUTING (a hairpin),
-- where the kernel drops it if rp_filter is 1; connection tracking takes its answers for invalid. What goes from one
-- inside host to another stays as it is, and so do neighbour discovery, multicast and broadcast. What is cut so that
-- nobody knows what it is is dropped.
--
-- The outside network has to be routed to this router, which has none of its addresses. Where programs send UDP in
-- large pieces, as for QUIC, --no-gso has the kernel cut them before they are translated.
local ipq = require "ipq"
ipq.takes { inside = "", outside = "", inside6 = "", outside6 = "" }

local args = ipq.args
local band, bnot, bor, lshift = bit.band, bit.bnot, bit.bor, bit.lshift

local PREROUTING, POSTROUTING, BRIDGE = 0, 4, "bridge"
local ICMPV6, FIRST_OF_THE_LINK, LAST_OF_THE_LINK = 58, 133, 137 -- neighbour discovery: RFC 4861

local function groups(text, digits, base)
  local list = {}
  for group in text:gmatch(digits) do list[#list + 1] = tonumber(group, base) end
  return list
end

--- The 32-bit words of an address.
local function words4(text)
  local b = groups(text, "%d+", 10)
  return { b[1] * 0x1000000 + b[2] * 0x10000 + b[3] * 0x100 + b[4] }
end

local function words6(text)
  assert(not text:find(".", 1, true), "inside6 and outside6 are IPv6 networks without an IPv4 address in them")
  local head, tail = text:match "^(.-)::(.*)$"
  local all, rest, words = groups(head or text, "%x+", 16), groups(tail or "", "%x+", 16), {}
  for i = #all + 1, 8 do all[i] = rest[i - 8 + #rest] or 0 end
  for i = 1, 4 do words[i] = all[2 * i - 1] * 0x10000 + all[2 * i] end
  return words
end

--- A network: the words of an address in which it has bits, which bits these are, and their values.
local function network(name, version)
  local text = args[name]
  assert(#ipq.netset { text } == 1)
  assert((text:find(":", 1, true) and 6 or 4) == version, name .. " must be a network of IPv" .. version)
  local address, length = text:match "^([^/]+)/(%d+)$"
  assert(length, name .. " must be a network with its prefix, as 192.0.2.0/24")
  local words = (version == 4 and words4 or words6)(address)
  local net = { length = tonumber(length), masks = {}, values = {} }
  for i = 1, math.ceil(net.length / 32) do
    local free = math.max(32 * i - net.length, 0)
    net.masks[i] = lshift(-1, free)
    net.values[i] = band(words[i], net.masks[i])
  end
  return net
end

--- What is translated in packets of one version; nil where nothing is.
local function translation(version, inside, outside, places)
  if args[inside] == "" and args[outside] == "" then return nil end
  assert(args[inside] ~= "" and args[outside] ~= "", ("%s= and %s= belong together"):format(inside, outside))
  places.inside, places.outside = network(inside, version), network(outside, version)
  assert(places.inside.length == places.outside.length and places.inside.length > 0,
    ("%s and %s must have the same prefix length, 1 or more"):format(inside, outside))
  return places
end

-- Where the addresses are in a header; the header's name; the first byte of what goes to many (multicast).
local nat4 = translation(4, "inside", "outside", { saddr = 12, daddr = 16, header = "ip", many = 224 })
local nat6 = translation(6, "inside6", "outside6", { saddr = 8, daddr = 24, header = "ip6", many = 255 })
assert(nat4 or nat6, "inside=NETWORK outside=NETWORK is missing, or inside6= and outside6=")

--- Whether the address at that offset of a Buffer is in the network.
local function is_in(net, buffer, offset)
  local masks, values = net.masks, net.values
  for i = 1, #masks do
    if band(buffer:u32(offset + 4 * i - 4), masks[i]) ~= values[i] then return false end
  end
  return true
end

--- Moves it from one of both networks, where it is in that, to the other.
local function move(from, to, buffer, offset)
  if not is_in(from, buffer, offset) then return end
  local masks, values = to.masks, to.values
  for i = 1, #masks do
    local at = offset + 4 * i - 4
    buffer:set_u32(at, bor(band(buffer:u32(at), bnot(masks[i])), values[i]))
  end
end

--- The packet that an ICMP error quotes, which went the other way; nil where it is no error.
local function quote_of(pkt, nat)
  local icmp = pkt.icmp or pkt.icmpv6
  local inner = icmp and icmp.inner
  return inner and inner[nat.header] and inner.payload
end

local function translate_source(nat, packet, quote)
  move(nat.inside, nat.outside, packet, nat.saddr)
  if quote then move(nat.inside, nat.outside, quote, nat.daddr) end
end

local function translate_destination(nat, packet, quote)
  move(nat.outside, nat.inside, packet, nat.daddr)
  if quote then move(nat.outside, nat.inside, quote, nat.saddr) end
end

local function is_of_the_link(pkt)
  local kind = pkt.icmpv6 and pkt.icmpv6.type
  return kind and kind >= FIRST_OF_THE_LINK and kind <= LAST_OF_THE_LINK
end

return function(pkt)
  if pkt.malformed then return ipq.DROP end
  local nat = pkt.ip and nat4 or pkt.ip6 and nat6
  if not nat or pkt.family == BRIDGE or pkt.protocol == ICMPV6 and is_of_the_link(pkt) then return end
  local packet, hook = pkt.payload, pkt.hook
  local is_before, is_behind = hook == PREROUTING and pkt.indev ~= nil, hook == POSTROUTING
  if not is_behind and is_in(nat.outside, packet, nat.daddr) then
    local quote = quote_of(pkt, nat)
    translate_destination(nat, packet, quote)
    if is_in(nat.inside, packet, nat.saddr) then translate_source(nat, packet, quote) end
  elseif not is_before and packet:u8(nat.daddr) < nat.many and not is_in(nat.inside, packet, nat.daddr) then
    translate_source(nat, packet, quote_of(pkt, nat))
  end
end
