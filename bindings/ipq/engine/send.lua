--- What filters send: into the outbox (lib/send/send.h), from where it goes out behind the verdicts of their batch.
local abi = require "ipq.engine.abi"
local buffer = require "ipq.packet.buffer"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local own = require "ipq.packet.own"
local error, type = error, type -- a script may overwrite globals

-- One for the Lua state: the packets' metatype, which refers to it, lasts as long (see engine/abi.lua).
if core.send then return core.send end

local C, istype, packet_of = abi.C, ffi.istype, live.packet_of
local is_buffer, open_buffer = buffer.is_buffer, buffer.open
local view_type = ffi.typeof "struct ipq_view *"

local M = {}

-- Who sends to whom as one of the two knows it.
local sender, receiver = ffi.new "struct ipq_tuple", ffi.new "struct ipq_tuple"

--- What a script has to say that sends.
M.HOW = "send = true in the script's table, or among ipq.open()'s options"
local HOW = M.HOW

--- From here on filters send by what the driver (its address, or a pointer) has for that.
function M.use(driver_address)
  local driver = ffi.cast(abi.driver_pointer, driver_address)
  if driver.outbox ~= nil then live.outbox = driver.outbox else live.outbox = nil end
end

--- What filters send by. Raises at that level of the caller's where they may not.
local function outbox_of(who, level)
  local outbox = live.outbox
  if outbox == nil then error(who .. " needs " .. HOW, level + 1) end
  return outbox
end

--- What C gave, as Lua says it.
local function result_of(result)
  if result == 0 then return true end
  return nil, (ffi.string(C.ipq_unsent_text(result)))
end

--- The packet whose filter runs, from which what is sent has what it lacks.
local function cause()
  if live.is_open() then return (live.packet()) end
  return nil -- and not nothing, which C would not take
end

--- Sends a packet behind the verdicts of the batch: one that is a copy (pkt:clone(), pkt:answer()), one that was built
--- (ipq.build), the packet whose filter runs, or a whole IP packet as a string or a Buffer.
---@param packet ipq.OwnPacket|ipq.Packet|string|ipq.Buffer
---@return boolean? sent nil where it is known at once that it cannot be
---@return string? why
function M.send(packet)
  local outbox = outbox_of("ipq.send()", 2)
  local result
  if istype(view_type, packet) then
    local p = packet_of(packet)
    result = C.ipq_outbox_packet(outbox, p, p)
  elseif type(packet) == "string" then
    result = C.ipq_outbox_bytes(outbox, packet, #packet, cause())
  elseif is_buffer(packet) then
    local start, len = open_buffer(packet)
    result = C.ipq_outbox_bytes(outbox, start, len, cause())
  elseif own.is(packet) then
    local p, why = own.packet(packet)
    if not p then return nil, why end
    result = C.ipq_outbox_packet(outbox, p, cause())
  else
    error("ipq.send() takes a packet, as pkt:clone() and ipq.build give it, or a whole IP packet's bytes", 2)
  end
  if result == 0 then return true end
  return nil, (ffi.string(C.ipq_unsent_text(result)))
end

--- Tells the sender of a packet (struct ipq_packet *) what its field reject says. Gives why it cannot be, where the
--- script has not said that it sends.
function M.reject(p)
  local outbox = live.outbox
  if outbox == nil then return "ipq.REJECT needs " .. HOW end
  if p.parsed == 0 then C.ipq_header_parse(p) end
  local known = C.ipq_conntrack_sender(p, sender)
  C.ipq_outbox_reject(outbox, p, p.reject, known ~= 0 and sender or nil)
end

--- Resets both ends of a packet's connection.
function M.reset(p)
  local outbox = outbox_of("pkt:reset()", 3)
  if p.parsed == 0 then C.ipq_header_parse(p) end
  local sender_knows, receiver_knows = C.ipq_conntrack_sender(p, sender), C.ipq_conntrack_receiver(p, receiver)
  local sent, why = result_of(C.ipq_outbox_reset(outbox, p, sender_knows ~= 0 and sender or nil,
    receiver_knows ~= 0 and receiver or nil))
  return sent, why
end

core.send = M
return M
