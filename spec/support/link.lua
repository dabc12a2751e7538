-- Frames of each link type: what is in front of an IP packet.
local m = require "spec.support.message"
local packets = require "spec.support.packet"

local be16, be32 = m.be16, m.be32
local IP, IP6 = 0x0800, 0x86dd

local M = {}

local packet, packet6 = packets.ip(17, packets.udp "four"), packets.ip6(6, packets.tcp "four")
local macs = "\2\0\0\0\0\1\2\0\0\0\0\2"

local function snap(kind) return "\170\170\3\0\0\0" .. be16(kind) end
local function ppp(kind) return kind == IP and "\0\33" or "\0\87" end
local function pppoe(kind, bytes) return "\17\0\0\7" .. be16(#bytes + 2) .. ppp(kind) end
local function label(number, is_bottom) return be32(number * 4096 + (is_bottom and 256 or 0) + 64) end

--- A data frame's header: subtype and flags of its frame control, and what is behind its three addresses.
local function wlan(subtype, flags, more)
  return string.char(8 + subtype * 16, flags) .. "\0\0" .. ("\2"):rep(18) .. "\16\0" .. (more or "")
end

local function radiotap(fields, bytes)
  return "\0\0" .. string.char(8 + #bytes, 0) .. string.char(fields, 0, 0, 0) .. bytes
end

local function little(n, size)
  local bytes = be32(n):reverse()
  return bytes:sub(1, size)
end

--- An attribute in one of the byte orders, padded.
local function attr(order, kind, value, length)
  local function number(n) return order == "big" and be16(n) or little(n, 2) end
  return number(length or 4 + #value) .. number(kind) .. value .. ("\0"):rep(-#value % 4)
end

local NFULA = { PACKET_HDR = 1, MARK = 2, INDEV = 4, OUTDEV = 5, PHYSINDEV = 6, PHYSOUTDEV = 7, HWADDR = 8, PAYLOAD = 9,
  PREFIX = 10, UID = 11, GID = 14, VLAN = 20, L2HDR = 21 }

--- The header of what is logged: before the payload's length are these attributes (see attr).
local function nflog(order, family, attributes, len)
  return string.char(family, 0) .. be16(5) .. attributes .. attr(order, NFULA.PAYLOAD, "", 4 + len)
end

local function logged(order)
  return function(kind, bytes)
    return nflog(order, kind == IP and 2 or 10, attr(order, NFULA.PACKET_HDR, be16(kind) .. "\3\0")
      .. attr(order, NFULA.PREFIX, "out: \0"), #bytes)
  end
end

local sll, sll2 = "\0\0\0\1\0\6" .. ("\0"):rep(8), ("\0"):rep(18)

-- What is in front of a packet: function(EtherType, the packet's bytes). has_length: a length in it says where the
-- packet ends. looks_on: the packet itself tells its version. unread: tcpdump does not read it. foreign: libpcap has
-- not that number.
local links = {
  { "Ethernet", 1, function(kind) return macs .. be16(kind) end },
  { "a VLAN tag", 1, function(kind) return macs .. "\129\0\0\5" .. be16(kind) end },
  { "802.3 and SNAP", 1, function(kind, bytes) return macs .. be16(8 + #bytes) .. snap(kind) end, has_length = true },
  { "802.3 and SNAP of 802.1H", 1, function(kind, bytes)
    return macs .. be16(8 + #bytes) .. "\170\170\3\0\0\248" .. be16(kind)
  end, has_length = true },
  { "802.3 and SNAP behind a VLAN tag", 1, function(kind, bytes)
    return macs .. "\129\0\0\5" .. be16(8 + #bytes) .. snap(kind)
  end, has_length = true },
  { "802.3 and LLC", 1, function(_, bytes) return macs .. be16(3 + #bytes) .. "\6\6\3" end, has_length = true,
    only = IP },
  { "Linux cooked, LLC and SNAP", 113, function(kind) return sll .. "\0\4" .. snap(kind) end },
  { "Linux cooked 2, LLC and SNAP", 276, function(kind) return "\0\4" .. sll2 .. snap(kind) end },
  { "PPPoE", 1, function(kind, bytes) return macs .. "\136\100" .. pppoe(kind, bytes) end, has_length = true },
  { "PPPoE behind a VLAN tag", 1, function(kind, bytes)
    return macs .. "\129\0\0\5\136\100" .. pppoe(kind, bytes)
  end, has_length = true },
  { "PPPoE with a protocol of one byte", 1, function(kind, bytes)
    return macs .. "\136\100\17\0\0\7" .. be16(#bytes + 1) .. ppp(kind):sub(2)
  end, has_length = true },
  { "PPPoE behind SNAP", 1, function(kind, bytes)
    return macs .. be16(16 + #bytes) .. snap(0x8864) .. pppoe(kind, bytes)
  end, has_length = true },
  { "MPLS", 1, function() return macs .. "\136\71" .. label(20, true) end, looks_on = true },
  { "MPLS to many", 1, function() return macs .. "\136\72" .. label(20, true) end, looks_on = true },
  { "three labels of MPLS", 1, function() return macs .. "\136\71" .. label(20) .. label(0) .. label(30, true) end,
    looks_on = true },
  { "MPLS in PPPoE", 1, function(_, bytes)
    return macs .. "\136\100\17\0\0\7" .. be16(#bytes + 6) .. "\2\129" .. label(20, true)
  end, has_length = true, looks_on = true },
  { "PPP", 9, function(kind) return ppp(kind) end, unread = true },
  { "PPP with a protocol of one byte", 9, function(kind) return ppp(kind):sub(2) end, unread = true },
  { "PPP with address and control", 9, function(kind) return "\255\3" .. ppp(kind) end },
  { "PPP with address and control, and a protocol of one byte", 9, function(kind)
    return "\255\3" .. ppp(kind):sub(2)
  end },
  { "PPP in HDLC", 50, function(kind) return "\255\3" .. ppp(kind) end },
  { "Cisco's in HDLC", 50, function(kind) return "\15\0" .. be16(kind) end },
  { "a PPPoE header first", 51, pppoe, has_length = true },
  { "Cisco HDLC", 104, function(kind) return "\15\0" .. be16(kind) end },
  { "raw IP by its old number", 12, function() return "" end, looks_on = true },
  { "raw IP by OpenBSD's number", 14, function() return "" end, looks_on = true, foreign = true },
  { "raw IP", 101, function() return "" end, looks_on = true },
  { "raw IPv4", 228, function() return "" end, only = IP, looks_on = true },
  { "raw IPv6", 229, function() return "" end, only = IP6, looks_on = true },
  { "BSD loopback", 0, function(kind) return m.host32(kind == IP and 2 or 30) end },
  { "OpenBSD loopback by its number there", 12, function(kind) return be32(kind == IP and 2 or 24) end,
    foreign = true },
  { "OpenBSD loopback", 108, function(kind) return be32(kind == IP and 2 or 24) end },
  { "802.11", 105, function(kind) return wlan(0, 1) .. snap(kind) end },
  { "802.11 with QoS", 105, function(kind) return wlan(8, 2, "\0\0") .. snap(kind) end },
  { "802.11 with QoS and HT control", 105, function(kind) return wlan(8, 130, "\0\0\0\0\0\0") .. snap(kind) end,
    unread = true },
  { "802.11 with four addresses", 105, function(kind) return wlan(0, 3, ("\2"):rep(6)) .. snap(kind) end },
  { "802.11 with four addresses and QoS", 105, function(kind)
    return wlan(8, 3, ("\2"):rep(6) .. "\0\0") .. snap(kind)
  end },
  { "radiotap without fields", 127, function(kind) return radiotap(0, "") .. wlan(0, 1) .. snap(kind) end },
  { "radiotap with time and flags, and a padded header", 127, function(kind)
    return radiotap(3, ("\1"):rep(8) .. "\32") .. wlan(8, 1, "\0\0") .. "\0\0" .. snap(kind)
  end },
  { "radiotap with more words of fields", 127, function(kind)
    local words = "\2\0\0\128\0\0\0\128\0\0\0\0"
    return "\0\0\17\0" .. words .. "\32" .. wlan(8, 1, "\0\0") .. "\0\0" .. snap(kind)
  end },
  { "radiotap with time, which is aligned, behind two words of fields", 127, function(kind)
    local fields = "\3\0\0\128\0\0\0\0" .. ("\0"):rep(4) .. ("\1"):rep(8) .. "\32"
    return "\0\0\25\0" .. fields .. wlan(8, 1, "\0\0") .. "\0\0" .. snap(kind)
  end },
  { "a log, little-endian", 239, logged "little", has_length = true },
  { "a log, big-endian", 239, logged "big", has_length = true, is_swapped = true },
}

M.packet, M.packet6, M.macs, M.sll, M.NFULA, M.list = packet, packet6, macs, sll, NFULA, links
M.snap, M.label, M.wlan, M.radiotap, M.attr, M.nflog = snap, label, wlan, radiotap, attr, nflog

return M
