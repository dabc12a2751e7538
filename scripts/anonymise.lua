-- Anonymises a capture, so that it can be given away: addresses become others, and payloads zeros.
--
--   ipq-lua -r in.pcap -w out.pcap anonymise.lua key_file=secret.txt
--
-- What is written has frames and nothing else (private = true): no comments, no names of hosts, and no frames that are
-- neither IP nor ARP. --fix-checksums makes checksums right that never were.
--
-- Addresses are mapped by a key: key=TEXT, or what key_file=PATH has, the same ones in all files. Without either it is
-- a random one that nobody is told, so that nobody can undo it.
--
-- - IP addresses keep their prefixes: two that share 20 bits share 20 bits afterwards. These stay: 0.0.0.0/8,
--   127.0.0.0/8, 255.255.255.255, ::, ::1, 224.0.0.0/23, 239.255.255.250, and IPv6 groups that are well-known
--   (ff02::1). Link-local addresses and groups stay such, and an IPv4 address in an IPv6 one (::ffff:0:0/96,
--   64:ff9b::/96, 2002::/16) becomes what it becomes elsewhere. For that the first three bits at least of each address
--   stay; of 2001::/16 the first 15.
-- - Ethernet addresses are random ones that say so (locally administered); a group's follows from its IP address.
-- - Ports, TCP's numbers, lengths, TTLs, times and VLAN tags stay; vlan=no takes the tags off. Of TCP's options stay
--   MSS, window scale, SACK and timestamps, which tell how long a host has been up: timestamps=no takes them away.
-- - Payloads become zeros, and so does what is inside of tunnels, and protocols that are not known. payload=keep keeps
--   what TCP, UDP, UDP-Lite, SCTP, DCCP and pings carry, addresses and names in it, too.
-- - In ICMP errors the quoted headers are mapped as well; so are ARP, neighbour discovery, IGMP, MLD, IPv4's options
--   and IPv6's routing headers.
--
-- Dropped is what cannot be told for sure (pkt.malformed), ARP for other networks, and what has another link header
-- with addresses (802.11, NFLOG). Checksums that were right are right again, but SCTP's in fragments and cut packets.
-- That of a packet in fragments is right with payload=keep alone. Who knows what was sent can still find it again: by
-- times, lengths and ports.
local ipq = require "ipq"
ipq.takes { key = { type = "string" }, key_file = { type = "file" }, payload = "zero", timestamps = true, vlan = true }

local addresses = require "anonymise.addresses"
local headers = require "anonymise.headers"

local args = ipq.args
assert(args.payload == "zero" or args.payload == "keep", "payload must be zero or keep")
assert(not (args.key and args.key_file), "key and key_file are two keys: give one of them")
assert(args.key ~= "", "key must not be empty")

--- What a file has, or the first bytes of it.
local function read(path, count)
  local file = assert(io.open(path, "rb"))
  local text = file:read(count or "*a")
  file:close()
  return text
end

--- The key, without the end of the line that a file may have.
local function find_key()
  if args.key then return args.key end
  if not args.key_file then return read("/dev/urandom", 32) end
  local key = read(args.key_file):gsub("\n$", "")
  assert(key ~= "", "the file that key_file names is empty")
  return key
end

local map = addresses.new(find_key())
local header = headers.new(map, args.payload == "keep", args.timestamps)

local dropped = {} -- reason → how many

local function drop(reason)
  dropped[reason] = (dropped[reason] or 0) + 1
  return ipq.DROP
end

-- The link header

local MOST_LINKS = 4096
local links, link_count = {}, 0 -- its bytes → what its addresses become

local function byte_of(digits) return string.char(tonumber(digits, 16)) end
local function bytes_of(text) return (text:gsub("(%x%x):?", byte_of)) end
local function text_of(bytes) return (("%02x:%02x:%02x:%02x:%02x:%02x"):format(bytes:byte(1, 6))) end

--- Whether a link header without an Ethernet address has none of another kind. A short one has no room for any; a
--- longer one may be Linux cooked, of a device without addresses (a tunnel's).
local function has_no_address(bytes)
  return #bytes <= 12 or #bytes <= 28 and (bytes:sub(5, 14) == ("\0"):rep(10) or bytes:sub(12, 20) == ("\0"):rep(9))
end

--- What the addresses of the link header become: saddr and daddr, as text; group where the destination is one, as text.
local function read_link(pkt, bytes)
  local ether = pkt.ether
  if not ether then return { is_bad = not has_no_address(bytes) } end
  local daddr = ether.daddr
  local link = { saddr = text_of(map:ether(bytes_of(ether.saddr))) }
  if daddr then
    local destination = bytes_of(daddr)
    link.daddr = text_of(map:ether(destination))
    link.group = destination:byte(1) % 2 == 1 and daddr or nil
  end
  return link
end

local function link_of(pkt)
  local bytes = pkt.l2hdr
  if not bytes then return nil end
  local link = links[bytes]
  if link then return link end
  if link_count == MOST_LINKS then links, link_count = {}, 0 end
  link = read_link(pkt, bytes)
  links[bytes], link_count = link, link_count + 1
  return link
end

--- The Ethernet address of the group that an IP packet goes to: RFC 1112 section 6.4, RFC 2464 section 7.
local function group_address(b, version)
  if version == 4 then return ("01:00:5e:%02x:%02x:%02x"):format(b:u8(17) % 128, b:u8(18), b:u8(19)) end
  return ("33:33:%02x:%02x:%02x:%02x"):format(b:u8(36), b:u8(37), b:u8(38), b:u8(39))
end

--- Puts the link header's addresses. b is the bytes of an IP packet, whose group's address is to follow; or nil.
local function put_link(pkt, link, b, version)
  if link.saddr then
    local ether = pkt.ether
    ether.saddr = link.saddr
    if link.daddr then ether.daddr = b and group_address(b, version) or link.daddr end
  end
  if not args.vlan and pkt.vlan then pkt.vlan = nil end
end

local function anonymise(pkt)
  if pkt.malformed then return drop "malformed" end
  local link = link_of(pkt)
  if link and link.is_bad then return drop "link header" end
  local b = pkt.payload
  if pkt.arp then
    if not header:arp(b) then return drop "ARP" end
    if link then put_link(pkt, link) end
    return ipq.ACCEPT
  end
  local version = pkt.ip and 4 or 6
  local follows = link and link.group and link.group == group_address(b, version)
  local is_piece = pkt.fragment ~= nil or pkt.truncated
  if is_piece then pkt.fix = false end
  if not (is_piece and header:piece(b, version) or not is_piece and header:whole(b, version)) then
    return drop "headers"
  end
  if link then put_link(pkt, link, follows and b, version) end
  return ipq.ACCEPT
end

return {
  arp = true,
  private = true,
  filter = anonymise,
  stop = function()
    for reason, count in pairs(dropped) do ipq.log.warn(("%d packets were dropped: %s"):format(count, reason)) end
  end,
}
