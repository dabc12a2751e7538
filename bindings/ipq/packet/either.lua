--- What a packet and one inside of it have in common: why it is malformed, whether it is a fragment, and how addresses
--- and ports are assigned without asking which header they are in.
local abi = require "ipq.engine.abi"
local ffi = require "ffi"
local header = require "ipq.packet.header"
local transport = require "ipq.packet.transport"
require "ipq.packet.ip" -- defines the headers of addresses
local error = error -- a script may overwrite globals

local C, writer = abi.C, header.writer
local FIRST, LATER = ffi.C.IPQ_FRAGMENT_FIRST, ffi.C.IPQ_FRAGMENT_LATER

local M = {}

--- Why the headers cannot be told for sure, as text; nil where they can.
function M.malformed(p)
  if p.parsed == 0 then C.ipq_header_parse(p) end
  if p.malformed ~= 0 then return (ffi.string(C.ipq_header_strmalformed(p.malformed))) end
end

--- "first" of a packet's fragments, or a "later" one, which has no transport header; nil where it is none.
function M.fragment(p)
  if p.parsed == 0 then C.ipq_header_parse(p) end
  if p.fragment == FIRST then return "first" end
  if p.fragment == LATER then return "later" end
end

--- The level of error() at which a writer's caller's caller's caller is: the script, which assigned a packet's field.
local SCRIPT = 4

--- Assigns an address of either version.
local function address(field)
  local write4, write6 = writer("ip", field, SCRIPT), writer("ip6", field, SCRIPT)
  M["set_" .. field] = function(p, value)
    if p.parsed == 0 then C.ipq_header_parse(p) end
    if p.ip_version == 4 then
      write4(p, p.data + p.l3, value)
    elseif p.ip_version == 6 then
      write6(p, p.data + p.l3, value)
    else
      error("the packet has no " .. field, 3)
    end
  end
end

local function port(field)
  local write = {
    [6] = writer("tcp", field, SCRIPT), [17] = writer("udp", field, SCRIPT), [33] = writer("dccp", field, SCRIPT),
    [132] = writer("sctp", field, SCRIPT), [136] = writer("udplite", field, SCRIPT),
  }
  local read = transport[field]
  M["set_" .. field] = function(p, value)
    if read(p) == nil then error("the packet has no " .. field, 3) end
    write[p.protocol](p, p.data + p.l4, value)
  end
end

address "saddr"
address "daddr"
port "sport"
port "dport"

return M
