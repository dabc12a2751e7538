-- Random fields for the kit's builders, such as a packet with them can have; and what is right for such a packet, by
-- craft.lua, which has nothing of lib in it.
local craft = require "spec.support.craft"

local M = {}

M.builders = { "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp" }

local function bits(n) return function(r) return r.number(0, 2 ^ n - 1) end end
local function bool(r) return r.number(0, 1) == 1 end
local function text(r) return r.bytes(r.pick { 0, 1, 2, 3, r.number(4, 100), r.number(101, 1400) }) end

local function address4(r)
  return ("%d.%d.%d.%d"):format(r.number(0, 255), r.number(0, 255), r.number(0, 255), r.number(0, 255))
end

-- No group is 0, so that there is one way alone to write it.
local function address6(r)
  local groups = {}
  for i = 1, 8 do groups[i] = ("%x"):format(r.number(1, 0xffff)) end
  return table.concat(groups, ":")
end

local function ip_options(r)
  return r.pick { "", "", "\148\4\0\0", "\7\7\4" .. r.bytes(4) .. "\0", "\1\1\1\1" }
end

local function tcp_options(r)
  local list, left = {}, 40
  for _ = 1, r.number(0, 4) do
    local data = r.bytes(r.number(0, 8))
    left = left - 2 - #data
    if left < 0 then break end
    list[#list + 1] = { kind = r.number(2, 255), data = data }
  end
  return list
end

local echo = { type = bits(8), code = bits(8), id = bits(16), sequence = bits(16), payload = text }

local fields = {
  ip = { dscp = bits(6), ecn = bits(2), id = bits(16), df = bool, ttl = bits(8), saddr = address4, daddr = address4,
    options = ip_options },
  ip6 = { dscp = bits(6), ecn = bits(2), flowlabel = bits(20), hoplimit = bits(8), saddr = address6,
    daddr = address6 },
  tcp = { sport = bits(16), dport = bits(16), sequence = bits(32), ackseq = bits(32), flags = bits(8),
    window = bits(16), urgptr = bits(16), options = tcp_options, payload = text },
  udp = { sport = bits(16), dport = bits(16), payload = text },
  udplite = { sport = bits(16), dport = bits(16), payload = text },
  icmp = echo, icmpv6 = echo,
  sctp = { sport = bits(16), dport = bits(16), vtag = bits(32), payload = text },
  dccp = { sport = bits(16), dport = bits(16), type = bits(4), payload = text },
  gre = { protocol = bits(16), payload = text },
  esp = { spi = bits(32), sequence = bits(32), payload = text },
}

-- Metadata that is what was given.
M.meta = { packet_id = bits(32), queue_num = bits(16), mark = bits(32), priority = bits(32), indev = bits(16),
  uid = bits(31), gid = bits(31), timestamp_sec = bits(31) }

--- Some of a header's fields, each with a value.
function M.some(r, header, but)
  local names, given = {}, {}
  for name in pairs(fields[header]) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if name ~= but and r.number(1, 3) > 1 then given[name] = fields[header][name](r) end
  end
  return given
end

local function some_meta(r, given)
  local names = {}
  for name in pairs(M.meta) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if r.number(1, 4) == 1 then given[name] = M.meta[name](r) end
  end
end

local function extensions(r)
  local list = {}
  for i = 1, r.number(0, 3) do
    local size = 8 * i - 4
    list[i] = { nexthdr = r.pick { 60, 0 }, data = "\1" .. string.char(size) .. ("\0"):rep(size) }
  end
  return list
end

--- What a builder is given: its name, and its table.
function M.given(r)
  local name = r.pick(M.builders)
  local ip = (name == "icmpv6" or r.number(0, 1) == 1) and "ip6" or "ip"
  if name == "icmp" then ip = "ip" end
  local given = { [ip] = M.some(r, ip), [name] = M.some(r, name) }
  if ip == "ip6" then given.exthdrs = extensions(r) end
  some_meta(r, given)
  return name, given, ip
end

--- Where the transport begins.
local function transport_at(bytes)
  if bytes:byte(1) < 0x60 then return bytes:byte(1) % 16 * 4 end
  local kind, at = bytes:byte(7), 40
  while kind == 0 or kind == 60 do
    kind, at = bytes:byte(at + 1), at + (bytes:byte(at + 2) + 1) * 8
  end
  return at
end

--- A packet of that builder, with lengths and checksums as they are right.
---@return string bytes
function M.right(name, bytes)
  local version = bytes:byte(1) < 0x60 and 4 or 6
  return craft.complete({ version = version, kind = craft.kinds[name], l4 = transport_at(bytes),
    destination = version == 4 and 16 or 24 }, bytes)
end

return M
