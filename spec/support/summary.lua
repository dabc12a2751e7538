-- A packet's line once more, made by its fields: a second opinion on lib/packet/summary.c.
local bit = require "bit"
local ffi = require "ffi"
local live = require "ipq.engine.live"

local band, concat, min, DIRTY = bit.band, table.concat, math.min, ffi.C.IPQ_DIRTY_ALL
local IPV6_HEADER, UDP_HEADER = 40, 8

local M = {}

local icmp_names = {
  icmp = { [0] = "echo reply", [3] = "unreachable", [5] = "redirect", [8] = "echo request",
    [11] = "time exceeded" },
  icmpv6 = { [1] = "unreachable", [2] = "packet too big", [3] = "time exceeded", [128] = "echo request",
    [129] = "echo reply", [133] = "router solicitation", [134] = "router advertisement",
    [135] = "neighbor solicitation", [136] = "neighbor advertisement" },
}

local flag_letters = { { "fin", "F" }, { "syn", "S" }, { "rst", "R" }, { "psh", "P" }, { "ack", "." },
  { "urg", "U" }, { "ece", "E" }, { "cwr", "W" } }

--- The length that the IP header tells; nil where that is nonsense, or too large for the field.
local function ip_length(pkt)
  if pkt.ip then
    local length = pkt.ip.length
    return length >= 20 + #pkt.ip.options and length or nil
  end
  local length = pkt.ip6.length
  return length > 0 and length + IPV6_HEADER or nil
end

--- Where the IP packet ends on the wire, as an offset in the copy, which may end before that.
local function wire_end(pkt, p)
  if p.data_len >= p.len then return p["end"] end
  local length = band(p.dirty, DIRTY) == 0 and ip_length(pkt)
  return length and min(p.l3 + length, p.len) or p.len
end

local function tcp(pkt, p)
  local t, letters = pkt.tcp, {}
  for _, flag in ipairs(flag_letters) do
    if t[flag[1]] then letters[#letters + 1] = flag[2] end
  end
  if #letters == 0 then letters[1] = "none" end
  local length = wire_end(pkt, p) - p.body
  local text = { ("Flags [%s]"):format(concat(letters)) }
  if length > 0 then
    text[#text + 1] = ("seq %.0f:%.0f"):format(t.sequence, (t.sequence + length) % 2 ^ 32)
  elseif t.syn or t.fin or t.rst then
    text[#text + 1] = ("seq %.0f"):format(t.sequence)
  end
  if t.ack then text[#text + 1] = ("ack %.0f"):format(t.ackseq) end
  text[#text + 1] = "win " .. t.window
  text[#text + 1] = "length " .. length
  return (concat(text, ", "))
end

--- By the length that its own header tells: of a first fragment that is the whole datagram's.
local function udp(pkt, p)
  local room, length = wire_end(pkt, p) - p.body, pkt.udp.length - UDP_HEADER
  if band(p.dirty, DIRTY) ~= 0 then length = room end
  if length < 0 then return "UDP, bad length " .. length + UDP_HEADER end
  if length > room and p.fragment == ffi.C.IPQ_FRAGMENT_NONE then
    return (("UDP, bad length %d > %d"):format(length, room))
  end
  return "UDP, length " .. length
end

local function icmp(pkt, p, name, label)
  local view = pkt[name]
  local kind = icmp_names[name][view.type]
  local text = label .. " " .. (kind or ("type %d code %d"):format(view.type, view.code))
  if kind and kind:match "^echo" then text = text .. (", id %d, seq %d"):format(view.id, view.sequence) end
  return text .. ", length " .. wire_end(pkt, p) - p.l4
end

local function transport(pkt)
  local p = live.packet_of(pkt)
  if pkt.tcp then return (tcp(pkt, p)) end
  if pkt.udp then return (udp(pkt, p)) end
  if pkt.icmp then return (icmp(pkt, p, "icmp", "ICMP")) end
  if pkt.icmpv6 then return (icmp(pkt, p, "icmpv6", "ICMP6,")) end
  for _, name in ipairs { "sctp", "udplite", "dccp", "gre", "esp", "ah" } do
    if pkt[name] then return (name:upper()) end
  end
  return "protocol " .. pkt.protocol
end

--- The line of the packet whose filter runs, if that is no ARP.
function M.line(pkt)
  if not pkt.saddr then
    return (("%s, ethertype 0x%04x, %s bytes"):format(pkt.family or "packet", pkt.hw_protocol, pkt.len or "?"))
  end
  local sport, dport = pkt.sport, pkt.dport
  return (("%s %s%s > %s%s: %s"):format(pkt.ip and "IP" or "IP6", pkt.saddr, sport and "." .. sport or "",
    pkt.daddr, dport and "." .. dport or "", transport(pkt)))
end

return M
