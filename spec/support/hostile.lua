-- Packets that nobody sends in good faith: each malformed in a way of its own, or damaged at random. Where the kernel
-- looks at an IPv4 header's checksum before its hooks, it is right, so that the rest arrives.
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"

local M = {}
local be16, be32, char = m.be16, m.be32, string.char
local put, tcp, udp, extension = craft.put, packets.tcp, packets.udp, packets.extension
local ADDRESSES = { saddr = "10.9.0.2", daddr = "10.9.0.1" }
local LONGEST = 1480 -- so that it goes over a link in one piece

--- An IPv4 packet with a right header checksum, as long as its header says that it is.
function M.seal(bytes)
  local header = bytes:byte(1) and bytes:byte(1) % 16 * 4 or 0
  if header < 20 or header > #bytes then return bytes end
  bytes = put(bytes, 10, "\0\0")
  return put(bytes, 10, be16(rewrite.checksum(bytes:sub(1, header))))
end

--- IPv4 around rest; f as in packet.lua, and header: the length it tells, in words.
local function ip(protocol, rest, f)
  f = setmetatable(f or {}, { __index = ADDRESSES })
  local bytes = packets.ip(protocol, rest, f)
  if f.header then bytes = put(bytes, 0, char(0x40 + f.header)) end
  return M.seal(bytes)
end

local ip6 = packets.ip6

--- The same over both.
local function both(add, what, protocol, rest)
  add(what, ip(protocol, rest))
  add(what .. ", IPv6", ip6(protocol, rest))
end

local groups = {}

function groups.ip_header(add)
  for header = 0, 15 do
    add("header of " .. header .. " words", ip(17, udp "hello", { header = header }))
    add("header of " .. header .. " words, no more", ip(17, "", { header = header }))
  end
  local whole = ip(17, udp "hello")
  for _, length in ipairs { 0, 1, 19, 20, 21, 27, 28, #whole - 1, #whole + 1, 1500, 0xffff } do
    add("total length " .. length, ip(17, udp "hello", { length = length }))
  end
  for version = 0, 15 do add("version " .. version, put(whole, 0, char(version * 16 + 5))) end
  for length = 0, #whole do add("cut off at " .. length, whole:sub(1, length)) end
end

--- Fragments (offset in units of 8 bytes): tiny, overlapping, beyond the longest packet.
function groups.fragment(add, random)
  local segment = tcp(random.bytes(40))
  for _, size in ipairs { 0, 1, 7, 8, 13, 16, 20, 24 } do
    add("first fragment of " .. size, ip(6, segment:sub(1, size), { fragment = 0x2000 }))
    add("fragment 1 of " .. size, ip(6, segment:sub(1, size), { fragment = 0x2001 }))
    add("last fragment of " .. size, ip(6, segment:sub(1, size), { fragment = 8191 }))
    for _, offset in ipairs { 0, 1, 2, 8191 } do
      add("IPv6 fragment " .. offset .. " of " .. size,
        ip6(44, packets.fragment(6, segment:sub(1, size), offset, true)))
    end
  end
  for offset = 0, 5 do
    add("overlapping fragment " .. offset, ip(17, udp(random.bytes(32)), { fragment = 0x2000 + offset, id = 9 }))
    add("overlapping IPv6 fragment " .. offset,
      ip6(44, packets.fragment(17, udp(random.bytes(32)), offset, offset < 5)))
  end
  for _, field in ipairs { 0x4000, 0x6000, 0x6001, 0x8000, 0xa000, 0xffff } do
    add(("fragment field 0x%04x"):format(field), ip(17, udp "hello", { fragment = field }))
    add(("IPv6 fragment field 0x%04x"):format(field), ip6(44, "\17\255" .. be16(field) .. be32(7) .. udp "hello"))
  end
end

--- What loops, says nothing, or ends behind its list.
local function option_lists(long)
  return { "\7\0\0\0", "\7\1\0\0", "\7\2\0\0", "\7\255\0\0", "\2\0\2\0\2\0\2\0", "\1\1\1\7", "\1\1\1\2", "\0\7\0\0",
    "\68\4\0\0", "\68\4\255\255", "\131\3\0\0", "\131\39\255\0", "\148\3\0\0", "\8\0\0\0", ("\1"):rep(40),
    ("\5\2"):rep(20), ("\255"):rep(40), ("\0"):rep(40), "\5\40" .. ("\1"):rep(38), "\5\41" .. ("\1"):rep(38), long }
end

function groups.options(add, random)
  for i, options in ipairs(option_lists(random.bytes(40))) do
    add("IP options " .. i, ip(17, udp "hello", { options = options }))
    both(add, "TCP options " .. i, 6, tcp("hello", { options = options }))
    both(add, "TCP options alone " .. i, 6, tcp("", { options = options }))
  end
end

--- Each transport header's every prefix.
function groups.truncated(add, random)
  for _, name in ipairs(craft.names) do
    local kind = craft.kinds[name]
    local header = kind.header(random)
    for length = 0, #header do both(add, name .. " of " .. length .. " bytes", kind.protocol, header:sub(1, length)) end
  end
  local ah = "\17\4\0\0" .. random.bytes(20) .. udp "hello"
  for length = 0, #ah do both(add, "AH of " .. length .. " bytes", 51, ah:sub(1, length)) end
end

--- Lengths within transport headers that lie.
function groups.transport(add, random)
  for doff = 0, 15 do
    local segment = tcp(random.bytes(8))
    both(add, "TCP data offset " .. doff, 6, put(segment, 12, char(doff * 16)))
    local dccp = random.bytes(4) .. char(doff) .. "\0\0\0\5" .. random.bytes(7) .. random.bytes(8)
    both(add, "DCCP data offset " .. doff, 33, dccp)
    both(add, "DCCP coverage " .. doff, 33, put(put(dccp, 4, "\5"), 5, char(doff)))
  end
  for _, length in ipairs { 0, 1, 7, 8, 9, 12, 13, 14, 1000, 0xffff } do
    both(add, "UDP length " .. length, 17, udp("hello", { length = length }))
    both(add, "UDP-Lite coverage " .. length, 136, udp("hello", { length = length }))
  end
  for _, length in ipairs { 0, 1, 2, 4, 254, 255 } do
    both(add, "AH length " .. length, 51, char(17, length) .. random.bytes(22) .. udp "hello")
  end
  for flags = 0, 255 do both(add, "GRE flags " .. flags, 47, char(flags, random.number(0, 7)) .. random.bytes(6)) end
  for kind = 0, 255, 3 do
    both(add, "ICMP type " .. kind, kind % 2 == 0 and 1 or 58, char(kind, kind) .. random.bytes(kind % 40))
  end
  -- A message about a packet that is itself cut off, within itself.
  local inner = ip(17, udp "hello")
  for _ = 1, 20 do inner = ip(1, "\3\4\0\0\0\0\5\0" .. inner) end
  for length = 28, #inner, 13 do add("ICMP within ICMP, " .. length .. " bytes", ip(1, inner:sub(21, length))) end
end

function groups.mismatch(add, random)
  for protocol = 0, 255 do
    both(add, "protocol " .. protocol, protocol, random.bytes(random.number(0, 64)))
    both(add, "protocol " .. protocol .. " without anything", protocol, "")
  end
  add("IPv4 within IPv4", ip(4, ip(17, udp "hello", { header = 3 })))
  add("IPv6 within IPv4", ip(41, ip6(0, "\59\255")))
  add("IPv6 within IPv6", ip6(41, ip6(0, "\59\255")))
end

function groups.ip6_header(add)
  local whole = ip6(17, udp "hello")
  for length = 0, #whole do add("IPv6 cut off at " .. length, whole:sub(1, length)) end
  for _, length in ipairs { 0, 1, 7, 8, 12, 14, 1500, 0xffff } do
    add("payload length " .. length, ip6(17, udp "hello", { length = length }))
  end
  for version = 0, 15 do add("IPv6 as version " .. version, put(whole, 0, char(version * 16))) end
  add("no next header, and bytes behind it", ip6(59, "hello"))
end

--- Hop-by-hop options: jumbograms that are none, and what goes beyond them.
function groups.hop_by_hop(add, random)
  local function hop(options, length) return "\17" .. char(length or 0) .. options .. udp "hello" end
  for _, jumbo in ipairs { 0, 1, 21, 65535, 65536, 65557, 0xffffffff } do
    for _, length in ipairs { 0, 21 } do
      add(("jumbogram of %d, length %d"):format(jumbo, length),
        ip6(0, hop("\194\4" .. be32(jumbo)), { length = length }))
    end
  end
  for _, options in ipairs { "\194\4\0\1\0", "\194\255\0\0\0\0", "\194\3\0\1\0\0", "\194\0\0\0\0\0", "\1\255\0\0\0\0",
    "\1\5\0\0\0\0", "\0\0\0\0\0\1", "\0\0\0\0\0\5", ("\255"):rep(6), "\5\2\0\0\5\2", "\201\4\0\0\0\0",
    "\238\0\238\0\238\0" } do
    for _, length in ipairs { 0, 1, 2, 255 } do add("hop-by-hop, length " .. length, ip6(0, hop(options, length))) end
  end
  for _ = 1, 20 do add("hop-by-hop of nonsense", ip6(0, hop(random.bytes(6), random.number(0, 2)))) end
end

--- Chains of extension headers: of a hundred, cut off anywhere, of headers that lie.
function groups.chain(add, random)
  for _, kind in ipairs { 0, 43, 44, 51, 60, 135 } do
    for _, count in ipairs { 2, 7, 8, 9, 100 } do
      local rest = udp "hello"
      for i = 1, count do rest = extension(i == 1 and 17 or kind, rest) end
      add(("%d headers of type %d"):format(count, kind), ip6(kind, rest))
    end
  end
  local chain = extension(60, extension(43, extension(51, "\44\4" .. random.bytes(22)
    .. packets.fragment(60, extension(17, udp "hello", 2)))))
  for length = 0, #chain do add("chain cut off at " .. length, ip6(0, chain:sub(1, length))) end
  for _, kind in ipairs { 0, 43, 44, 51, 60, 135, 139, 140 } do
    for _, length in ipairs { 0, 1, 2, 3, 254, 255 } do
      add(("header of type %d, length %d"):format(kind, length), ip6(kind, char(6, length) .. random.bytes(30)))
    end
  end
  for _, kind in ipairs { 0, 2, 3, 4, 255 } do
    for _, left in ipairs { 0, 1, 2, 255 } do
      add(("routing type %d, %d segments left"):format(kind, left),
        ip6(43, char(17, 2, kind, left) .. random.bytes(20) .. udp "hello"))
    end
  end
end

--- Questions and answers whose names loop or go beyond the message.
function groups.dns(add, random)
  local function name(bytes, counts)
    return "\0\7\1\0" .. (counts or "\0\1\0\0\0\0\0\0") .. bytes .. "\0\1\0\1"
  end
  local messages = { "", "\0", ("\0"):rep(11), ("\255"):rep(12), name("", "\255\255\255\255\255\255\255\255") }
  for _, bytes in ipairs { "\192\12", "\192\14\192\12", "\1a\192\12", "\192\255", "\192", "\193\12", "\63a", "\64a\0",
    "\128a\0", "\191a\0", "\255", "\3ww", "\0", "\1\0\0", ("\1a"):rep(127) .. "\0", ("\1a"):rep(128) .. "\0",
    ("\1a"):rep(500), ("\63" .. ("a"):rep(63)):rep(4) .. "\0", "\5" .. random.bytes(5) .. "\0",
    ("\192\12"):rep(100) } do
    messages[#messages + 1] = name(bytes)
    messages[#messages + 1] = name(bytes):sub(1, -5)
    messages[#messages + 1] = put(name(bytes, "\0\1\0\1\0\1\0\1"), 2, "\129\128")
  end
  for i, message in ipairs(messages) do
    both(add, "DNS question " .. i, 17, udp(message))
    both(add, "DNS answer " .. i, 17, udp(message, { sport = 53, dport = 1024 }))
    both(add, "DNS over TCP " .. i, 6, tcp(be16(0xffff) .. message, { dport = 53 }))
  end
end

local group_names = {}
for name in pairs(groups) do group_names[#group_names + 1] = name end
table.sort(group_names)

--- One of each kind, the same for the same generator: a list of { what, bytes }.
function M.crafted(random)
  local list = {}
  local function add(what, bytes) list[#list + 1] = { what, bytes } end
  for _, name in ipairs(group_names) do groups[name](add, random) end
  return list
end

-- Damage to good packets

local damages = {
  function(r, bytes) -- bytes of it
    for _ = 1, r.number(1, 8) do bytes = put(bytes, r.number(0, #bytes - 1), r.bytes(1)) end
    return bytes
  end,
  function(r, bytes) -- its headers alone
    for _ = 1, r.number(1, 4) do bytes = put(bytes, r.number(0, math.min(#bytes, 60) - 1), r.bytes(1)) end
    return bytes
  end,
  function(r, bytes) return put(bytes, r.number(0, #bytes - 1), r.pick { "\0", "\1", "\127", "\128", "\255" }) end,
  function(r, bytes) return bytes:sub(1, r.number(1, #bytes)) end,
  function(r, bytes) return bytes .. r.bytes(r.number(1, 64)) end,
  function(r, bytes) -- a piece of it twice
    local at = r.number(1, #bytes)
    return bytes:sub(1, at) .. bytes:sub(r.number(1, at))
  end,
  function(r, bytes) -- a piece of it gone
    local at = r.number(1, #bytes)
    return bytes:sub(1, at) .. bytes:sub(at + r.number(1, 40))
  end,
  function(r, bytes) -- nonsense behind its IP header
    local header = bytes:byte(1) < 0x60 and 20 or 40
    return bytes:sub(1, header) .. r.bytes(#bytes - header)
  end,
}

--- A good packet with damage to it. Three in four have lengths and a header checksum that the kernel lets pass.
function M.damaged(random)
  local bytes = craft.random(random).bytes
  local version = bytes:byte(1) < 0x60 and 4 or 6
  bytes = random.pick(damages)(random, bytes):sub(1, LONGEST)
  if random.number(1, 4) == 1 or #bytes < 20 then return bytes end
  if version == 4 then return M.seal(put(put(bytes, 0, char(0x45)), 2, be16(#bytes))) end
  if #bytes < 40 then return bytes end
  return put(put(bytes, 0, "\96"), 4, be16(#bytes - 40))
end

--- All crafted packets, and as many damaged ones as there have to be for count: a list of { what, bytes }.
function M.packets(seed, count)
  local random = rewrite.random(seed)
  local list = M.crafted(random)
  for i = #list + 1, count do list[i] = { "damaged", M.damaged(random) } end
  return list
end

return M
