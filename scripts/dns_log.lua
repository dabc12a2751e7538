-- Prints who asks for which name: DNS questions over UDP.
--
--   iptables -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-num 0
--   ipq-lua dns_log.lua
io.stdout:setvbuf "line"

-- RFC 1035, RFC 3596, RFC 9460
local types = {
  [1] = "A", [2] = "NS", [5] = "CNAME", [6] = "SOA", [12] = "PTR", [15] = "MX", [16] = "TXT", [28] = "AAAA",
  [33] = "SRV", [65] = "HTTPS", [255] = "ANY",
}
local HEADER, MAX_NAME = 12, 255

--- The name at offset o of the message, and the offset behind it; nil where it is no plain name (RFC 1035
--- section 3.1). Names in questions are not compressed.
local function read_name(message, o)
  local labels, length = {}, 0
  while o < #message do
    local size = message:u8(o)
    if size == 0 then return #labels > 0 and table.concat(labels, ".") or ".", o + 1 end
    length = length + size + 1
    if size > 63 or length > MAX_NAME or o + 1 + size > #message then return nil end
    -- Whatever is in a label, it goes to a terminal.
    labels[#labels + 1] = message:string(o + 1, size):gsub("[^%w_-]", function(c)
      return ("\\%03d"):format(c:byte())
    end)
    o = o + 1 + size
  end
end

return function(pkt)
  local udp = pkt.udp
  if not udp or udp.dport ~= 53 then return end
  local message = udp.payload
  -- A question: QR is 0, QDCOUNT at least 1.
  if #message < HEADER or message:u8(2) >= 128 or message:u16(4) == 0 then return end
  local name, o = read_name(message, HEADER)
  if not name or o + 4 > #message then return end
  local kind = message:u16(o)
  print(("%s asks %s for %s %s"):format(pkt.saddr, pkt.daddr, types[kind] or "type " .. kind, name))
end
