--- pkt.arp: RFC 826. Fields have nftables' names; ARP has no checksum, and what is assigned is all that changes.
local address = require "ipq.packet.address"
local core = require "ipq.core"
local ffi = require "ffi"
local header = require "ipq.packet.header"
local error = error -- a script may overwrite globals

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.arp then return core.arp end

local number, computed = header.number, header.computed
local HEADER, ETHER, IP = 8, 6, 4 -- bytes; the header tells how long the addresses are
local scratch = ffi.new "uint8_t[16]"

--- Where the addresses of one end begin: the sender's, or the target's, which follow.
local function sender_at() return HEADER end
local function target_at(h) return HEADER + h[4] + h[5] end

local function refuse(name, what, bytes)
  error(("arp.%s cannot be assigned: the packet's %s addresses have %d bytes"):format(name, what, bytes), 4)
end

--- An Ethernet address; nil where hardware addresses have another length.
local function ether(name, start_of)
  local function read(_, h)
    if h[4] == ETHER then return (address.ether(h + start_of(h))) end
  end
  local function write(p, h, value)
    if h[4] ~= ETHER then refuse(name, "hardware", h[4]) end
    if not address.parse_ether(value, scratch) then
      error(("arp.%s must be the text of an Ethernet address"):format(name), 3)
    end
    header.store(p, "arp." .. name, p.l3 + start_of(h), scratch, ETHER, 3)
  end
  return (computed(read, write))
end

--- An IPv4 address; nil where protocol addresses have another length.
local function ip(name, start_of)
  local function read(_, h)
    if h[5] == IP then return (address.ip(h + start_of(h) + h[4])) end
  end
  local function write(p, h, value)
    if h[5] ~= IP then refuse(name, "protocol", h[5]) end
    if not address.parse(IP, value, scratch) then
      error(("arp.%s must be the text of an IPv4 address"):format(name), 3)
    end
    header.store(p, "arp." .. name, p.l3 + start_of(h) + h[4], scratch, IP, 3)
  end
  return (computed(read, write))
end

local M = {}

-- Until all of it is there, nobody knows whose an address is.
M.arp = header.define("arp", "l3", "C.ipq_header_is_arp(p) and p.upper > p.l3", {
  htype = number(0, 2),
  ptype = number(2, 2),
  hlen = number(4, 1),
  plen = number(5, 1),
  operation = number(6, 2),
  saddr_ether = ether("saddr_ether", sender_at),
  saddr_ip = ip("saddr_ip", sender_at),
  daddr_ether = ether("daddr_ether", target_at),
  daddr_ip = ip("daddr_ip", target_at),
})

core.arp = M
return M
