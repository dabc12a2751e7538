--- TCP's sequence and acknowledgement numbers, which go on from 2^32 - 1 to 0 (RFC 9293 section 3.4).
local spelling = require "ipq.spelling"
local error, setmetatable, tostring, type = error, setmetatable, tostring, type -- a script may overwrite globals

local WRAP, HALF, MOST = 2 ^ 32, 2 ^ 31, 2 ^ 53

local M = {}

local function check(name, value)
  if type(value) ~= "number" or not (value >= -MOST and value <= MOST) or value % 1 ~= 0 then
    error(("ipq.seq.%s() takes two whole numbers"):format(name), 3)
  end
end

--- The number n behind a, or before it where n is negative.
---@param a integer
---@param n integer
---@return integer 0 to 2^32 - 1
function M.add(a, n)
  check("add", a)
  check("add", n)
  return (a % WRAP + n % WRAP) % WRAP
end

--- How far a is behind b; negative where it is before it.
---@param a integer
---@param b integer
---@return integer -2^31 to 2^31 - 1
function M.diff(a, b)
  check("diff", a)
  check("diff", b)
  return (a % WRAP - b % WRAP + HALF) % WRAP - HALF
end

setmetatable(M, { __index = function(_, name)
  error(("ipq.seq has no '%s'%s"):format(tostring(name), spelling.hint(name, M)), 2)
end })

return M
