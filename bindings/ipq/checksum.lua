--- The Internet checksum.
local abi = require "ipq.engine.abi"
local buffer = require "ipq.packet.buffer"
local error, type = error, type -- a script may overwrite globals

local C = abi.C

local M = {}

--- The checksum (RFC 1071) of the bytes of a string or a Buffer, as a field that holds it is read: 0 to 65535. A field
--- for it among them counts as it is, and is to be 0.
---@param bytes string|ipq.Buffer
---@return integer
function M.checksum(bytes)
  if type(bytes) == "string" then return (C.ipq_checksum_read(bytes, #bytes)) end
  if not buffer.is_buffer(bytes) then error("ipq.checksum() takes a string or a Buffer", 2) end
  local start, len = buffer.open(bytes)
  return (C.ipq_checksum_read(start, len))
end

return M
