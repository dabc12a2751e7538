-- The C functions that the files of lib/netset share, and a set that is right because it is simple.
local bit = require "bit"
local core = require "ipq.core"
local ffi = require "ffi"
local lib = require "spec.support.lib"

if not core.spec_netset_declared then
  ffi.cdef [[
    struct ipq_prefix { uint8_t version, len, address[16]; };
    int ipq_prefix_parse(struct ipq_prefix *prefix, const char *text, size_t len);
    int ipq_netset_add(struct ipq_netset *set, const struct ipq_prefix *prefix);
    size_t ipq_netset_memory(const struct ipq_netset *set);
  ]]
  core.spec_netset_declared = true
end

local C = lib.C
local M = { C = C, errno = { EINVAL = 22, ERANGE = 34, EBUSY = 16 } }

--- An empty set, freed by the collector.
function M.empty()
  local out = ffi.new "struct ipq_netset *[1]"
  assert(C.ipq_netset_new(out) == 0)
  return ffi.gc(out[0], C.ipq_netset_free)
end

--- The bytes of an address in text: 4 or 16.
function M.bytes(text)
  local address = ffi.new "uint8_t[16]"
  local version = C.ipq_address_parse(address, text, #text)
  assert(version > 0, text)
  return ffi.string(address, version == 4 and 4 or 16)
end

local length = ffi.new "uint8_t[1]"

--- The length of the longest prefix around an address (bytes) in a set; nil where there is none.
function M.lookup(set, bytes)
  if C.ipq_netset_has(set, #bytes == 4 and 4 or 6, bytes, length) then return length[0] end
end

function M.add(set, bytes, len)
  local prefix = ffi.new("struct ipq_prefix", #bytes == 4 and 4 or 6, len)
  ffi.copy(prefix.address, bytes, #bytes)
  return C.ipq_netset_add(set, prefix)
end

--- The bytes with all bits behind the first len 0, or 1 where fill is 255.
function M.mask(bytes, len, fill)
  local whole = math.floor(len / 8)
  if whole == #bytes then return bytes end
  local rest = bit.rshift(0xff, len % 8)
  local b = bytes:byte(whole + 1)
  b = fill and bit.bor(b, rest) or bit.band(b, bit.bnot(rest))
  return bytes:sub(1, whole) .. string.char(b) .. string.char(fill or 0):rep(#bytes - whole - 1)
end

--- The address that is one more (step 1) or one less (-1); nil behind the last and before the first.
function M.beside(bytes, step)
  for i = #bytes, 1, -1 do
    local b = bytes:byte(i) + step
    local carried = b < 0 or b > 255
    bytes = bytes:sub(1, i - 1) .. string.char(b % 256) .. bytes:sub(i + 1)
    if not carried then return bytes end
  end
end

--- A set as a table: lengths → masked addresses.
local Simple = {}
Simple.__index = Simple

function M.simple() return setmetatable({}, Simple) end

function Simple:add(bytes, len)
  self[len] = self[len] or {}
  self[len][M.mask(bytes, len)] = true
end

function Simple:lookup(bytes)
  for len = #bytes * 8, 0, -1 do
    if self[len] and self[len][M.mask(bytes, len)] then return len end
  end
end

return M
