--- Messages for people, one line each (a traceback has more).
local core = require "ipq.core"
local tostring = tostring -- a script may overwrite globals

-- One for the Lua state, as the module ipq is (see luaopen_ipq_core).
if core.log then return core.log end

local M = {}

--- Where lines go: function(level, text). The host sets its own.
M.sink = function(level, text) io.stderr:write("ipq: ", level, ": ", text, "\n") end

for _, level in ipairs { "debug", "info", "warn", "error" } do
  M[level] = function(text) M.sink(level, tostring(text)) end
end

--- A gate for messages that come as fast as packets: at most burst in a second.
---@param burst integer
---@param clock? fun(): number seconds; os.time
---@return fun(): boolean, integer # whether to write, and how many were kept back since the last
function M.limiter(burst, clock)
  clock = clock or os.time
  local second, written, suppressed = nil, 0, 0
  return function()
    local now = clock()
    if now ~= second then second, written = now, 0 end
    if written >= burst then
      suppressed = suppressed + 1
      return false, suppressed
    end
    written = written + 1
    local before = suppressed
    suppressed = 0
    return true, before
  end
end

core.log = M
return M
