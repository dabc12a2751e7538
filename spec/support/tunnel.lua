-- Packets inside of tunnels, as they come while the inner one's checksum is left to a network card.
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"

local M = {}

local MAC = ("\2"):rep(12)
local TYPE = { [4] = "\8\0", [6] = "\x86\xdd" }

-- What stands between the outer packet and the inner one of that version; name → outer kind, function(version)
local function ethernet(version) return MAC .. TYPE[version] end
local tunnels = {
  VXLAN = { "udp", function(version) return "\8\0\0\0\0\0\7\0" .. ethernet(version) end },
  ["VXLAN without a checksum"] = { "udp_without", function(version)
    return "\8\0\0\0\0\0\7\0" .. ethernet(version)
  end },
  ["VXLAN with VLAN tags"] = { "udp", function(version)
    return "\8\0\0\0\0\0\7\0" .. MAC .. "\x88\xa8\0\5\x81\0\0\6" .. TYPE[version]
  end },
  ["VXLAN-GPE"] = { "udp", function(version) return "\x0c\0\0" .. (version == 4 and "\1" or "\2") .. "\0\0\7\0" end },
  GENEVE = { "udp", function(version) return "\0\0\x65\x58\0\0\7\0" .. ethernet(version) end },
  ["GENEVE with options"] = { "udp", function(version) return "\2\0" .. TYPE[version] .. "\0\0\7\0\1\2\3\1oooo" end },
  ["GTP-U"] = { "udp", function() return "\x30\xff\0\9\0\0\0\7" end },
  ["GTP-U with an extension"] = { "udp", function() return "\x34\xff\0\9\0\0\0\7\0\0\0\x85\1\0\0\0" end },
  FOU = { "udp", function() return "" end },
  GUE = { "udp", function(version) return "\0" .. (version == 4 and "\4" or "\41") .. "\0\0" end },
  GRE = { 47, function(version) return "\0\0" .. TYPE[version] end },
  ["GRE with a key"] = { 47, function(version) return "\x20\0" .. TYPE[version] .. "\0\0\0\9" end },
  ["Ethernet over GRE"] = { 47, function(version) return "\0\0\x65\x58" .. ethernet(version) end },
  ["IP in IP"] = { "ip", function() return "" end },
}


M.names = {}
for name in pairs(tunnels) do M.names[#M.names + 1] = name end
table.sort(M.names)

--- A complete packet of that kind of craft's; more: options of craft.packet().
function M.packet(name, version, body, more)
  local o = { random = rewrite.random(31), name = name, version = version or 4, body = body or "hello, world" }
  for key, value in pairs(more or {}) do o[key] = value end
  return craft.packet(o)
end

-- What has no transport that craft knows.
local function bare(version, protocol, body)
  local outer = { version = version, kind = { protocol = protocol, keys = {} }, destination = 16, l4 = 20 }
  outer.bytes = version == 4 and craft.complete(outer, packets.ip(protocol, body)) or packets.ip6(protocol, body)
  return outer
end

--- The packet of that tunnel's around inner, complete; where inner begins in it; and its bytes as they come, with the
--- inner checksum unfinished.
function M.around(name, version, inner)
  local kind, between = tunnels[name][1], tunnels[name][2](inner.version)
  local outer
  if kind == "ip" then
    outer = bare(version, inner.version == 4 and 4 or 41, between .. inner.bytes)
  elseif kind == 47 then
    outer = bare(version, kind, between .. inner.bytes)
  else
    outer = M.packet(kind, version, between .. inner.bytes)
  end
  local at = #outer.bytes - #inner.bytes
  local field = inner.kind.protocol == 132 and "\0\0\0\0" or m.be16(craft.pseudo(inner, inner.bytes))
  return outer, at, craft.put(outer.bytes, at + inner.l4 + inner.kind.field, field)
end

return M
