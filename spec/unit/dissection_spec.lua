-- The fields that a filter reads, against those that Wireshark's dissectors read.
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local rewrite = require "spec.support.rewrite"
local source = require "spec.support.source"
local tshark = require "spec.support.tshark"

local PACKETS = 4000

-- tshark's field, and ours: view and field.
local same = {
  ["ip.src"] = "ip.saddr", ["ip.dst"] = "ip.daddr", ["ip.ttl"] = "ip.ttl", ["ip.id"] = "ip.id",
  ["ip.proto"] = "ip.protocol", ["ip.dsfield.dscp"] = "ip.dscp", ["ip.dsfield.ecn"] = "ip.ecn",
  ["ip.len"] = "ip.length",
  ["ip.checksum"] = "ip.checksum",
  ["ipv6.src"] = "ip6.saddr", ["ipv6.dst"] = "ip6.daddr", ["ipv6.hlim"] = "ip6.hoplimit",
  ["ipv6.flow"] = "ip6.flowlabel",
  ["ipv6.nxt"] = "ip6.nexthdr", ["ipv6.plen"] = "ip6.length",
  ["tcp.srcport"] = "tcp.sport", ["tcp.dstport"] = "tcp.dport", ["tcp.seq_raw"] = "tcp.sequence",
  ["tcp.ack_raw"] = "tcp.ackseq", ["tcp.window_size_value"] = "tcp.window", ["tcp.urgent_pointer"] = "tcp.urgptr",
  ["tcp.checksum"] = "tcp.checksum", ["tcp.flags.syn"] = "tcp.syn", ["tcp.flags.ack"] = "tcp.ack",
  ["tcp.flags.fin"] = "tcp.fin", ["tcp.flags.reset"] = "tcp.rst", ["tcp.flags.push"] = "tcp.psh",
  ["tcp.flags.urg"] = "tcp.urg",
  ["udp.srcport"] = "udp.sport", ["udp.dstport"] = "udp.dport", ["udp.length"] = "udp.length",
  ["icmp.type"] = "icmp.type", ["icmp.code"] = "icmp.code", ["icmp.ident"] = "icmp.id", ["icmp.seq"] = "icmp.sequence",
  ["icmpv6.type"] = "icmpv6.type", ["icmpv6.code"] = "icmpv6.code",
  ["icmpv6.echo.identifier"] = "icmpv6.id", ["icmpv6.echo.sequence_number"] = "icmpv6.sequence",
  ["sctp.srcport"] = "sctp.sport", ["sctp.dstport"] = "sctp.dport", ["sctp.verification_tag"] = "sctp.vtag",
  ["dccp.srcport"] = "dccp.sport", ["dccp.dstport"] = "dccp.dport", ["dccp.type"] = "dccp.type",
  ["gre.proto"] = "gre.protocol", ["gre.key"] = "gre.key", ["esp.spi"] = "esp.spi", ["esp.sequence"] = "esp.sequence",
}

-- Numbers come as 5, 0x0005 or True.
local function plain(value)
  if type(value) == "boolean" then return value and 1 or 0 end
  if value == "True" then return 1 end
  if value == "False" then return 0 end
  return tonumber(value) or value
end

describe("a filter's fields", function()
  it("are those that tshark reads", function()
    if not tshark.available() then return pending "there is no tshark" end
    local names = {}
    for name in pairs(same) do names[#names + 1] = name end
    local r = rewrite.random(17)
    local packets, ours = {}, {}
    for i = 1, PACKETS do packets[i] = craft.random(r).bytes end
    for first = 1, PACKETS, 50 do
      local messages = {}
      for i = first, math.min(first + 49, PACKETS) do
        local v6 = packets[i]:byte(1) >= 0x60
        messages[#messages + 1] = m.packet(m.hdr(i, v6 and 0x86dd or 0x800) .. m.attr(m.PAYLOAD, packets[i]),
          { family = v6 and 10 or 2 })
      end
      source.new(messages):verdicts(function(pkt)
        local row = {}
        for theirs, path in pairs(same) do
          local view, field = path:match "^(%w+)%.(%w+)$"
          local header = pkt[view]
          row[theirs] = header and header[field]
        end
        ours[pkt.packet_id] = row
      end)
    end

    local rows = tshark.fields(packets, names)
    assert.equal(PACKETS, #rows)
    local compared = {}
    for i, row in ipairs(rows) do
      for name, path in pairs(same) do
        local value = ours[i][name]
        -- Ports of UDP-Lite come under UDP's name; what has no such header here is not compared.
        if value ~= nil and row[name] ~= "" then
          compared[name] = (compared[name] or 0) + 1
          if plain(row[name]) ~= plain(value) then
            error(("packet %d: %s is %s, and %s is %s"):format(i, name, row[name], path, tostring(value)))
          end
        end
      end
    end
    for name in pairs(same) do assert.is_true((compared[name] or 0) > 20, name .. " was never compared") end
  end)
end)
