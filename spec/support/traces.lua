-- What the JIT compiler does while a function runs.
local jutil = require "jit.util"
local vmdef = require "jit.vmdef"

local M = {}

local function reason(code, detail)
  if type(code) ~= "number" then return tostring(code) end
  if type(detail) == "function" then detail = jutil.funcinfo(detail).loc end
  return vmdef.traceerr[code]:format(detail)
end

--- Runs work(). Gives the traces that were compiled meanwhile, each with its start and link, and the
--- aborts, each as "where: reason".
function M.watch(work)
  local compiled, aborted, start = {}, {}, {}
  local function on_trace(what, trace, func, pc, code, detail)
    if what == "start" then
      start[trace] = jutil.funcinfo(func, pc).loc
    elseif what == "stop" then
      compiled[#compiled + 1] = { start = start[trace], link = jutil.traceinfo(trace).linktype }
    elseif what == "abort" then
      aborted[#aborted + 1] = jutil.funcinfo(func, pc).loc .. ": " .. reason(code, detail)
    end
  end
  jit.attach(on_trace, "trace")
  local ok, message = pcall(work)
  jit.attach(on_trace)
  assert(ok, message)
  return compiled, aborted
end

--- The same, with a compiler that knows nothing yet.
function M.of(work)
  jit.flush()
  return M.watch(work)
end

--- The KiB of garbage that work() makes, which is warm: the least of five times. A side exit may become hot late, and
--- its trace takes memory, once; what each packet takes is taken each time.
function M.garbage(work)
  local least = math.huge
  for _ = 1, 5 do
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    work()
    least = math.min(least, collectgarbage "count" - before)
    collectgarbage "restart"
  end
  return least
end

--- The files of the loops that became traces of their own.
function M.loops(work)
  local files = {}
  for _, trace in ipairs((M.of(work))) do
    if trace.link == "loop" then files[#files + 1] = trace.start:match "([^/]+):%d+$" end
  end
  return files
end

return M
