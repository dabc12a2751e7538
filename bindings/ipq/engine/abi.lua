--- lib/ipq_abi.h for LuaJIT: types and the C functions behind them.
local ffi = require "ffi"
local core = require "ipq.core"

if not core.declared then
  ffi.cdef(core.abi)
  core.declared = true
end

local M = {
  --- The C functions (struct ipq_calls). Cache this table, not its members.
  C = ffi.cast("const struct ipq_calls *", core.calls),
  live = ffi.typeof "struct ipq_live",
  scripted = ffi.typeof "struct ipq_scripted",
  view_pointer = ffi.typeof "struct ipq_view *",
  buffer_pointer = ffi.typeof "struct ipq_buffer *",
  driver_pointer = ffi.typeof "struct ipq_driver *",
}

return M
