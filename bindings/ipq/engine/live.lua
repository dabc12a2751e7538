--- The packet whose filter runs: live views are good for it alone, and end when its filter returns. Views of a script's
--- own packets (own.lua) are opened here, too.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local core = require "ipq.core"
local ffi = require "ffi"
local own = require "ipq.engine.own"
local error, tonumber, type = error, tonumber, type -- a script may overwrite globals

local C, band, bor, cast = abi.C, bit.band, bit.bor, ffi.cast
local u64 = ffi.typeof "uint64_t"
local OFFSET, BODY, INSIDE = u64(ffi.C.IPQ_OFFSET_MASK), u64(ffi.C.IPQ_BODY), u64(ffi.C.IPQ_INSIDE)
local SERIAL = bit.bnot(bor(OFFSET, BODY, INSIDE))
local STEP = u64(ffi.C.IPQ_SERIAL_STEP)

-- One for the Lua state, however often this module is loaded (see engine/abi.lua).
if core.live then return core.live end

local live = ffi.new(abi.live)
-- The packets inside of it, as they were looked for last.
local inside = ffi.new(abi.inside)

local M = {}

local getinfo = debug.getinfo
local OWN = getinfo(1, "S").source:gsub("engine/live%.lua$", "")

--- The level, for the caller's error(), of the script's line that called into the module; of the loop's (dispatch.lua)
--- where the filter ended with that call, and is gone.
local function script_level()
  local level = 2
  while true do
    local info = getinfo(level + 1, "S")
    if not info then return level end
    local is_own = info.source:sub(1, #OWN) == OWN
    if not is_own and info.what ~= "C" or info.source == OWN .. "engine/dispatch.lua" then return level end
    level = level + 1
  end
end

local function ended() error("packet used after its filter returned", script_level()) end

--- What a method was called with is nothing that has methods.
local function misused(value)
  error(("a method was called on %s: write a colon before its name, pkt:copy(), and not a dot")
    :format(value == nil and "nothing" or "a " .. type(value)), script_level())
end

--- The struct ipq_packet behind a view, or an error at the line of who called the caller. A script can call
--- a method with any cdata for a view: 0, which no filter's packet has, must not pass either.
function M.packet_of(view)
  if type(view) ~= "cdata" then misused(view) end
  local handle = cast(u64, view)
  if handle ~= live.handle or handle == 0 then ended() end
  return live.packet
end

local function gone() error("there is no packet any more where this one was inside of the packet", script_level()) end

--- The packet inside of another one that begins there: parsed, and good until another one is asked for.
local function open_inside(packet, at)
  local p = C.ipq_inside_open(inside, packet, at)
  if p == nil then gone() end
  return p
end

--- The packet inside of the packet whose filter runs that this view is of.
local function inside_of(handle)
  local first = live.handle
  local at = handle - first
  if at > OFFSET or first == 0 then ended() end
  return (open_inside(live.packet, at))
end

--- The packet behind a view of an own packet's.
local function own_packet_of(view)
  local p, at = own.open_view(view)
  if not p then misused(view) end
  if at ~= 0 then return (open_inside(p, at)) end
  return p
end

--- The struct ipq_packet behind the view of a live packet, or behind an own packet.
function M.whole_packet_of(packet)
  if type(packet) == "cdata" then return (M.packet_of(packet)) end
  local p = own.open(packet)
  if not p then misused(packet) end
  return p
end

--- The struct ipq_packet behind a view of a packet inside of another one, or of a header of either.
function M.any_packet_of(view)
  if type(view) ~= "cdata" then return (own_packet_of(view)) end
  local handle = cast(u64, view)
  if handle ~= live.handle or handle == 0 then return (inside_of(handle)) end
  return live.packet
end

--- What bounds_of() gives of a buffer of a packet inside of that one, from start on in that one.
local function inside_bounds(packet, start, is_body)
  local p
  if is_body then p = C.ipq_inside_around(inside, packet, start) else p = C.ipq_inside_open(inside, packet, start) end
  if p == nil then gone() end
  local first, stop = start - p.at, p["end"]
  return p, first, stop < first and first or stop
end

--- The same of a buffer of the packet itself.
local function whole_bounds(p, start, is_body)
  local stop = p.data_len
  if is_body then
    if p.parsed == 0 then C.ipq_header_parse(p) end
    stop = p["end"]
  end
  -- The packet may have been cut off before it.
  return p, start, stop < start and start or stop
end

local function own_bounds(buffer)
  local packet, bits = own.open_buffer(buffer)
  if not packet then misused(buffer) end
  local bounds = band(bits, tonumber(INSIDE)) ~= 0 and inside_bounds or whole_bounds
  local p, first, last = bounds(packet, band(bits, tonumber(OFFSET)), band(bits, tonumber(BODY)) ~= 0)
  return p, first, last
end

--- The packet behind a buffer, where the buffer begins in it, and where it ends.
function M.bounds_of(buffer)
  local p, first, last
  if type(buffer) ~= "cdata" then
    p, first, last = own_bounds(buffer)
    return p, first, last
  end
  local handle = cast(u64, buffer)
  if band(handle, SERIAL) ~= live.handle or live.handle == 0 then ended() end
  local start = tonumber(band(handle, OFFSET))
  if band(handle, INSIDE) ~= 0 then
    p, first, last = inside_bounds(live.packet, start, band(handle, BODY) ~= 0)
  else
    p, first, last = whole_bounds(live.packet, start, band(handle, BODY) ~= 0)
  end
  return p, first, last
end

--- The view of the packet whose filter runs, of that ctype.
function M.live_view(ctype) return (cast(ctype, live.handle)) end

--- A view of that packet, or of an own one; or of the one inside of it that begins at that offset, if it is not 0.
--- ctype and name say what is viewed (own.lua has the names).
function M.view(p, ctype, name, at)
  if p.own ~= 0 then return (own.view(name, at)) end
  return (cast(ctype, live.handle + at))
end

-- What a buffer's bits are beside the offset where it begins, in the outermost packet.
M.BODY, M.INSIDE = tonumber(BODY), tonumber(INSIDE)

--- A buffer of p, or of the packet that p is inside of: bits say from where. With BODY it ends with the IP packet, and
--- with INSIDE as well that is the last one that begins before it; with INSIDE alone it is the one that begins there.
function M.buffer(p, bits)
  if p.own ~= 0 then return (own.buffer(bits)) end
  return (cast(abi.buffer_pointer, live.handle + bits))
end

--- Makes p the packet whose filter runs, and gives the bits of its view.
function M.begin(p)
  local handle = live.newest + STEP
  live.newest = handle
  live.handle = handle
  live.packet = p
  return handle
end

--- Ends all views.
function M.close() live.handle = 0 end

--- Whether a filter runs.
function M.is_open() return live.handle ~= 0 end

--- The packet whose filter runs, or ran last; NULL where none did.
function M.packet() return live.packet end

--- Whether packets tell the time, and not the clock; then timer_time is that of the timer that runs, if one does.
M.is_replay = false

--- Seconds since 1970 by the timer that runs, or by the packet; nil where neither tells the time.
local function replay_time()
  if not M.is_replay then return nil end
  if M.timer_time then return M.timer_time end
  if live.packet ~= nil then
    return tonumber(live.packet.timestamp_sec) + tonumber(live.packet.timestamp_usec) / 1e6
  end
end

--- Seconds since 1970: by the packets, or by the clock.
function M.now() return replay_time() or C.ipq_now() end

--- The same where packets tell the time; else seconds by the clock that nobody sets.
function M.monotonic() return replay_time() or C.ipq_monotonic_us() / 1e6 end

--- What the host watches the time of filters by, where it does so itself: guard(driver), with the address of the one
--- whose packets are judged from here on, or nil; gives the one before.
M.guard = nil

--- Whether the packets are the frames of a capture, and their numbers the frames'.
M.is_capture = false

--- What holds packets for the loop that runs: see held.lua.
M.keeper = nil

--- What filters send by (struct ipq_outbox *), nil where they may not.
M.outbox = nil

--- What ran before: a filter may itself run filters over packets (tests do).
function M.save() return live.packet, live.handle, M.keeper end
function M.restore(packet, handle, keeper) live.packet, live.handle, M.keeper = packet, handle, keeper end

core.live = M
return M
