-- What the targets in Lua share: choices from the input, and a packet of them that is judged while a plain
-- string keeps what its bytes have to be.
local memory = require "ipq.test.memory"

local M = {}

--- The input as a stream of choices; zeros and empty strings at its end.
function M.choices(input)
  local at = 1
  local C = {}
  function C.byte()
    at = at + 1
    return input:byte(at - 1) or 0
  end
  function C.u16() return C.byte() * 256 + C.byte() end
  function C.bytes(n)
    at = at + n
    return input:sub(at - n, at - 1)
  end
  function C.pick(list) return list[C.byte() % #list + 1] end
  function C.is_over() return at > #input end
  return C
end

local function u16(bytes, at) return bytes:byte(at + 1) * 256 + bytes:byte(at + 2) end

--- How long the packet is by its own header, so far as its bytes are there.
local function length_of(bytes)
  local version = #bytes > 0 and math.floor(bytes:byte(1) / 16)
  if version == 4 and #bytes >= 20 then
    local header, total = bytes:byte(1) % 16 * 4, u16(bytes, 2)
    if header >= 20 and header <= #bytes and total >= header then return math.min(total, #bytes) end
  elseif version == 6 and #bytes >= 40 then
    local payload, nexthdr = u16(bytes, 4), bytes:byte(7)
    -- Nothing follows, but segmentation's TCP, or hop-by-hop options, whose jumbogram would be longer than this.
    if payload > 0 or nexthdr ~= 6 and nexthdr ~= 0 then return math.min(payload + 40, #bytes) end
  end
  return #bytes
end

local Model = {}
Model.__index = Model

--- How far changes reach: padding is cut off by the first of them.
function Model:reach() return (self.is_changed or self.is_arp) and #self.bytes or length_of(self.bytes) end

--- Whether new bytes can come in the place of len bytes at offset at.
function Model:takes(at, len, new)
  local reach = self:reach()
  return at + len <= reach and (#new == len or reach - len + #new <= 65531)
end

function Model:replace(at, len, new)
  if len == 0 and new == "" then return end
  local bytes = self.bytes:sub(1, self:reach())
  self.bytes = bytes:sub(1, at) .. new .. bytes:sub(at + len + 1)
  self.is_changed = true
end

--- Does something to the packet that has to raise, or to give what is expected; the bytes are compared.
function Model:does(is_possible, what, work, ...)
  local ok, result = pcall(work, ...)
  if ok ~= is_possible then error(("%s: %s"):format(what, ok and "did not raise" or tostring(result)), 0) end
  if self.pkt:copy() ~= self.bytes then error(what .. ": other bytes than expected", 0) end
  if self.pkt.l2hdr ~= self.l2hdr then error(what .. ": another link header than expected", 0) end
  return result
end

function M.equal(expected, value, what)
  if expected ~= value then
    error(("%s: %s, not %s"):format(what, tostring(value), tostring(expected)), 0)
  end
end

--- The function of an input that makes a packet and has play(choices, model, pkt) go on with it.
function M.player(play)
  local choices, model, problem

  local function filter(pkt)
    model.pkt = pkt
    local ok, message = pcall(play, choices, model, pkt)
    if not ok then problem = message end
    return nil
  end

  return function(input)
    choices, problem = M.choices(input), nil
    local flags = choices.byte()
    local bytes = choices.bytes(choices.u16() % 2048)
    model = setmetatable({ bytes = bytes, is_changed = false }, Model)
    model.fix, model.is_arp = flags % 2 == 0, flags % 8 >= 4
    local before = flags % 16 >= 8 and choices.bytes(choices.byte() % 64) or nil
    model.l2hdr = before
    local outcome = memory.judge(bytes, { csum_ready = flags % 4 < 2, family = model.is_arp and "arp" or nil,
      l2hdr = before }, filter)
    if problem then error(problem, 0) end
    local after = outcome.bytes or bytes
    M.equal(not outcome.why and model.is_linked and model.l2hdr or nil, outcome.l2hdr, "the link header")
    if not outcome.why and model.is_changed then
      M.equal(#model.bytes, #after, "the packet's length")
      if not model.fix or model.is_arp then M.equal(model.bytes, after, "bytes left as they are") end
    end
    return ("%d %s %q"):format(outcome.value, outcome.why and "refused" or "sent", after)
  end
end

return M
