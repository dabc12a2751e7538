-- A packet's line, beside what tcpdump prints for the same packet.
--
-- Not compared, as ours is simpler by design: TCP's options and urgent pointer; IPv6's extension headers; what
-- applications say (the ports are those of none that tcpdump decodes); what is in SCTP, GRE and ESP, and in ICMP but
-- its kind, id, sequence number and length; the ports of a transport header that is cut off.
local capture = require "spec.support.capture"
local fields = require "spec.support.random_fields"
local reference = require "spec.support.summary"
local rewrite = require "spec.support.rewrite"
local t = require "ipq.test"
local tcpdump = require "spec.support.tcpdump"

local PACKETS = 3000

local function port(r) return r.number(33000, 39999) end

-- Well-formed options: tcpdump leaves off the length where one is not.
local tcp_options = {
  { kind = 2, data = "\5\180" }, { kind = 3, data = "\7" }, { kind = 4, data = "" }, { kind = 1 },
  { kind = 8, data = "\0\1\2\3\4\5\6\7" }, { kind = 5, data = "\0\1\2\3\0\1\2\4" }, { kind = 253, data = "\1\2\3\4" },
}

local function options(r)
  local list = {}
  for _ = 1, r.number(0, 3) do list[#list + 1] = r.pick(tcp_options) end
  return list
end

local exthdrs = { {}, {}, { 0 }, { 60 }, { 0, 60 }, { 60, 60 } }

local function extensions(r)
  local list = {}
  for i, kind in ipairs(r.pick(exthdrs)) do list[i] = { nexthdr = kind, data = "\1\4\0\0\0\0" } end
  return list
end

local names = { "tcp", "tcp", "tcp", "udp", "udp", "icmp", "icmpv6", "sctp", "gre", "esp" }

-- The kinds of ICMP that our line names, and some that it does not.
local icmp_types = { icmp = { 0, 3, 5, 8, 8, 11, 13, 40 },
  icmpv6 = { 1, 2, 3, 128, 128, 129, 133, 134, 135, 136, 200 } }

--- A random packet.
local function random(r)
  local name = r.pick(names)
  local ip = (name == "icmpv6" or name ~= "icmp" and r.number(0, 1) == 1) and "ip6" or "ip"
  local own = fields.some(r, name)
  local given = { [ip] = fields.some(r, ip), [name] = own }
  if ip == "ip6" then given.exthdrs = extensions(r) end
  if own.sport then own.sport = port(r) end
  if name == "tcp" or name == "udp" or name == "sctp" then own.sport, own.dport = port(r), port(r) end
  if name == "tcp" then own.options = options(r) end
  if icmp_types[name] then own.type, own.code = r.pick(icmp_types[name]), r.number(0, 3) end
  if name == "udp" and r.number(0, 9) == 0 then own.length = r.number(0, 2000) end
  return t[name](given), #(given.exthdrs or {}) > 0
end

--- Frames for a capture: whole packets, fragments, and copies that are cut off, some of them with padding behind.
local function make_frames(seed)
  local r, frames = rewrite.random(seed), {}
  local function add(p)
    local bytes = p.bytes .. ("\0"):rep(r.number(0, 4) == 0 and r.number(1, 26) or 0)
    local size = r.pick { #bytes, #bytes, r.number(1, #bytes), r.number(math.min(60, #bytes), #bytes) }
    frames[#frames + 1] = { bytes:sub(1, size), len = #bytes }
  end
  while #frames < PACKETS do
    local p, has_extensions = random(r)
    if not has_extensions and #p.bytes > 200 and r.number(0, 2) == 0 then
      for _, fragment in ipairs(t.fragments(p, r.number(100, 700))) do add(fragment) end
    else
      add(p)
    end
  end
  return frames
end

local function head(line) return line:match "^(IP6? %S+ > %S+): " end
local function length(line) return line:match ", length (%d+)" end

--- The addresses without ports.
local function hosts(line)
  local a, b = line:match "^IP (%d+%.%d+%.%d+%.%d+)[.%d]* > (%d+%.%d+%.%d+%.%d+)"
  if not a then a, b = line:match "^IP6 ([%x:]+)[.%d]* > ([%x:]+)" end
  return a and a .. " > " .. b:gsub(":$", "")
end

-- By a pattern for what follows the addresses in our line: the kind's name, and whether tcpdump's line says the same.
-- "[|" is its mark for what it cannot read, as it is cut off.
local kinds = {
  { "Flags %[", "tcp", function(ours, theirs) return ours == theirs end },
  { "UDP, bad length", "lies", function(ours, theirs)
    return ours == theirs or theirs:match "truncated%-udplength"
  end },
  { "UDP, ", "udp", function(ours, theirs) return ours == theirs end },
  { "ICMP6?,? echo", "echo", function(ours, theirs) return ours == theirs end },
  { "ICMP", "icmp", function(ours, theirs)
    if theirs:match "%[|icmp6?%]$" then return head(ours) == head(theirs) end
    local kind = ours:match "ICMP6?,? ([%l ]+)"
    return head(ours) == head(theirs) and (length(theirs) or length(ours)) == length(ours)
      and (kind:match "^type" or theirs:find(kind, 1, true))
  end },
  { "SCTP$", "sctp", function(ours, theirs) return head(ours) == head(theirs) and theirs:match ": sctp" end },
  { "GRE$", "gre", function(ours, theirs) return head(ours) == head(theirs) and theirs:match ": GREv0, " end },
  { "ESP$", "esp", function(ours, theirs)
    return head(ours) == head(theirs) and (theirs:match ": ESP%(" or theirs:match ": *%[|esp%]")
  end },
  -- The transport header is in another fragment, or cut off.
  { "protocol %d+$", "none", function(ours, theirs)
    return hosts(ours) == hosts(theirs) or theirs:match "^IP6?  %[|sctp%]$"
  end },
}

local function compare(ours, theirs)
  if ours:match "^ip6?, ethertype" then return "no header", theirs:match "%[|ip" end
  for _, kind in ipairs(kinds) do
    if ours:match("^IP6? %S+ > %S+: " .. kind[1]) then return kind[2], kind[3](ours, theirs) end
  end
end

-- How many of each kind there are at least, and of those that are cut behind the transport header.
local WANTED = { tcp = 500, udp = 300, lies = 20, echo = 100, icmp = 200, sctp = 150, gre = 150, esp = 150, none = 200,
  ["no header"] = 200, cut = 200 }

describe("a packet's line", function()
  it("says what tcpdump says", function()
    if not tcpdump.available() then return pending "there is no tcpdump" end
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local frames = make_frames(11)
    capture.write(path, frames)
    local lines, records = tcpdump.lines(path), t.replay(path, function() end).records
    assert.equal(#frames, #records)
    local seen, wrong = {}, {}
    for _, record in ipairs(records) do
      local theirs = lines[record.number]
      local kind, same = compare(record.packet, tcpdump.plain(theirs))
      if not same then
        wrong[#wrong + 1] = ("%d: %s\n  tcpdump: %s"):format(record.number, record.packet, theirs)
      end
      local frame = frames[record.number]
      for _, name in ipairs { kind, length(record.packet) and frame.len > #frame[1] and "cut" or nil } do
        seen[name] = (seen[name] or 0) + 1
      end
    end
    assert.equal("", table.concat(wrong, "\n", 1, math.min(#wrong, 20)))
    for name, count in pairs(WANTED) do assert.is_true((seen[name] or 0) >= count, name) end
  end)

  --- What a filter sees of the packet that our line and the other one differ in; nil where they are the same.
  local function differs(pkt)
    local ours, theirs = tostring(pkt), reference.line(pkt)
    if ours ~= theirs then return ("%s\n%s"):format(ours, theirs) end
  end

  it("is what another formatter makes of its fields, cut off and changed too", function()
    local path, wrong, r = os.tmpname(), {}, rewrite.random(5)
    finally(function() os.remove(path) end)
    capture.write(path, make_frames(12))
    t.replay(path, function(pkt)
      wrong[#wrong + 1] = differs(pkt)
      local payload = pkt.payload
      if #payload > 0 then
        local offset = r.number(0, #payload - 1)
        payload:replace(offset, r.number(0, math.min(8, #payload - offset)), r.bytes(r.number(0, 8)))
      end
      wrong[#wrong + 1] = differs(pkt)
    end)
    assert.equal("", table.concat(wrong, "\n", 1, math.min(#wrong, 20)))
  end)

  it("is what another formatter makes of damaged packets, and of any bytes", function()
    local wrong, r = {}, rewrite.random(6)
    for _ = 1, 1000 do
      local bytes = r.number(0, 3) == 0 and r.pick { "\64", "\69", "\96" } .. r.bytes(r.number(0, 100))
        or random(r).bytes
      for _ = 1, r.number(0, 3) do
        local at = r.number(1, math.min(#bytes, 60))
        bytes = bytes:sub(1, at - 1) .. r.bytes(1) .. bytes:sub(at + 1)
      end
      local meta = { family = r.pick { "unspec", "inet", "ip", "arp", "netdev", "bridge", "ip6" },
        hw_protocol = r.pick { 0x0800, 0x86dd, 0x8100 }, data_len = r.number(0, #bytes),
        len = r.number(#bytes, 70000) }
      t.run(function(pkt) wrong[#wrong + 1] = differs(pkt) end, t.packet(bytes, meta))
    end
    assert.equal("", table.concat(wrong, "\n", 1, math.min(#wrong, 20)))
  end)

  it("has IPv6 addresses as inet_ntop() has them", function()
    local wrong, r = {}, rewrite.random(7)
    local p = t.udp { ip6 = {} }
    for _ = 1, 1000 do
      local address = {}
      for i = 1, 8 do
        address[i] = r.number(0, 2) > 0 and "\0\0" or r.pick { "\0\1", "\255\255", "\1\16", r.bytes(2) }
      end
      local bytes = p.bytes:sub(1, 8) .. table.concat(address) .. p.bytes:sub(25)
      t.run(function(pkt) wrong[#wrong + 1] = differs(pkt) end, t.packet(bytes))
    end
    assert.equal("", table.concat(wrong, "\n", 1, math.min(#wrong, 20)))
  end)

  local ethernet = "\2\0\0\0\0\1\2\0\0\0\0\2\8\6"
  local mac_a, mac_b, none, ip_a, ip_b = "\2\0\0\0\0\1", "\2\0\0\0\0\2", ("\0"):rep(6), "\10\0\0\1", "\10\0\0\2"
  local arp = {
    ["ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"] = "\0\1\8\0\6\4\0\1" .. mac_a .. ip_a .. none .. ip_b,
    ["ARP, Request who-has 10.0.0.2 (02:00:00:00:00:02) tell 10.0.0.1, length 46"] =
      "\0\1\8\0\6\4\0\1" .. mac_a .. ip_a .. mac_b .. ip_b .. ("\0"):rep(18),
    ["ARP, Request who-has 10.0.0.2 tell 0.0.0.0, length 28"] =
      "\0\1\8\0\6\4\0\1" .. mac_a .. "\0\0\0\0" .. none .. ip_b,
    ["ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:02, length 28"] = "\0\1\8\0\6\4\0\2" .. mac_b .. ip_b .. mac_a .. ip_a,
    ["ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:02, length 31"] =
      "\0\6\8\0\6\4\0\2" .. mac_b .. ip_b .. mac_a .. ip_a .. "pad",
  }

  it("says of ARP what tcpdump says", function()
    if not tcpdump.available() then return pending "there is no tcpdump" end
    local path, frames, expected = os.tmpname(), {}, {}
    finally(function() os.remove(path) end)
    for text, bytes in pairs(arp) do
      frames[#frames + 1] = { ethernet .. bytes }
      expected[#expected + 1] = text
      assert.equal(text, tostring(t.packet(bytes, { family = "arp", hw_protocol = 0x0806 })))
    end
    capture.write(path, frames, { link = capture.ETHERNET })
    assert.same(expected, tcpdump.lines(path))
  end)

  it("says of other ARP, and of what is cut off, what there is", function()
    for text, bytes in pairs {
      ["ARP, operation 12, length 28"] = "\0\1\8\0\6\4\0\12" .. ("\0"):rep(20),
      ["ARP, hardware 1 (len 0), protocol 0x0800 (len 4), length 8"] = "\0\1\8\0\0\4\0\1",
      ["ARP, hardware 24 (len 8), protocol 0x0806 (len 6), length 8"] = "\0\24\8\6\8\6\0\1",
      ["arp, ethertype 0x0806, 27 bytes"] = "\0\1\8\0\6\4\0\1" .. ("\0"):rep(19),
      ["arp, ethertype 0x0806, 7 bytes"] = "\0\1\8\0\6\4\0",
      ["arp, ethertype 0x0806, 0 bytes"] = "",
    } do
      assert.equal(text, tostring(t.packet(bytes, { family = "arp", hw_protocol = 0x0806 })))
    end
  end)

  it("has the length that the wire had, where the copy is cut off", function()
    for text, p in pairs {
      ["IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [.], seq 1000:1500, ack 0, win 65535, length 500"] =
        t.tcp { payload = ("x"):rep(500), data_len = 76 },
      ["IP6 2001:db8::1.40000 > 2001:db8::2.53: UDP, length 500"] =
        t.udp { ip6 = {}, payload = ("x"):rep(500), data_len = 60 },
      ["IP 192.0.2.1 > 192.0.2.2: ICMP echo request, id 1, seq 1, length 508"] =
        t.icmp { payload = ("x"):rep(500), data_len = 28 },
      -- the header's length is a lie, and one that the field has no room for
      ["IP 192.0.2.1 > 192.0.2.2: ICMP echo request, id 1, seq 1, length 80"] =
        t.icmp { payload = ("x"):rep(500), ip = { length = 1000 }, data_len = 28, len = 100 },
      ["IP6 2001:db8::1.40000 > 2001:db8::2.80: Flags [.], seq 1000:71000, ack 0, win 65535, length 70000"] =
        t.tcp { ip6 = { length = 0 }, payload = ("x"):rep(50), len = 70060 },
    } do
      assert.equal(text, tostring(p))
    end
  end)

  it("has the length that there is, where a filter has changed it", function()
    for text, size in pairs { ["hello world"] = 11, [""] = 0 } do
      for _, build in ipairs { t.udp, t.tcp } do
        local line
        local after = t.run(function(pkt)
          local payload = (pkt.udp or pkt.tcp).payload
          payload:replace(0, #payload, text)
          line = tostring(pkt)
        end, build { payload = "world" })
        assert.matches(", length " .. size .. "$", line)
        assert.equal(line, tostring(after.packet))
      end
    end
  end)
end)
