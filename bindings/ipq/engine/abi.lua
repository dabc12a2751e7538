--- What C and Lua share: the layouts and functions that lib's headers declare.
---
--- A module is loaded anew for every spec file (busted does that), but what LuaJIT was told lasts as long as the Lua
--- state: a declaration or a metatype cannot be made a second time. So whatever holds one, and whatever must be there
--- once (counters, timers, the packet whose filter runs), is kept in the table of the C module "ipq.core", which is the
--- same one each time. That is why so many modules here begin with "if core.NAME then return core.NAME end".
local core = require "ipq.core"
local ffi = require "ffi"

if not core.C then
  ffi.cdef((("\n" .. core.abi):gsub("\n#[^\n]*", "\n")))
  core.C = core.library and ffi.load(core.library) or ffi.C
end

local M = {
  --- The C functions, by their names in the headers. Cache this table, not its members.
  C = core.C,
  --- The cache of interfaces, for C.ipq_device_get().
  devices = ffi.cast("struct ipq_devices *", core.devices),
  inside = ffi.typeof "struct ipq_inside",
  live = ffi.typeof "struct ipq_live",
  scripted = ffi.typeof "struct ipq_scripted",
  view_pointer = ffi.typeof "struct ipq_view *",
  inside_pointer = ffi.typeof "struct ipq_view_inside *",
  buffer_pointer = ffi.typeof "struct ipq_buffer *",
  driver_pointer = ffi.typeof "struct ipq_driver *",
}

return M
