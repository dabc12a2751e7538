-- What each address becomes, by a key.
--
-- IP addresses keep their prefixes: two that share their first n bits, and no more, do so afterwards (Xu, Fan, Ammar
-- and Moon, "Prefix-preserving IP address anonymization", ICNP 2002, which is Crypto-PAn). Whether a bit is turned
-- over is told by the key and the bits before it. Four of them are told by one hash of SipHash-2-4: the first by its
-- lowest bit, the second by one of the next two, and so on, which are as many bits as there are beginnings.
-- So the mapping is one to one, and has no table that another run would lack.
--
-- A block of addresses that stays what it is (FIXED4, FIXED6) is a path of bits that are never turned over.
local bit = require "bit"
local ffi = require "ffi"
local siphash = require "anonymise.siphash"

local band, bor, bxor, bnot = bit.band, bit.bor, bit.bxor, bit.bnot
local lshift, rshift = bit.lshift, bit.rshift

-- A hash is some hundred operations, and an address of IPv6 has 32: more than LuaJIT compiles at once, by itself.
jit.opt.start "maxrecord=20000"

local M = {}

local IP, IP6, ETHER = 4, 6, 48 -- so that they are different functions of one key
local LENGTH = lshift(18ULL, 56) -- of what is hashed: the bits before, what they are of, and how many there are
local ALL = 0x7fff -- the 15 bits of a hash that tell of a digit

-- Blocks are hexadecimal digits, how many bits of them count, and what is in the block: KEPT where that stays as well,
-- EMBEDDED where an IPv4 address follows, nil where the rest is told by the key.
local KEPT = { clear = ALL }
KEPT.other = KEPT
local EMBEDDED = { clear = 0, is_embedded = true }

local FIXED4 = {
  { "00", 8, KEPT }, -- no host, and 0.0.0.0
  { "7f", 8, KEPT }, -- loopback
  { "a9fe", 16 }, -- link-local
  { "e00000", 24, KEPT }, -- groups of routing protocols, mDNS, ...; and other groups stay groups
  { "e00001", 24, KEPT }, -- NTP, ...
  { "effffffa", 32, KEPT }, -- SSDP
  { "ffffffff", 32, KEPT }, -- broadcast
}

local FIXED6 = {
  { ("0"):rep(24), 96, EMBEDDED }, -- IPv4-compatible: of 0.0.0.0/8, which stays, are :: and ::1
  { ("0"):rep(20) .. "ffff", 96, EMBEDDED }, -- IPv4-mapped
  { "0064ff9b" .. ("0"):rep(16), 96, EMBEDDED }, -- RFC 6052
  { "2002", 16, EMBEDDED }, -- 6to4
  { "fe80", 10 }, -- link-local
  { "ff", 8 }, -- multicast: see add_groups()
}

--- Which of a hash's bits tell of the first bits of a digit.
local function path_of(digit, bits)
  local path = 0
  for i = 0, bits - 1 do path = bor(path, lshift(1, 2 ^ i - 1 + rshift(digit, 4 - i))) end
  return path
end

--- A tree of the blocks: digit → what follows it; and clear, the bits of the hash that do not count.
local function tree_of(blocks)
  local root = { clear = 0 }
  for _, block in ipairs(blocks) do
    local digits, bits, inside = block[1], block[2], block[3]
    local node = root
    for i = 1, math.ceil(bits / 4) do
      local digit = tonumber(digits:sub(i, i), 16)
      local left = math.min(4, bits - 4 * (i - 1))
      node.clear = bor(node.clear, path_of(digit, left))
      if left == 4 and (inside or i * 4 < bits) then
        node[digit] = node[digit] or (i * 4 == bits and inside) or { clear = 0 }
        node = node[digit]
      end
    end
  end
  return root
end

--- IPv6 groups (RFC 4291 section 2.7): flags and scope stay, and so does all of a group that is a well-known one. The
--- last 24 bits of a solicited-node address are those of a host's.
local function add_groups(root)
  local node = { clear = 0 }
  local solicited = ("0"):rep(16) .. "0001ff"
  for i = #solicited, 1, -1 do
    node = { clear = ALL, other = KEPT, [tonumber(solicited:sub(i, i), 16)] = node }
  end
  local well_known, others = { clear = ALL, other = node }, { clear = ALL }
  root[15][15] = { clear = ALL, other = others, [0] = well_known }
end

local tree4, tree6 = tree_of(FIXED4), tree_of(FIXED6)
add_groups(tree6)

--- The digit, with the bits turned over that flips says.
local function turn(digit, flips)
  return bxor(digit, bor(lshift(band(flips, 1), 3), lshift(band(rshift(flips, 1 + rshift(digit, 3)), 1), 2),
    lshift(band(rshift(flips, 3 + rshift(digit, 2)), 1), 1), band(rshift(flips, 7 + rshift(digit, 1)), 1)))
end

-- An address of IPv4 is looked for in one place of the cache; the many of IPv6 are kept until there are too many.
local SLOTS, MOST = 65536, 65536

---@class anonymise.Addresses
local Addresses = {}
Addresses.__index = Addresses

--- The functions of a key, which is any text.
function M.new(key)
  -- Two hashes by numbers that anybody may know make 128 bits of it.
  return setmetatable({
    k0 = siphash.text(0ULL, 0ULL, key), k1 = siphash.text(0ULL, 1ULL, key),
    -- All slots say that 0.0.0.0 becomes 0.0.0.0.
    keys = ffi.new("uint32_t[?]", SLOTS), values = ffi.new("uint32_t[?]", SLOTS),
    texts = {}, text_count = 0, ethers = {}, ether_count = 0,
  }, Addresses)
end

--- The digit at place i (0 to 15) from the left of a number, and the number with a digit put there.
local function digit_at(word, i) return tonumber(band(rshift(word, 60 - 4 * i), 15ULL)) end
local function put_digit(word, i, digit) return bor(word, lshift(0ULL + digit, 60 - 4 * i)) end

--- The bits that tell of the digit with that number, before which these are.
local function flips_of(self, family, before0, before1, number)
  local hash = siphash.words(self.k0, self.k1, before0, before1, LENGTH + (family + 256 * number))
  return tonumber(band(hash, 0x7fffULL))
end

--- The digits of high from place i on, up to count: before has those in front, and after what these became.
local function walk_high(self, family, high, i, count, before, after)
  while i < count do
    local digit = digit_at(high, i)
    after = put_digit(after, i, turn(digit, flips_of(self, family, before, 0ULL, i)))
    before = put_digit(before, i, digit)
    i = i + 1
  end
  return after
end

--- The same of low, whose digits come behind those of high.
local function walk_low(self, family, high, low, i, before, after)
  while i < 16 do
    local digit = digit_at(low, i)
    after = put_digit(after, i, turn(digit, flips_of(self, family, high, before, 16 + i)))
    before = put_digit(before, i, digit)
    i = i + 1
  end
  return after
end

--- The count digits that high and low begin with, turned over: as the tree says, and where that ends by the key alone.
local function walk(self, family, tree, high, low, count)
  local node, i = tree, 0
  local before0, before1, after0, after1 = 0ULL, 0ULL, 0ULL, 0ULL
  while node and i < count do
    local place = i % 16
    local digit = digit_at(i < 16 and high or low, place)
    local turned = digit
    if node.clear ~= ALL then
      turned = turn(digit, band(flips_of(self, family, before0, before1, i), bnot(node.clear)))
    end
    if i < 16 then
      before0, after0 = put_digit(before0, place, digit), put_digit(after0, place, turned)
    else
      before1, after1 = put_digit(before1, place, digit), put_digit(after1, place, turned)
    end
    node = node[digit] or node.other
    i = i + 1
    if node and node.is_embedded then
      local at = 32 - 4 * (i % 16)
      local address = tonumber(band(rshift(i < 16 and high or low, at), 0xffffffffULL))
      local before, after = lshift(0ULL + address, at), lshift(0ULL + self:ip(address), at)
      if i < 16 then
        before0, after0 = bor(before0, before), bor(after0, after)
      else
        before1, after1 = bor(before1, before), bor(after1, after)
      end
      node, i = nil, i + 8
    end
  end
  if i < 16 then after0 = walk_high(self, family, high, i, math.min(count, 16), before0, after0) end
  if count > 16 then after1 = walk_low(self, family, high, low, math.max(0, i - 16), before1, after1) end
  return after0, after1
end

--- What an IPv4 address becomes; both are numbers.
function Addresses:ip(address)
  local slot = band(bxor(address, rshift(address, 16)), SLOTS - 1)
  if self.keys[slot] == address then return self.values[slot] end
  local mapped = tonumber(rshift((walk(self, IP, tree4, lshift(0ULL + address, 32), 0ULL, 8)), 32))
  self.keys[slot], self.values[slot] = address, mapped
  return mapped
end

--- Puts in the place of the IPv4 address at offset at of a Buffer what it becomes.
function Addresses:put_ip(b, at) b:set_u32(at, self:ip(b:u32(at))) end

--- The same of an IPv6 address.
function Addresses:put_ip6(b, at)
  local bytes = b:string(at, 16)
  local known = self.texts[bytes]
  if known then
    b:write(at, known)
    return
  end
  local high, low = walk(self, IP6, tree6, b:u64(at), b:u64(at + 8), 32)
  b:set_u64(at, high)
  b:set_u64(at + 8, low)
  if self.text_count == MOST then self.texts, self.text_count = {}, 0 end
  self.texts[bytes], self.text_count = b:string(at, 16), self.text_count + 1
end

--- The same of a prefix of that many bits, behind which zeros are.
function Addresses:put_prefix(b, at, bits)
  self:put_ip6(b, at)
  for i = 0, 15 do
    local left = math.max(0, math.min(8, bits - 8 * i))
    b:set_u8(at + i, band(b:u8(at + i), rshift(0xff00, left)))
  end
end

local NOBODY, EVERYBODY = ("\0"):rep(6), ("\255"):rep(6)

--- What an Ethernet address becomes, both as 6 bytes: one that says that nobody has assigned it, and that is a group's
--- where it was. Nobody's, and everybody's, stay.
function Addresses:ether(bytes)
  if bytes == NOBODY or bytes == EVERYBODY then return bytes end
  local known = self.ethers[bytes]
  if known then return known end
  local hash = siphash.words(self.k0, self.k1, siphash.word(bytes, 1), 0ULL, LENGTH + ETHER)
  local first = bor(band(tonumber(band(hash, 0xffULL)), 0xfc), 2, band(bytes:byte(1), 1))
  known = string.char(first)
  for i = 1, 5 do known = known .. string.char(tonumber(band(rshift(hash, 8 * i), 0xffULL))) end
  if self.ether_count == MOST then self.ethers, self.ether_count = {}, 0 end
  self.ethers[bytes], self.ether_count = known, self.ether_count + 1
  return known
end

function Addresses:put_ether(b, at) b:write(at, self:ether(b:string(at, 6))) end

return M
