-- Reads the first line of each end of a connection, and counts them.
local ipq = require "ipq"
local lines = ipq.counter "lines"

local function handler(stream)
  if stream:line() then lines:inc() end
end

return { stream = { port = 80, client = handler, server = handler } }
