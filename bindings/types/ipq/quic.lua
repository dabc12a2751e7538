---@meta ipq.quic
-- What the module ipq.quic has, for the Lua language server: see ipq.lua beside this folder.

---@class ipq.quic
local quic = {}

---The hello of the connection that the packet belongs to, by its Initial packets of QUIC version 1 or 2, this one and
---those before it. It is given for each of them, as soon as it is whole. nil where there is none, and why: "more" where
---other packets have to come, "not QUIC", or another reason.
---@param pkt ipq.Packet
---@return ipq.Hello? hello
---@return string? why
function quic.client_hello(pkt) end

return quic
