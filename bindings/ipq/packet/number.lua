--- Numbers that are put into a packet: what fits, and what is said of one that does not.
---
--- A field of 32 bits takes what LuaJIT's bit library gives, too, which has a sign: bit.bor(0x80000000, 1) is
--- -2147483647. It reads back without one, as 2147483649.
local M = {}

M.LEAST32, M.MOST32 = -2 ^ 31, 2 ^ 32 - 1

--- What is said of a value that does not fit into the field of that name, whose largest number is max.
---@param name string
---@param max number
---@return string
function M.refusal(name, max)
  if max == M.MOST32 then
    return (("%s must be an integer from %.0f to %.0f; value %% 2^32 brings a larger one there")
      :format(name, M.LEAST32, max))
  end
  return (("%s must be an integer from 0 to %.0f"):format(name, max))
end

return M
