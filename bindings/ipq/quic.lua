--- What a client of QUIC says first: its ClientHello, out of the packets that nobody but the curious cannot read.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local hellos = require "ipq.packet.hello"
local live = require "ipq.engine.live"
local own = require "ipq.packet.own"
local spelling = require "ipq.spelling"
local error = error -- a script may overwrite globals

-- One for the Lua state (see engine/abi.lua): it keeps connections.
if core.quic then return core.quic end

local C = abi.C
local hello = hellos.memory
-- Made by the first packet: what a script does not use costs it nothing.
local quic

local M = {}

local reasons = hellos.reasons(C.ipq_quic_strerror)
local NO_MEMORY = ffi.C.IPQ_QUIC_NO_MEMORY

--- The hello of the connection that the packet belongs to, as tls.client_hello() gives it: from its Initial packets of
--- version 1 or 2, this one and those before it. It is given for each Initial that comes when it is whole.
---
--- nil where there is none, and why: "more" where others have to come, "not QUIC", or another reason.
---@param pkt ipq.Packet
---@return ipq.Hello? hello
---@return string? why
function M.client_hello(pkt)
  if not ffi.istype(abi.view_pointer, pkt) and not own.is(pkt) then
    error("quic.client_hello() takes a packet, not " .. spelling.value(pkt), 2)
  end
  local p = live.whole_packet_of(pkt)
  if not quic then
    local made = C.ipq_quic_new()
    if made == nil then return nil, reasons[NO_MEMORY] end
    quic = ffi.gc(made, C.ipq_quic_free)
  end
  hellos.close()
  local code = C.ipq_quic_read(quic, p, hello)
  if code == 0 then return (hellos.view()) end
  return nil, reasons[code]
end

core.quic = M
return M
