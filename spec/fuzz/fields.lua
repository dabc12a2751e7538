-- Fields of headers with any values, against what their bytes say by a table of their own.
local bit = require "bit"
local judge = require "spec.fuzz.judge"
local look = require "spec.support.look"

-- Offset, bytes, bits (all), shift from the right; true instead of bits: a flag.
local fields = {
  ip = { dscp = { 1, 1, 6, 2 }, ecn = { 1, 1, 2, 0 }, length = { 2, 2 }, id = { 4, 2 }, df = { 6, 1, true, 6 },
    mf = { 6, 1, true, 5 }, frag_off = { 6, 2, 13, 0 }, ttl = { 8, 1 }, protocol = { 9, 1 }, checksum = { 10, 2 } },
  ip6 = { dscp = { 0, 2, 6, 6 }, ecn = { 0, 2, 2, 4 }, flowlabel = { 0, 4, 20, 0 }, length = { 4, 2 },
    nexthdr = { 6, 1 }, hoplimit = { 7, 1 } },
  tcp = { sport = { 0, 2 }, dport = { 2, 2 }, sequence = { 4, 4 }, ackseq = { 8, 4 }, doff = { 12, 1, 4, 4 },
    flags = { 13, 1 }, cwr = { 13, 1, true, 7 }, ece = { 13, 1, true, 6 }, urg = { 13, 1, true, 5 },
    ack = { 13, 1, true, 4 }, psh = { 13, 1, true, 3 }, rst = { 13, 1, true, 2 }, syn = { 13, 1, true, 1 },
    fin = { 13, 1, true, 0 }, window = { 14, 2 }, checksum = { 16, 2 }, urgptr = { 18, 2 } },
  udp = { sport = { 0, 2 }, dport = { 2, 2 }, length = { 4, 2 }, checksum = { 6, 2 } },
  udplite = { sport = { 0, 2 }, dport = { 2, 2 }, csumcov = { 4, 2 }, checksum = { 6, 2 } },
  icmp = { type = { 0, 1 }, code = { 1, 1 }, checksum = { 2, 2 }, id = { 4, 2 }, sequence = { 6, 2 } },
  sctp = { sport = { 0, 2 }, dport = { 2, 2 }, vtag = { 4, 4 }, checksum = { 8, 4 } },
  dccp = { sport = { 0, 2 }, dport = { 2, 2 }, doff = { 4, 1 }, csumcov = { 5, 1, 4, 0 }, checksum = { 6, 2 },
    type = { 8, 1, 4, 1 } },
  gre = { flags = { 0, 1 }, version = { 1, 1, 3, 0 }, protocol = { 2, 2 } },
  esp = { spi = { 0, 4 }, sequence = { 4, 4 } },
  arp = { htype = { 0, 2 }, ptype = { 2, 2 }, hlen = { 4, 1 }, plen = { 5, 1 }, operation = { 6, 2 } },
}
fields.icmpv6 = fields.icmp

local names, headers = {}, {}
for header, list in pairs(fields) do
  headers[#headers + 1] = header
  names[header] = {}
  for name in pairs(list) do table.insert(names[header], name) end
  table.sort(names[header])
end
table.sort(headers)

local headers_of_payload = { "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp" }

local function number_at(bytes, at, size)
  local n = 0
  for i = 1, size do n = n * 256 + bytes:byte(at + i) end
  return n
end

local function to_bytes(n, size)
  local bytes = {}
  for i = size, 1, -1 do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(bytes)
end

--- Where the header begins. Transports are known by where what follows them begins.
local function place_of(m, view, header)
  if header == "ip" or header == "ip6" or header == "arp" then return 0 end
  local body = m:reach() - #view.payload
  if header == "tcp" or header == "dccp" then
    local length = view.doff * 4
    return body - length
  end
  if header == "gre" then
    local flags, words = view.flags, 1
    for _, flag in ipairs { 0x80, 0x20, 0x10 } do words = words + (bit.band(flags, flag) ~= 0 and 1 or 0) end
    return body - words * 4
  end
  return body - (header == "sctp" and 12 or 8)
end

local function expected(whole, f)
  local value = math.floor(whole / 2 ^ (f[4] or 0))
  if f[3] == true then return value % 2 == 1 end
  return value % 2 ^ (f[3] or f[2] * 8)
end

local act = {}

local values = { 0, 1, true, false, -1, 0.5, 0 / 0, 1 / 0, "1", 255, 256, 65535, 65536, 2 ^ 32 - 1, 2 ^ 32, -2 ^ 31,
  -2 ^ 31 - 1, {} }

function act.assign(c, m, view, header, at)
  local name = c.pick(names[header])
  local f = fields[header][name]
  local whole = number_at(m.bytes, at + f[1], f[2])
  local value = c.pick(values)
  if c.byte() % 2 == 1 and type(value) == "number" then value = c.u16() end
  judge.equal(expected(whole, f), view[name], header .. "." .. name)
  local width = f[3] == true and 1 or f[3] or f[2] * 8
  local least = width == 32 and -2 ^ 31 or 0 -- as LuaJIT's bit library has 32 bits
  local possible = f[3] == true and type(value) == "boolean"
    or f[3] ~= true and type(value) == "number" and value % 1 == 0 and value >= least and value < 2 ^ width
  if possible then
    local step, old = 2 ^ (f[4] or 0), expected(whole, f)
    local raw = type(value) == "boolean" and (value and 1 or 0) or value % 2 ^ width
    old = type(old) == "boolean" and (old and 1 or 0) or old
    m:replace(at + f[1], f[2], to_bytes(whole + (raw - old) * step, f[2]))
  end
  m:does(possible, header .. "." .. name, function() view[name] = value end)
end

--- Kinds and data of TCP options, by RFC 9293 section 3.1.
local function options_of(bytes)
  local list, o = {}, 1
  while o <= #bytes and bytes:byte(o) ~= 0 do
    local length = bytes:byte(o + 1)
    if bytes:byte(o) == 1 then
      length = 1
    elseif not length or length < 2 or o + length - 1 > #bytes then
      break
    else
      list[#list + 1] = { kind = bytes:byte(o), data = bytes:sub(o + 2, o + length - 1) }
    end
    o = o + length
  end
  return list
end

--- The options with data for the first of that kind, by the same; nil takes all of that kind away.
local function with_option(bytes, kind, data)
  local o, before, found = 1, bytes, false
  while o <= #bytes and bytes:byte(o) ~= 0 do
    local length = bytes:byte(o) == 1 and 1 or bytes:byte(o + 1)
    if not length or length < (bytes:byte(o) == 1 and 1 or 2) or o + length - 1 > #bytes then break end
    if bytes:byte(o) == kind and not (data and found) then
      found = true
      local new = data and string.char(kind, #data + 2) .. data or ("\1"):rep(length)
      bytes = bytes:sub(1, o - 1) .. new .. bytes:sub(o + length)
      length = #new
    end
    o = o + length
  end
  if not data or found and #bytes == #before then return bytes end
  bytes = bytes:sub(1, o - 1) .. (found and "" or string.char(kind, #data + 2) .. data)
  return bytes .. ("\0"):rep(-#bytes % 4)
end

local function set_option(c, m, view, at, old)
  local list = options_of(old)
  local kind = c.byte() % 2 == 1 and #list > 0 and c.pick(list).kind or c.byte()
  local data = c.bytes(c.byte() % 42)
  if c.byte() % 8 == 0 then data = nil end
  local new = kind > 1 and with_option(old, kind, data) or ""
  local possible = kind > 1 and (not data or #data <= 38) and #new <= 40 and m:takes(at + 20, #old, new)
  if possible and (new ~= old or data and data ~= "") then
    m:replace(at + 20, #old, new)
    if #new ~= #old then
      local byte = m.bytes:byte(at + 13)
      m:replace(at + 12, 1, string.char((5 + #new / 4) * 16 + byte % 16))
    end
  end
  m:does(possible, "set_option", view.set_option, view, kind, data)
end

function act.options(c, m, view, header, at)
  if header ~= "tcp" and header ~= "ip" then return end
  local length_at = header == "tcp" and at + 12 or at
  local words = header == "tcp" and math.floor(m.bytes:byte(length_at + 1) / 16) or m.bytes:byte(length_at + 1) % 16
  local old = m.bytes:sub(at + 21, at + words * 4)
  if header == "tcp" then
    local list, first = options_of(old), {}
    judge.equal(#list, #view.options, "options")
    for i, option in ipairs(view.options) do
      judge.equal(list[i].kind, option.kind, "kind")
      judge.equal(list[i].data, option.data, "data")
      first[option.kind] = first[option.kind] or option.data
    end
    local kind = c.byte()
    judge.equal(first[kind], view:option(kind), "option")
  else
    judge.equal(old, view.options, "options")
  end
  if header == "tcp" and c.byte() % 2 == 1 then
    set_option(c, m, view, at, old)
    return
  end
  local new = c.bytes(c.byte() % 48)
  local padded = new .. ("\0"):rep(-#new % 4)
  local possible = #new <= 40 and m:takes(at + 20, #old, padded)
  if possible then
    local byte = m.bytes:byte(length_at + 1)
    local count = 5 + #padded / 4
    m:replace(at + 20, #old, padded)
    m:replace(length_at, 1, string.char(header == "tcp" and count * 16 + byte % 16 or byte - byte % 16 + count))
  end
  m:does(possible, header .. ".options", function() view.options = new end)
end

local extensions = { [0] = 8, [43] = 8, [44] = 0, [51] = 4, [60] = 8, [135] = 8 }

function act.exthdr(c, m, view, header)
  if header ~= "ip6" then return end
  local kind = c.pick { 0, 43, 44, 51, 60, 135 }
  local stop, at, this, found = m:reach(), 40, m.bytes:byte(7), nil
  while extensions[this] and at + 8 <= stop and not found do
    local units = m.bytes:byte(at + 2)
    local length = this == 44 and 8 or this == 51 and (units + 2) * 4 or (units + 1) * 8
    if at + length > stop then break end
    if this == kind then found = m.bytes:sub(at + 1, at + length) end
    this, at = m.bytes:byte(at + 1), at + length
  end
  judge.equal(found, m:does(true, "exthdr", view.exthdr, view, kind), "exthdr")
end

function act.address(c, m, view, header)
  if header ~= "ip" and header ~= "ip6" then return end
  local name = c.pick { "saddr", "daddr" }
  local size = header == "ip" and 4 or 16
  local offset = (header == "ip" and 12 or 8) + (name == "daddr" and size or 0)
  local text = view[name]
  if size == 4 then
    judge.equal(("%d.%d.%d.%d"):format(m.bytes:byte(offset + 1, offset + 4)), text, name)
  end
  judge.equal(text, m.pkt[name], name)
  local zeros = size == 4 and "0.0.0.0" or "::"
  m:replace(offset, size, ("\0"):rep(size))
  m:does(true, name, function() m.pkt[name] = zeros end)
  if c.byte() % 2 == 1 then return end
  m:does(false, name, function() m.pkt[name] = c.bytes(5) .. "/" end)
end

local function ether_text(bytes)
  return (("%02x:%02x:%02x:%02x:%02x:%02x"):format(bytes:byte(1, 6)))
end

function act.arp(c, m, view, header)
  if header ~= "arp" then return end
  local name = c.pick { "saddr_ether", "saddr_ip", "daddr_ether", "daddr_ip" }
  local hlen, plen = m.bytes:byte(5, 6)
  local is_ether = name:find("ether", 1, true) ~= nil
  local size = is_ether and 6 or 4
  local at = 8 + (name:find "^d" and hlen + plen or 0) + (is_ether and 0 or hlen)
  local is_there = (is_ether and hlen or plen) == size
  local old = m.bytes:sub(at + 1, at + size)
  judge.equal(is_there and (is_ether and ether_text(old) or ("%d.%d.%d.%d"):format(old:byte(1, 4))) or nil, view[name],
    name)
  local new = c.bytes(size)
  new = new .. ("\0"):rep(size - #new)
  local text = is_ether and ether_text(new) or ("%d.%d.%d.%d"):format(new:byte(1, 4))
  if c.byte() % 4 == 0 then is_there, text = false, text .. "x" end
  if is_there then m:replace(at, size, new) end
  m:does(is_there, name, function() view[name] = text end)
end

-- The link header, by a reading of it that begins anew each time.

local is_tag = { [0x8100] = true, [0x88a8] = true, [0x9100] = true }

--- Tags as { type, own two bytes }, the type behind them, and where what follows begins.
local function tags_of(l2hdr)
  local kind, at, tags = number_at(l2hdr, 12, 2), 14, {}
  while is_tag[kind] and at + 4 <= #l2hdr do
    tags[#tags + 1] = { kind, number_at(l2hdr, at, 2) }
    kind, at = number_at(l2hdr, at + 2, 2), at + 4
  end
  return tags, kind, at
end

local function random_tag(c)
  local tag = { id = c.u16() % 4100, pcp = c.byte() % 9, dei = c.byte() % 2 == 1, proto = c.pick { 0x8100, 0x88a8,
    0x9100, 0x0800 } }
  return tag, tag.id < 4096 and tag.pcp < 8 and is_tag[tag.proto] or false
end

local function set_tags(c, m, pkt)
  local list, is_possible = {}, #m.l2hdr >= 14
  for i = 1, c.byte() % 130 do
    local fits
    list[i], fits = random_tag(c)
    is_possible = is_possible and fits
  end
  if is_possible then
    local _, kind, at = tags_of(m.l2hdr)
    local text = m.l2hdr:sub(1, 12) .. to_bytes(list[1] and list[1].proto or kind, 2)
    for i, tag in ipairs(list) do
      text = text .. to_bytes(tag.pcp * 8192 + (tag.dei and 4096 or 0) + tag.id, 2)
        .. to_bytes(list[i + 1] and list[i + 1].proto or kind, 2)
    end
    text = text .. m.l2hdr:sub(at + 1)
    is_possible = #text <= 512
    if is_possible then m.l2hdr, m.is_linked = text, true end
  end
  m:does(is_possible, "vlan", function() pkt.vlan = list end)
end

local function set_ether(c, m, pkt)
  local name, text = c.pick { "saddr", "daddr" }, c.bytes(6)
  local at = name == "saddr" and 6 or 0
  if #text < 6 then return end
  local is_possible = #m.l2hdr >= 14 and c.byte() % 4 > 0
  if is_possible then
    m.l2hdr, m.is_linked = m.l2hdr:sub(1, at) .. text .. m.l2hdr:sub(at + 7), true
  end
  text = ether_text(text) .. (is_possible and "" or ":")
  m:does(is_possible, "ether", function() pkt.ether[name] = text end)
end

local function play_link(c, m, pkt)
  local view = pkt.ether
  if #m.l2hdr < 14 then
    judge.equal(nil, view, "ether")
    judge.equal(nil, pkt.vlan, "vlan")
  else
    local tags, kind = tags_of(m.l2hdr)
    local read = pkt.vlan or {}
    judge.equal(ether_text(m.l2hdr:sub(7)), view.saddr, "ether.saddr")
    judge.equal(ether_text(m.l2hdr), view.daddr, "ether.daddr")
    judge.equal(kind, view.type, "ether.type")
    judge.equal(#tags, #read, "tags")
    for i, tag in ipairs(read) do
      judge.equal(tags[i][1], tag.proto, "proto")
      judge.equal(tags[i][2], tag.pcp * 8192 + (tag.dei and 4096 or 0) + tag.id, "tag")
    end
    judge.equal(tags[1] and tags[1][1], pkt.vlan_proto, "vlan_proto")
    judge.equal(tags[1] and tags[1][2], pkt.vlan_tci, "vlan_tci")
  end
  if c.byte() % 2 == 1 then set_tags(c, m, pkt) else set_ether(c, m, pkt) end
end

-- Packets inside. What checksums become is specs' business: here the length stays, what is refused changes nothing, and
-- what is assigned is read back.

--- One of those inside, or nil.
local function pick_inside(c, pkt)
  local inner = pkt.inner or pkt.icmp and pkt.icmp.inner or pkt.icmpv6 and pkt.icmpv6.inner
  while inner and c.byte() % 2 == 1 do
    local icmp = inner.icmp or inner.icmpv6
    local next_one = inner.inner or icmp and icmp.inner
    if not next_one then return inner end
    inner = next_one
  end
  return inner
end

local expected_refusals = { "where its headers are, cannot be changed", "does not quote it$", "must be ",
  "offset out of bounds" }

--- Does it; the model follows the bytes where it does not raise.
local function try_inside(m, what, work, ...)
  local ok, why = pcall(work, ...)
  local now = m.pkt:copy()
  if ok then
    judge.equal(m:reach(), #now, what .. ": bytes")
    m.bytes, m.is_changed = now, true
    return true
  end
  judge.equal(true, m.bytes == now, what .. ": nothing changed")
  for _, pattern in ipairs(expected_refusals) do
    if tostring(why):find(pattern) then return false end
  end
  error(what .. ": " .. tostring(why), 0)
end

local function assign_inside(c, m, inner)
  local header = c.pick(headers)
  local view = header ~= "arp" and inner[header]
  if not view then return end
  local name = c.pick(names[header])
  local value = c.pick(values)
  if c.byte() % 2 == 1 and type(value) == "number" then value = c.u16() end
  if not try_inside(m, header .. "." .. name, function() view[name] = value end) then return end
  if type(value) == "number" then value = value % 2 ^ 32 end
  judge.equal(value, view[name], header .. "." .. name)
end

local function play_inside(c, m, pkt)
  local inner = pick_inside(c, pkt)
  if not inner then return end
  look.read_all(inner)
  if c.byte() % 2 == 1 then
    assign_inside(c, m, inner)
    return
  end
  local header = inner[c.pick(headers_of_payload)]
  local payload = header and header.payload or inner.payload
  local at, text = c.u16() % 200, c.bytes(1 + c.byte() % 8)
  -- An empty text is no change.
  if #text > 0 and try_inside(m, "a Buffer", payload.write, payload, at, text) then
    judge.equal(text, payload:string(at, #text), "what was written")
  end
end

local acts = { "assign", "assign", "assign", "options", "exthdr", "address" }
local acts_of_arp = { "assign", "arp" }

return judge.player(function(c, m, pkt)
  pkt.fix = m.fix
  while not c.is_over() do
    local header = c.pick(headers)
    local view = pkt[header]
    if view then
      act[c.pick(header == "arp" and acts_of_arp or acts)](c, m, view, header, place_of(m, view, header))
    end
    if m.l2hdr then play_link(c, m, pkt) end
    if c.byte() % 2 == 1 then play_inside(c, m, pkt) end
  end
  m:does(true, "tostring", tostring, pkt)
end)
