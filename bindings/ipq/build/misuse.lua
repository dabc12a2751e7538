--- Errors of who builds packets, or uses the test kit: what finds one raises without a line, and who was called gives
--- it its caller's.
local error, pcall, tostring = error, pcall, tostring -- a script may overwrite globals

local M = {}

function M.bad(format, ...) error(format:format(...), 0) end

--- An error's text without the line of the kit, or of a builder, that raised it.
function M.plain(message)
  return (tostring(message):gsub("^[^\n:]*ipq/test/[^\n:]*:%d+: ", ""):gsub("^[^\n:]*ipq/build/[^\n:]*:%d+: ", ""))
end

--- What work(...) gives, three values. What it raises is raised at the line of who called the caller, which must not
--- end with this call.
function M.guard(work, ...)
  local ok, result, more, last = pcall(work, ...)
  if not ok then error(M.plain(result), 3) end
  return result, more, last
end

return M
