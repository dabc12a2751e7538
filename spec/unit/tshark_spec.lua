-- What Wireshark's dissectors say to packets that were changed.
local ffi = require "ffi"
local batch = require "spec.support.batch"
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local rewrite = require "spec.support.rewrite"
local tshark = require "spec.support.tshark"

local C = rewrite.C
local PACKETS = 20000

local STATUS = { [6] = "tcp", [17] = "udp", [136] = "udp", [1] = "icmp", [58] = "icmpv6", [132] = "sctp",
  [33] = "dccp", [47] = "gre" }
-- Their content is random, and tshark looks into it.
local LOOKED_INTO = { [1] = true, [6] = true, [33] = true, [47] = true, [58] = true, [132] = true }
local GOOD, ABSENT = "1", "3"

local FIELDS = {
  "ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status",
  "icmpv6.checksum.status", "sctp.checksum.status", "dccp.checksum.status", "gre.checksum.status",
  "ip.len", "ipv6.plen", "udp.length",
  -- what does not fit
  "ip.bogus_ip_length", "ip.bogus_ip_version", "ip.bogus_header_length", "ipv6.bogus_ipv6_version",
  "udp.length.bad", "udp.length.bad_zero", "udplite.checksum_coverage.bad", "_ws.malformed",
}

local FIRST_FAULT = 12

local shared = batch.new {}

-- A packet with random changes, as it would be sent.
local function changed(r, p)
  local ready = craft.carries(p) or r.number(0, 2) > 0
  batch.fill(shared, { m.packet(m.hdr(1, p.version == 6 and 0x86dd or 0x0800)
    .. (ready and "" or m.attr(m.SKB_INFO, m.be32(1)))
    .. m.attr(m.PAYLOAD, ready and p.bytes or craft.unready(p)), { family = p.version == 6 and 10 or 2 }) })
  local packet = shared.packets[0]
  assert(C.ipq_rewrite_store(packet, p.version == 4 and 8 or 7, "\64", 1) == 0)
  for _ = 1, r.number(1, 3) do
    if r.number(0, 2) == 0 then
      local at = r.number(p.body, packet.data_len)
      local len = r.number(0, packet.data_len - at)
      local new = r.bytes(r.number(0, 60))
      assert(C.ipq_rewrite_replace(packet, at, len, new, #new) == 0)
    else
      local at, new = craft.random_store(r, p, ffi.string(packet.data, packet.data_len))
      -- IPv4 options stay: tshark ends where it finds one that is none.
      if p.version == 6 or at + #new <= 20 or at >= p.l4 then
        assert(C.ipq_rewrite_store(packet, at, new, #new) == 0)
      end
    end
  end
  assert(C.ipq_rewrite_finish(packet) == 0)
  return ffi.string(packet.data, packet.data_len)
end

describe("changed packets", function()
  it("are right in the eyes of tshark", function()
    if not tshark.available() then return pending "there is no tshark" end
    local r = rewrite.random(31)
    local kinds, packets = {}, {}
    for i = 1, PACKETS do
      local p = craft.random(r)
      kinds[i], packets[i] = p, changed(r, p)
    end
    local rows = tshark.fields(packets, FIELDS)
    assert.equal(PACKETS, #rows)

    local seen = {}
    for i, row in ipairs(rows) do
      local p = kinds[i]
      local name = p.kind.field and STATUS[p.kind.protocol]
      local function is(field, value)
        if row[field] ~= value then
          error(("packet %d, protocol %d over IPv%d: %s is %q, not %q\n%s"):format(i, p.kind.protocol, p.version,
            field, row[field], value, (packets[i]:gsub(".", function(c) return ("%02x"):format(c:byte()) end))))
        end
      end
      local size = #packets[i]
      if p.version == 4 then is("ip.checksum.status", GOOD) end
      is(p.version == 4 and "ip.len" or "ipv6.plen", tostring(p.version == 4 and size or size - 40))
      if p.kind.protocol == 17 then is("udp.length", tostring(size - p.l4)) end
      if name then
        local without = p.kind == craft.kinds.udp_without
        is(name .. ".checksum.status", without and ABSENT or GOOD)
        local key = name .. p.version
        seen[key] = (seen[key] or 0) + 1
      end
      if LOOKED_INTO[p.kind.protocol] == nil then
        for n = FIRST_FAULT, #FIELDS do is(FIELDS[n], "") end
      end
    end
    for _, key in ipairs { "tcp4", "tcp6", "udp4", "udp6", "icmp4", "icmpv66", "sctp4", "sctp6", "dccp4", "dccp6",
      "gre4", "gre6" } do
      assert.is_true(seen[key] and seen[key] > 50, key)
    end
  end)
end)
