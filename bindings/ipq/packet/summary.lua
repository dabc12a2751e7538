--- A packet in one line, as tcpdump would print it.
local concat, ipairs = table.concat, ipairs -- a script may overwrite globals

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

local function tcp(pkt)
  local t, letters = pkt.tcp, {}
  for _, flag in ipairs(flag_letters) do
    if t[flag[1]] then letters[#letters + 1] = flag[2] end
  end
  if #letters == 0 then letters[1] = "none" end
  local length = #t.payload
  local text = { ("Flags [%s]"):format(concat(letters)) }
  text[#text + 1] = length > 0 and ("seq %.0f:%.0f"):format(t.sequence, t.sequence + length)
    or ("seq %.0f"):format(t.sequence)
  if t.ack then text[#text + 1] = ("ack %.0f"):format(t.ackseq) end
  text[#text + 1] = "win " .. t.window
  text[#text + 1] = "length " .. length
  return (concat(text, ", "))
end

local function icmp(pkt, name, label)
  local view = pkt[name]
  local kind = icmp_names[name][view.type]
  local text = label .. " " .. (kind or ("type %d code %d"):format(view.type, view.code))
  if kind and kind:match "^echo" then text = text .. (", id %d, seq %d"):format(view.id, view.sequence) end
  return text .. ", length " .. #view.payload + 8
end

local function transport(pkt)
  if pkt.tcp then return (tcp(pkt)) end
  if pkt.udp then return "UDP, length " .. #pkt.udp.payload end
  if pkt.icmp then return (icmp(pkt, "icmp", "ICMP")) end
  if pkt.icmpv6 then return (icmp(pkt, "icmpv6", "ICMP6")) end
  for _, name in ipairs { "sctp", "udplite", "dccp", "gre", "esp", "ah" } do
    if pkt[name] then return (name:upper()) end
  end
  return "protocol " .. pkt.protocol
end

--- "IP 10.0.0.1.1024 > 10.0.0.2.80: Flags [S], seq 1, win 64240, length 0"
function M.line(pkt)
  if not pkt.saddr then
    return (("%s, ethertype 0x%04x, %s bytes"):format(pkt.family or "packet", pkt.hw_protocol, pkt.len or "?"))
  end
  local sport, dport = pkt.sport, pkt.dport
  return (("%s %s%s > %s%s: %s"):format(pkt.ip and "IP" or "IP6", pkt.saddr, sport and "." .. sport or "",
    pkt.daddr, dport and "." .. dport or "", transport(pkt)))
end

return M
