-- Writes inputs for these fuzz targets to begin with, each into the folder of its name:
-- luajit spec/fuzz/corpus.lua FOLDER TARGET...
local capture = require "spec.support.capture"
local craft = require "spec.support.craft"
local hello = require "spec.support.hello"
local inside = require "spec.support.inside"
local link_headers = require "spec.support.link"
local m = require "spec.support.message"
local pcapng = require "spec.support.pcapng"
local quic = require "spec.support.quic"
local rewrite = require "spec.support.rewrite"
local tunnel = require "spec.support.tunnel"

local folder = assert(arg[1], "which folder?")
local is_wanted = {}
for i = 2, #arg do is_wanted[arg[i]] = true end
local random = rewrite.random(7)
local be16 = m.be16

local function write(target, name, bytes)
  if not is_wanted[target] then return end
  local file = assert(io.open(("%s/%s/%s"):format(folder, target, name), "wb"))
  file:write(bytes)
  file:close()
end

for i = 1, 16 do
  write("build", i, random.bytes(20 * i))
  write("stream_edits", i, random.bytes(100 * i))
  write("stream", i, "\0" .. random.bytes(100 * i))
  write("stream", i .. "-hostile", "\1" .. random.bytes(100 * i))
end

-- Hellos in records and without, and in Initials; then frames that are protected by the target itself, and pieces.
for i = 1, 16 do
  local message = hello.message(hello.random(random))
  write("hello", i, "\0\0" .. hello.records(message, 50 * i))
  write("hello", i .. "-message", "\1" .. string.char(16 * i - 16) .. message)
  local datagrams = {}
  for j, frame in ipairs(quic.frames(message, 400)) do
    local bytes = quic.initial { number = j, frames = frame, version = i % 2 == 0 and quic.V2 or nil }
    datagrams[j] = "\1\0" .. be16(#bytes) .. bytes
  end
  write("quic", i, table.concat(datagrams))
  write("quic", i .. "-frames", ("\0\0\0\0"):rep(3) .. "\4\68\40\0" .. random.bytes(40) .. random.bytes(200))
  write("quic", i .. "-pieces", "\7\0\0\0" .. random.bytes(30 * i))
end

-- A packet of each kind, over both versions, behind each extension header.

local packets = {}
for _, kind in ipairs(craft.names) do
  for _, version in ipairs { 4, 6 } do
    for _, extension in ipairs(version == 6 and craft.extension_names or { "none" }) do
      packets[#packets + 1] = craft.packet { random = random, name = kind, version = version, extension = extension,
        body = random.bytes(16), ip_options = random.pick { "", "\148\4\0\0" } }
    end
  end
end

for i, packet in ipairs(packets) do
  local bytes = packet.bytes
  local family = packet.version == 4 and 0 or 1
  local store = "\0" .. be16(packet.l4) .. be16(0) .. "\1\0\2ab"
  local replace = "\1" .. be16(packet.body) .. be16(3) .. "\1\0\5hello"
  local set = "\2" .. be16(0) .. be16(0) .. "\1\0\4" .. bytes:sub(1, 4)
  write("header", i, "\0" .. bytes)
  write("header", i .. "-cut", "\252" .. bytes:sub(1, random.number(20, #bytes)))
  write("mend", i, "\0" .. bytes)
  write("rewrite", i, string.char(family + 32) .. "\3" .. be16(#bytes) .. bytes .. store .. replace .. set)
  write("rewrite", i .. "-cut", string.char(family + 56) .. "\1" .. be16(#bytes) .. bytes .. "\1\50" .. store)
  write("rewrite", i .. "-store", string.char(family + 32) .. "\1" .. be16(#bytes) .. bytes .. store)
  write("summary", i, "\24\3" .. be16(#bytes) .. "oh\n" .. bytes .. "\2\0\9\0\3\4")
  write("summary", i .. "-changed", "\136\0" .. be16(#bytes) .. bytes .. "\2\0\1\0\4" .. be16(packet.body) .. "\1\2ab")
  local known = ("\32"):rep(16) .. "\1" .. string.char(family, packet.kind.protocol) .. "\1\2\3\4"
  local kind = string.char(packet.version == 4 and 0 or 5)
  write("answer", i, "\128" .. kind .. be16(60 + i % 40) .. be16(2000) .. be16(#bytes) .. bytes .. "\3abc")
  write("answer", i .. "-known", "\208" .. kind .. be16(1500) .. be16(2000) .. be16(#bytes) .. bytes .. known
    .. "\2ab")
  write("answer", i .. "-changed", "\176" .. kind .. be16(68) .. be16(900) .. be16(#bytes) .. bytes
    .. be16(packet.body) .. "\1\5hello\0")
  local unready = string.char((packet.version == 4 and 0 or 5) + 16)
  write("answer", i .. "-unready", "\128" .. unready .. be16(1280) .. be16(2000) .. be16(#bytes)
    .. craft.unready(packet) .. "\1a")
  write("buffer", i, "\0" .. be16(#bytes) .. bytes .. random.bytes(60))
  write("fields", i, "\0" .. be16(#bytes) .. bytes .. random.bytes(60))
  if packet.version == 4 then
    local more = i % 2 == 0 and m.attr(m.CT, m.attr(8, m.be32(7)) .. m.attr(18, be16(3))) or m.attr(m.MARK, m.be32(9))
      .. m.attr(m.VLAN, m.attr(1, be16(0x8100)) .. m.attr(2, be16(5))) .. m.attr(m.HWADDR, be16(6) .. ("\1"):rep(10))
    write("attr", i, m.simple(i, bytes, more))
    write("message", i, "\4\0\100" .. m.simple(i, bytes, more))
  end
end

-- Packets inside of others, as a filter looks into them.

for _, kind in ipairs { "tcp", "udp", "sctp", "gre_sum" } do
  for _, version in ipairs { 4, 6 } do
    local p = inside.packet(kind, version)
    local list = {}
    for _, name in ipairs(inside.tunnels) do list[#list + 1] = inside.tunnel(name, version, p) end
    list[#list + 1] = inside.tunnel("GENEVE", 4, { version = 4, bytes = inside.tunnel("VXLAN", 4, p) })
    for error in pairs(inside.errors[version]) do
      list[#list + 1] = inside.error(version, error, p.bytes)
      list[#list + 1] = inside.error(version, error, p.bytes:sub(1, p.l4 + 8))
    end
    for i, bytes in ipairs(list) do
      write("fields", ("inside-%s-%d-%d"):format(kind, version, i), "\0" .. be16(#bytes) .. bytes .. random.bytes(200))
    end
  end
end

for operation = 1, 3 do
  local arp = be16(1) .. be16(0x0800) .. "\6\4" .. be16(operation) .. random.bytes(20)
  write("summary", "arp" .. operation, "\12\5" .. be16(#arp) .. "\194\155\255x\n" .. arp .. "\3\255\255\255\12")
end

-- ARP, between a link header and choices.
do
  local addresses = ("\2\0\0\0\0\1\10\0\0\1"):rep(2)
  local arp = "\0\1\8\0\6\4\0\1" .. addresses
  local l2hdr = "\2\0\0\0\0\2\2\0\0\0\0\1"
  write("header", "arp", "\4" .. arp)
  write("header", "arp-bridged", "\1" .. be16(0x8100) .. "\0\5\8\6" .. arp)
  for name, header in pairs { plain = l2hdr .. "\8\6", tagged = l2hdr .. "\129\0\0\5\8\6",
    twice = l2hdr .. "\136\168\0\5\129\0\0\6\8\6" } do
    write("fields", "arp-" .. name, "\12" .. be16(#arp) .. arp .. string.char(#header) .. header .. random.bytes(200))
  end
end

-- Tunnels, with an unfinished packet of each kind in them.
for _, name in ipairs(tunnel.names) do
  for _, kind in ipairs { "tcp", "udp", "sctp" } do
    for _, version in ipairs { 4, 6 } do
      local _, _, came = tunnel.around(name, 4, tunnel.packet(kind, version, "inside"))
      for _, flags in ipairs { "\4", "\53" } do
        local file = ("%s-%s-%d-%d"):format((name:gsub(" ", "_")), kind, version, flags:byte())
        write("mend", file, "\0" .. came)
      local bits = flags == "\4" and "\16" or "\48"
      write("answer", file, "\128" .. bits .. be16(100) .. be16(2000) .. be16(#came) .. came)
      write("answer", file .. "-tagged", "\128\26" .. be16(100) .. be16(2000) .. be16(#came + 4) .. "\0\5\8\0" .. came)
        write("inner", file, flags .. "\9" .. came)
      end
    end
  end
end

-- A batch of four packets, the second one in hand; and pieces of a message in a slot.
for i, packet in ipairs(packets) do
  local message = m.simple(i, packet.bytes)
  local pieces = {}
  for at = 0, #message - 1, 60 do
    local piece = message:sub(at + 1, at + 60)
    pieces[#pieces + 1] = string.char(#piece * 4) .. be16(at) .. piece
  end
  write("settle", i, table.concat(pieces) .. "\18" .. be16(8) .. m.host32(4) .. "\18" .. be16(24) .. m.host32(1))
end
-- Messages behind each other, as a socket gives them; before them what the filter does.
for i = 1, #packets - 3 do
  local datagrams = {}
  for j = 0, 3 do
    local message = m.simple(i + j, packets[i + j].bytes)
    datagrams[#datagrams + 1] = "\0" .. be16(#message) .. message
  end
  write("queue", i, "\4" .. string.char(i % 256, i % 7, 0, 40) .. "\3" .. table.concat(datagrams))
end
write("message", "long", "\0\16\0" .. m.simple(1, ("x"):rep(2500)))
for i, kind in ipairs { 0x0302, 0x0301 } do
  local request = m.host32(40) .. m.host16(kind) .. m.host16(1) .. m.host32(0) .. m.host32(0) .. "\0\0\0\0"
  write("message", "error" .. i, "\0\16\0" .. m.host32(60) .. m.host16(2) .. m.host16(0) .. m.host32(0) .. m.host32(0)
    .. m.host32(-2) .. request .. m.attr(2, m.be32(1) .. m.be32(7)))
end

for i = 1, 20 do write("chain", i, "\0\0" .. string.char(i * 4) .. random.bytes(i * 40)) end

-- Captures of each link type, in each format, behind 32 bytes of choices.

local links = {
  ETHERNET = ("\2"):rep(12) .. "\129\0\0\5\8\0", SLL = ("\0"):rep(14) .. "\8\0", SLL2 = "\8\0" .. ("\0"):rep(18),
  RAW = "", NULL = m.host32(2), LOOP = m.be32(2),
}
for link, header in pairs(links) do
  for i, options in ipairs { {}, { nano = true }, { swapped = true }, { ng = true }, { ng = true, swapped = true } } do
    local path = os.tmpname()
    options.link = capture[link]
    capture.write(path, { { header .. packets[1].bytes }, { header .. "x" }, { header .. packets[2].bytes },
      { "" }, { header .. packets[3].bytes, len = 9000 } }, options)
    local file = assert(io.open(path, "rb"))
    local bytes = file:read "*a"
    write("capture", link .. i, "\1" .. random.bytes(31) .. bytes)
    write("reader", link .. i, bytes)
    file:close()
    os.remove(path)
  end
end

-- pcapng as it may be: unlike interfaces, all kinds of packets and their options, blocks between them, and a second
-- section; in either byte order. With choices that write, hold packets, change them, or cut them off.
local function pcapng_section(is_swapped)
  local section = pcapng.section(is_swapped)
  local frame = links.ETHERNET .. packets[1].bytes
  return section:interface { link = capture.ETHERNET, snaplen = 65535 }
    :interface { link = capture.RAW, options = { { 9, "\9" }, { 14, section:u64(3600) }, { 2, "eth0" } } }
    :interface { link = capture.SLL2, snaplen = 96, options = { { 9, "\138" } } }
    :packet(frame, { options = { { 1, "a comment" }, { 2, section:u32(1) }, { 3, "\2\1\2\3\4" } }, ticks = 2 ^ 50 })
    :packet(packets[2].bytes, { interface = 1, len = 9000, ticks = 1700000000 * 2 ^ 20 })
    :block(5, section:u32(1) .. section:u64(7))
    :old_packet(packets[3].bytes, { interface = 1, options = { { 1, "old" } } })
    :simple_packet(frame)
    :interface { link = 239 }
    :block(0x40000bad, section:u32(1) .. "secret")
    :packet("\8\0" .. ("\0"):rep(18) .. packets[4].bytes, { interface = 2, ticks = 5 })
end

local both = pcapng_section(false):text() .. pcapng_section(true):text()
for name, bytes in pairs { little = pcapng_section(false):text(), big = pcapng_section(true):text(), both = both } do
  write("reader", "ng-" .. name, bytes)
  for _, choices in ipairs { "\1\0", "\1\9", "\9\15", "\13\1" } do
    local file = ("ng-%s-%d-%d"):format(name, choices:byte(1, 2))
    write("capture", file, choices .. "\60\0" .. ("\4\1\8\1\0\97\5"):rep(4) .. bytes)
  end
end

-- What gzip has made: of one member, of two, and of no bytes.
local function gzip(bytes)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  local pipe = assert(io.popen("gzip -n -c " .. path))
  local packed = pipe:read "*a"
  pipe:close()
  os.remove(path)
  return packed
end

for i, bytes in ipairs { gzip(both), gzip(both:sub(1, 400)) .. gzip(both:sub(401)), gzip "" } do
  write("capture", "gz" .. i, "\1" .. ("\0"):rep(31) .. bytes)
  write("reader", "gz" .. i, bytes)
end

for i, link in ipairs(link_headers.list) do
  for kind, packet in pairs { [0x0800] = link_headers.packet, [0x86dd] = link_headers.packet6 } do
    write("link", ("%d-%x"):format(i, kind), be16(link[2]) .. link[3](kind, packet) .. packet)
  end
end

-- Messages; and sets of few names, with what is done to them: a kind, a length, a name.
do
  local dns = require("ipq").dns
  local record = { name = "www.example.org", type = "MX", data = "10 mail.example.org" }
  local kinds = { A = "192.0.2.1", AAAA = "::1", TXT = { "a", "b" }, SRV = "1 2 3 x.example.org", NS = "ns.example.org",
    SOA = "ns.example.org admin.example.org 1 2 3 4 5", HTTPS = { alpn = { "h2" }, port = 443 },
    NAPTR = "\0\1\0\2\0\0\0\0" }
  for kind, value in pairs(kinds) do
    write("dns", kind, dns.build { name = "WWW.example.org", edns = { options = { { code = 10, data = "cookie" } } },
      answers = { record, { name = "example.org", type = kind, data = value } }, authorities = { record } })
  end
  local long = ("\63" .. ("x"):rep(63)):rep(4)
  for i, name in ipairs { "\192\12", "\1a\192\12", "\64", long, "\3a.b\0" } do
    write("dns", i, be16(7) .. "\1\0\0\1" .. ("\0"):rep(6) .. name .. "\0\1\0\1")
  end
  local acts = {}
  for i, name in ipairs { "a.b", "b", "*.c.a.b", "||x.b^", "A.B.", "-", "a..b", "x.a.b", ("y."):rep(126) .. "z" } do
    for kind = 0, 2 do acts[#acts + 1] = string.char(kind, #name) .. name end
    write("domainset", i, "\1" .. table.concat(acts))
  end
  for i, text in ipairs { "0.0.0.0 a b # c\n::1 localhost\n", "! x\n||a.b^\n@@||c^\n", "a\n\nb..c\n", "*.a.b\r\n" } do
    write("domainset", "file" .. i, "\0" .. text)
  end
end

-- A kind, a step, a head.
do
  local heads = { "\0\3GET http://a/b HTTP/1.1\r\nHost: a\r\nA:\r\n b\r\n\tc \r\nContent-Length: 5\r\n\r\nhello",
    "\0\7POST / HTTP/1.1\nTransfer-Encoding: gzip, chunked\nUpgrade: h2c\n\n",
    "\1\1HTTP/1.1 200 OK\r\nSet-Cookie: a\r\n\r\n",
    "\1\2HTTP/1.0 404\r\n\r\n", "\2\5X-Sum: 1\r\n\r\n", "\2\1\r\n", "\2\05a;b=c\r\n", "\0\0PRI * HTTP/2.0\r\n\r\n",
    "\0\2GET / HTTP/1.1\r\nContent-Length : 1\r\nHost: a\r\nHost: b\r\n\r\n" }
  for i, head in ipairs(heads) do write("http", i, head) end
end

for i = 1, 20 do write("held", i, random.bytes(i * 40)) end
for i = 1, 10 do write("netset", i, random.bytes(i * 20)) end
for i = 1, 20 do write("shared", i, string.char(i % 2) .. random.bytes(i * 60)) end
write("netfile", "list", "# networks\n10.0.0.0/8\n 10.1.2.3 ; a host\r\n\n2001:db8::/32\n::/0\n0.0.0.0/0\n::1")
write("netfile", "wrong", "10.0.0.0/8\n10.0.0.0/33\n")
write("netfile", "wide", "10.0.0.0/8" .. (" "):rep(200) .. "# a column of remarks\n")
local list = {}
for i = 1, 100 do list[i] = ("10.%d.0.0/%d\n2001:db8:%x::/%d\n"):format(i, i % 17 + 8, i, i % 90 + 32) end
write("netfile", "many", table.concat(list))

for i, words in ipairs {
  { "-q", "3:7", "--pin", "--spin", "50", "--default", "drop", "--on-error=accept", "f.lua", "key=value" },
  { "--test", "spec", "-v" }, { "--test=spec" }, { "-r", "in", "-w", "out", "-F", "tcp", "--json", "f.lua" },
  { "--copy-range", "64", "--queue-maxlen=10", "--rcvbuf", "65536", "--fail-open", "--no-gso", "--check", "f" },
  { "--new", "x" }, { "--help" }, { "-V" }, { "-q" }, { "--nonsense" }, { "--json=1" }, { "f.lua", "--json" },
  { "-x", "--", "f" },
  { "--rule", "-t mangle OUTPUT -p icmp --icmp-type ping -m comment --comment=\"a 'b'\"", "--queue-bypass", "f" },
  { "--doctor", "--rule", "INPUT ! -s 10.0.0.0/8,192.0.2.1 -4", "--rule", "FORWARD -d 2001:db8::/32" },
  { "--rule", "OUTPUT -F", "--print-rules", "nft" }, { "--mark-bits", "0x1,32768", "--check", "f" },
} do write("arguments", i, table.concat(words, "\0")) end

-- Lines of a client, whole and in pieces.
for i, line in ipairs { "help\n", "queues\n", "later\n", "no end", ("x"):rep(1100) .. "\n", "a\nb\n" } do
  write("control", i, string.char(math.min(#line, 255)) .. line .. "\6" .. line)
end

-- Saved values: tags 0 to 6 are nil, false, true, a number, a string, a table and its end.
local number, text = "\3" .. ("\0"):rep(6) .. "\240\63", "\4\2\0\0\0ab"
for i, bytes in ipairs { "\0", "\1", "\2", number, text, "\5\6", "\5" .. text .. number .. text .. "\5\6\6",
  "\5" .. number .. "\5" .. number .. "\5\6\6\6", ("\5\2"):rep(120), "\4\255\255\255\255x" } do
  write("value", i, bytes)
end

-- Operations on a flow table: packets, waits, sweeps, attaching, limits, damage.
local talk = "\7\33\2\5\0" .. "\7\97\18\7\6" .. "\7\33\16\6\8"
local flood = {}
for i = 0, 63 do flood[#flood + 1] = "\7" .. string.char(i) .. (i >= 32 and "\2\5\0" or "\0") end
for i, bytes in ipairs { talk .. "\3\4" .. talk, talk .. "\7\97\17\8\7\7\33\17\6\9\7\97\16\9\7",
  table.concat(flood) .. "\3\4", table.concat(flood) .. "\5\7" .. table.concat(flood), talk .. "\17\255\255\2\24\1\9\9",
  talk .. "\22\0\200\4\1\2\3\4" .. talk .. "\3" .. talk } do
  write("flow", i, "\1" .. bytes)
  write("flow", i .. "-collide", "\0" .. bytes)
end
for i, packet in ipairs(packets) do
  local length = #packet.bytes
  if length <= 96 then write("flow", "any-" .. i, "\1\0" .. string.char(length) .. packet.bytes .. talk) end
end
