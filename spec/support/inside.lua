-- Packets inside of packets, made in plain Lua: tunnels around one, and ICMP errors that quote one.
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local tunnel = require "spec.support.tunnel"

local M = {}

local PORTS = {
  ["VXLAN"] = 4789, ["VXLAN without a checksum"] = 4789, ["VXLAN with VLAN tags"] = 4789, ["VXLAN-GPE"] = 4789,
  ["GENEVE"] = 6081, ["GENEVE with options"] = 6081, ["GTP-U"] = 2152, ["GTP-U with an extension"] = 2152,
}

--- A packet of craft's of that kind.
function M.packet(name, version, body, more) return tunnel.packet(name, version, body, more) end

local function checked_gre(version, inner)
  local header = "\xb0\0" .. (inner.version == 4 and "\8\0" or "\x86\xdd")
  local rest = "\0\0\0\0\0\9\0\0\0\7" .. inner.bytes -- reserved, key, sequence number
  local gre = header .. m.be16(rewrite.checksum(header .. "\0\0" .. rest)) .. rest
  if version == 6 then return packets.ip6(47, gre) end
  return craft.complete({ version = 4, kind = { protocol = 47 }, l4 = 20 }, packets.ip(47, gre))
end

--- The bytes of a complete packet of that tunnel around inner, of which version and bytes count.
function M.tunnel(name, version, inner)
  inner = { version = inner.version, bytes = inner.bytes, kind = craft.kinds.tcp, l4 = 20, destination = 16 }
  if name == "GRE with a checksum" then return checked_gre(version, inner) end
  local outer = tunnel.around(name, version, inner)
  if not PORTS[name] then return outer.bytes end
  local bytes = craft.put(outer.bytes, outer.l4 + 2, m.be16(PORTS[name]))
  -- GTP-U's own length.
  if PORTS[name] == 2152 then bytes = craft.put(bytes, outer.l4 + 10, m.be16(#bytes - outer.l4 - 16)) end
  return craft.complete(outer, bytes)
end

--- The same of a tunnel around a packet whose checksum was left to others.
function M.unfinished(name, version, inner)
  local bytes = M.tunnel(name, version, inner)
  local field = inner.kind.protocol == 132 and "\0\0\0\0" or m.be16(craft.pseudo(inner, inner.bytes))
  return craft.put(bytes, #bytes - #inner.bytes + inner.l4 + inner.kind.field, field)
end

M.tunnels = { "GRE with a checksum", "GRE", "GRE with a key", "Ethernet over GRE", "IP in IP" }
for name in pairs(PORTS) do M.tunnels[#M.tunnels + 1] = name end
table.sort(M.tunnels)

-- Version, type → whether RFC 4884 gives it a length, and the bytes that its words have.
M.errors = {
  [4] = { [3] = 4, [4] = false, [5] = false, [11] = 4, [12] = 4 },
  [6] = { [1] = 8, [2] = false, [3] = 8, [4] = false },
}

--- The bytes of a complete ICMP error of that version and type around what it quotes, and its four bytes before that.
function M.error(version, kind, quote, rest)
  local icmp = string.char(kind, 1) .. "\0\0" .. (rest or "\0\0\0\0") .. quote
  if version == 4 then
    return craft.complete({ version = 4, kind = craft.kinds.icmp, l4 = 20, destination = 16 }, packets.ip(1, icmp))
  end
  return craft.complete({ version = 6, kind = craft.kinds.icmpv6, l4 = 40, destination = 24 }, packets.ip6(58, icmp))
end

--- The packet with those bytes over what was at offset at, and checksums as they are right then. Of UDP and TCP.
function M.with(p, at, bytes)
  local new = {}
  for key, value in pairs(p) do new[key] = value end
  new.bytes = craft.complete(p, craft.put(p.bytes, at, bytes))
  return new
end

-- Name → kinds, where the bytes are ("ip", "l4" or "body" and an offset by version), those bytes, what assigns them.
M.changes = {
  ["saddr"] = { at = "ip", [4] = { 12, "\9\8\7\6" }, [6] = { 8, ("\17\34"):rep(8) }, assign = function(inner)
    inner.saddr = inner.ip and "9.8.7.6" or "1122:1122:1122:1122:1122:1122:1122:1122"
  end },
  ["header's daddr"] = { at = "ip", [4] = { 16, "\1\2\255\0" }, [6] = { 24, ("\1\0"):rep(8) }, assign = function(inner)
    local header = inner.ip or inner.ip6
    header.daddr = inner.ip and "1.2.255.0" or "100:100:100:100:100:100:100:100"
  end },
  ["ttl"] = { at = "ip", [4] = { 8, "\3" }, [6] = { 7, "\3" }, assign = function(inner)
    if inner.ip then inner.ip.ttl = 3 else inner.ip6.hoplimit = 3 end
  end },
  ["sport"] = { kinds = "tcp udp udplite sctp dccp", at = "l4", { 0, "\255\254" }, assign = function(inner)
    inner.sport = 65534
  end },
  ["dport"] = { kinds = "tcp udp udplite sctp dccp", at = "l4", { 2, "\0\80" }, assign = function(inner)
    inner.dport = 80
  end },
  ["tcp.sequence"] = { kinds = "tcp", at = "l4", { 4, "\1\2\3\4" }, assign = function(inner)
    inner.tcp.sequence = 0x01020304
  end },
  ["tcp.window"] = { kinds = "tcp", at = "l4", { 14, "\3\4" }, assign = function(inner)
    inner.tcp.window = 0x0304
  end },
  ["icmp.id"] = { kinds = "icmp icmpv6", at = "l4", { 4, "\3\4" }, assign = function(inner)
    local echo = inner.icmp or inner.icmpv6
    echo.id = 0x0304
  end },
  ["sctp.vtag"] = { kinds = "sctp", at = "l4", { 4, "\3\4\5\6" }, assign = function(inner)
    inner.sctp.vtag = 0x03040506
  end },
  ["payload"] = { kinds = "tcp udp udplite icmp icmpv6 sctp dccp gre_sum", at = "body", { 1, "EL" },
    assign = function(inner)
      local header = inner.tcp or inner.udp or inner.udplite or inner.icmp or inner.icmpv6 or inner.sctp or inner.dccp
        or inner.gre
      header.payload:write(1, "EL")
    end },
}

--- The change's place in a packet, and the bytes that it stores there; nil where it is none of that kind's.
function M.place(change, name, p)
  if change.kinds and not (" " .. change.kinds .. " "):find(" " .. name .. " ", 1, true) then return nil end
  local where = change[p.version] or change[1]
  return (change.at == "ip" and 0 or p[change.at]) + where[1], where[2]
end

M.kinds = { "tcp", "udp", "udp_without", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre_sum", "unknown" }

--- Whether such a packet can be.
function M.exists(name, version)
  return not (name == "icmp" and version == 6 or name == "icmpv6" and version == 4)
    and not (name == "udp_without" and version == 6)
end

return M
