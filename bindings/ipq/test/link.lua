--- The link header of the kit's packets: Ethernet, as a capture has it, made from fields of pkt.ether and tags.
local memory = require "ipq.test.memory"
local misuse = require "ipq.build.misuse"

local M = {}

local bad = misuse.bad

-- Addresses that nobody has been given: they are administered locally.
local ADDRESSES = "\2\0\0\0\0\2\2\0\0\0\0\1"
local IP, ARP, IP6 = "\8\0", "\8\6", "\134\221"

local function type_of(bytes, family)
  if family == "arp" then return ARP end
  return (bytes:byte(1) or 0) >= 0x60 and IP6 or IP
end

--- The metadata with a link header in the place of ether, a table of fields, and vlan, a list of tags: what a filter
--- that assigned them would leave of the one that is there, or of one with addresses of its own.
---@param bytes string the packet's
---@param meta table<string, any>
---@return table<string, any>
function M.made(bytes, meta)
  local ether, vlan, copy = meta.ether or {}, meta.vlan, {}
  if not (meta.ether or vlan) then return meta end
  if type(ether) ~= "table" then bad("ether must be a table of the fields of pkt.ether, not a %s", type(ether)) end
  if vlan and meta.family == "bridge" then
    bad "vlan: a bridge has taken the tag off, and tells it by vlan_proto and vlan_tci"
  end
  for key, value in pairs(meta) do copy[key] = value end
  copy.ether, copy.vlan = nil, nil
  local before = { family = meta.family == "arp" and "arp" or nil,
    l2hdr = meta.l2hdr or ADDRESSES .. type_of(bytes, meta.family) }
  copy.l2hdr = memory.with(bytes, before, function(pkt)
    if not pkt.ether then bad "l2hdr is no Ethernet header" end
    for field, value in pairs(ether) do pkt.ether[field] = value end
    if vlan then pkt.vlan = vlan end
    return pkt.l2hdr
  end)
  return copy
end

return M
