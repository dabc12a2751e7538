-- What a lookup in a set of networks costs.
--
-- Addresses come from a list of random ones that no cache holds (a hit: a random address of a random prefix;
-- a miss: one of no prefix), each is looked up in turn, and the cost of reading the list is in the figure.
-- "a packet" is has_saddr() on such packets in a filter, less what the same loop costs without it. Each figure is
-- the best of some rounds: whatever else uses the caches and the memory only adds to it.
local ffi = require "ffi"
local ipq = require "ipq"
local m = require "spec.support.message"
local netset = require "spec.support.netset"
local source = require "spec.support.source"

ffi.cdef [[
  struct spec_timespec { long sec, nsec; };
  int clock_gettime(int clock, struct spec_timespec *now);
]]

local ADDRESSES, ROUNDS, PACKETS, BATCHES = 2 ^ 18, 15, 4096, 5000
local C = netset.C
local now = ffi.new "struct spec_timespec"

local function seconds()
  ffi.C.clock_gettime(1, now) -- CLOCK_MONOTONIC
  return tonumber(now.sec) + tonumber(now.nsec) / 1e9
end

local function random_bytes(size)
  local b = {}
  for i = 1, size do b[i] = math.random(0, 255) end
  return string.char(unpack(b))
end

-- Spread over all of the address space, which is the worst for caches; lengths as in routing tables and
-- block lists.
local kinds = {
  { "IPv4, random /16 to /32", 4, function() return random_bytes(4), math.random(16, 32) end },
  { "IPv4, hosts", 4, function() return random_bytes(4), 32 end },
  { "IPv6, random /32 to /64", 16, function() return "\32" .. random_bytes(15), math.random(32, 64) end },
  { "IPv6, hosts", 16, function() return "\32" .. random_bytes(15), 128 end },
  { "IPv6, hosts within 256 /64s", 16,
    function() return "\32\1\13\184\0\0\0" .. random_bytes(9), 128 end },
}

--- The address with its bits behind the first len random.
local function within(bytes, len)
  local random, first = random_bytes(#bytes), netset.mask(bytes, len)
  local b = {}
  local whole = math.floor(len / 8)
  for i = 1, #bytes do
    local free = i <= whole and 0 or i == whole + 1 and bit.rshift(0xff, len % 8) or 0xff
    b[i] = bit.bor(first:byte(i), bit.band(random:byte(i), free))
  end
  return string.char(unpack(b))
end

--- n addresses as one block, 16 bytes each.
local function block_of(n, address)
  local block = ffi.new("uint8_t[?]", n * 16)
  for i = 0, n - 1 do
    local bytes = address()
    ffi.copy(block + i * 16, bytes, #bytes)
  end
  return block
end

local function best(list) return math.min(unpack(list)) end

local function lookups(set, version, block)
  local found = 0
  for i = 0, ADDRESSES - 1 do
    if C.ipq_netset_has(set, version, block + i * 16, nil) then found = found + 1 end
  end
  return found
end

local function ns_of(set, version, block, expected)
  local times = {}
  for _ = 1, ROUNDS do
    local start = seconds()
    local found = lookups(set, version, block)
    times[#times + 1] = (seconds() - start) / ADDRESSES * 1e9
    assert(found == expected, found)
  end
  return best(times)
end

local function packet_of(bytes)
  if #bytes == 4 then return "\69\0\0\20" .. ("\0"):rep(8) .. bytes .. ("\0"):rep(4) end
  return "\96" .. ("\0"):rep(5) .. "\59\64" .. bytes .. ("\0"):rep(16)
end

--- What has_saddr() adds to a packet, for packets from these networks and others.
local function ns_a_packet(set, hit, miss)
  local messages = {}
  for i = 1, PACKETS do messages[i] = m.simple(i, packet_of(i % 2 == 0 and hit() or miss())) end
  local src = source.new(messages)
  local function time(filter)
    local run, times = src:judge(filter), {}
    for round = 0, ROUNDS do
      src:plan({ 64 }, BATCHES)
      local start = seconds()
      run()
      if round > 0 then times[round] = (seconds() - start) / BATCHES / 64 * 1e9 end
    end
    return best(times)
  end
  local bare = time(function() return ipq.ACCEPT end)
  return time(function(pkt) return set:has_saddr(pkt) and ipq.DROP or ipq.ACCEPT end) - bare
end

local function measure(kind, count)
  local name, size, random = unpack(kind)
  local version = size == 4 and 4 or 6
  local prefixes, set, path = {}, netset.empty(), os.tmpname()
  local file = assert(io.open(path, "w"))
  for i = 1, count do
    local bytes, len = random()
    prefixes[i] = { bytes, len }
    assert(netset.add(set, bytes, len) == 0)
    local format = size == 4 and "%d.%d.%d.%d/" or ("%02x%02x:"):rep(8):sub(1, -2) .. "/"
    file:write(format:format(bytes:byte(1, -1)), len, "\n")
  end
  file:close()
  local start = seconds()
  assert(C.ipq_netset_build(set) == 0)
  local build = seconds() - start
  start = seconds()
  local loaded = ipq.netset(path)
  local load = seconds() - start
  os.remove(path)

  local function hit()
    local prefix = prefixes[math.random(count)]
    return within(prefix[1], prefix[2])
  end
  local function miss()
    while true do
      local bytes = random()
      if not netset.lookup(set, bytes) then return bytes end
    end
  end
  local hits, misses = block_of(ADDRESSES, hit), block_of(ADDRESSES, miss)
  print(("| %s | %d | %.0f | %.0f | %.0f | %.0f | %.0f | %.1f |"):format(name, count,
    ns_of(set, version, hits, ADDRESSES), ns_of(set, version, misses, 0), ns_a_packet(loaded, hit, miss),
    build * 1000, load * 1000, tonumber(C.ipq_netset_memory(set)) / 2 ^ 20))
  collectgarbage()
end

return function()
  print "## Sets of networks\n"
  print "| prefixes | number | ns a hit | ns a miss | ns a packet, has_saddr | ms to build | ms to load as file | MiB |"
  print "|---|---|---|---|---|---|---|---|"
  math.randomseed(1)
  for _, kind in ipairs(kinds) do
    for _, count in ipairs { 1000, 100000, 500000 } do measure(kind, count) end
  end
  print ""
end
