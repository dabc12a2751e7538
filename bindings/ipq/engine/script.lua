--- A user's script: loaded, run once, and held to what a filter script may be.

-- A script may overwrite globals.
local debug, io, ipairs, load, package, pairs, require = debug, io, ipairs, load, package, pairs, require
local pcall, tostring, type, unpack, xpcall = pcall, tostring, type, unpack, xpcall

local flows = require "ipq.engine.flows"
local streams = require "ipq.engine.streams"
local globals = require "ipq.engine.globals"
local log = require "ipq.log"
local spelling = require "ipq.spelling"
local version = require "ipq.engine.version"

local M = {}

---@class ipq.Script
---@field filter fun(pkt: ipq.Packet): ipq.verdict?
---@field start? fun(args: table<string, any>)
---@field save? fun(): any
---@field restore? fun(saved: any)
---@field stop? fun(reason: "reload"|"exit")
---@field queue {copy?: "packet"|"meta", range?: integer, sent?: boolean}
---@field send boolean whether it sends packets of its own
---@field flow table? what it says of flows; nil: it follows none
---@field stream table? what it says of streams; nil: it reads none
---@field arp boolean whether the ARP of a capture comes to the filter
---@field private boolean whether a capture that it writes must tell nothing of the one that came
---@field args table<string, any>
---@field path string
---@field chunk function the file as a function, which has been run

local known = {
  filter = "function", start = "function", save = "function", restore = "function", stop = "function", queue = "table",
  needs = "string", arp = "boolean", private = "boolean", send = "boolean",
  flow = "table", stream = "table",
}
local known_of_queue = { copy = true, range = true, sent = true }

--- The end of a message on a field that there is not: the one that was meant, or those that there are.
local function instead(field, fields, listed)
  local hint = spelling.hint(field, fields)
  return hint ~= "" and hint or "; it may have " .. listed
end

local function check_queue(queue)
  for key, value in pairs(queue) do
    if key == "copy" then
      if value ~= "packet" and value ~= "meta" then
        return nil, "queue.copy must be \"packet\" or \"meta\""
      end
    elseif key == "range" then
      if type(value) ~= "number" or not (value >= 1 and value <= 65535) or value % 1 ~= 0 then
        return nil, "queue.range must be an integer from 1 to 65535 (bytes)"
      end
    elseif key == "sent" then
      if type(value) ~= "boolean" then return nil, "queue.sent must be true or false" end
    else
      return nil, ("queue has an unknown field '%s'%s"):format(tostring(key),
        instead(key, known_of_queue, "copy, range and sent"))
    end
  end
  return true
end

--- Why what the script says of its streams cannot be, or nil.
local function check_stream(returned)
  local message = streams.refusal(returned.stream)
  local queue = returned.queue or {}
  if not message and (queue.copy == "meta" or queue.range) then
    message = "streams need whole packets: leave out queue.copy and queue.range"
  end
  if not message and returned.stream.edit and (queue.sent or returned.send == false) then
    message = "what is edited is sent, too, and must not be judged again: leave out queue.sent, and send = false"
  end
  return message
end

--- The filter of a script that has streams alone.
local function accept() end

--- What the script returned, as a table. nil, message where it is no filter.
local function check(returned)
  if type(returned) == "function" then returned = { filter = returned } end
  if type(returned) ~= "table" then
    return nil, "the script must return a function (or a table with a function 'filter'), not "
      .. (returned == nil and "nothing" or "a " .. type(returned))
  end
  -- First: what else it has that this program does not know may be why.
  local refusal = returned.needs ~= nil and version.refusal(returned.needs)
  if refusal then return nil, refusal end
  for key, value in pairs(returned) do
    local kind = known[key]
    if not kind then
      return nil, ("the script's table has an unknown field '%s'%s"):format(tostring(key),
        instead(key, known, "filter, start, save, restore, stop, queue, flow, stream, send, arp, private and needs"))
    end
    if type(value) ~= kind then
      return nil, ("the script's field '%s' must be a %s, not a %s"):format(key, kind, type(value))
    end
  end
  if not returned.filter and not returned.stream then
    return nil, "the script's table has no function 'filter'"
  end
  local queue = returned.queue or {}
  local ok, message = check_queue(queue)
  if not ok then return nil, message end
  message = returned.flow and flows.refusal(returned.flow)
  if not message then message = returned.stream and check_stream(returned) end
  if message then return nil, message end
  return {
    filter = returned.filter or accept, start = returned.start, save = returned.save, restore = returned.restore,
    stop = returned.stop, queue = queue, arp = returned.arp or false, private = returned.private or false,
    send = returned.send or returned.stream and returned.stream.edit or false,
    -- A stream is found by its flow.
    flow = returned.flow or returned.stream and {}, stream = returned.stream,
    edits = returned.stream and returned.stream.edit or false,
  }
end

local function traceback(err)
  if type(err) ~= "string" then err = "error: " .. tostring(err) end
  return (debug.traceback(err, 2):gsub("\n%s*%[C%]: in function 'xpcall'.*", ""))
end

--- Lets the script require what lies beside it.
local function add_path(path)
  local templates = (path:match "^(.*)/[^/]*$" or ".") .. "/?.lua;"
  if package.path:sub(1, #templates) ~= templates then package.path = templates .. package.path end
end

--- A hint where the ending was left out.
local function meant(path)
  local file = io.open(path .. ".lua", "r")
  if not file then return "" end
  file:close()
  return (("; there is %s.lua"):format(path))
end

--- What stop() returned was the second argument of start(), once.
local function warn_of_carried(script)
  if not script.start or script.save or debug.getinfo(script.start, "u").nparams < 2 then return end
  log.write("warn", ("%s: start() takes one parameter, the arguments; what a reload keeps is what save() returns, "
    .. "and restore(saved) gets"):format(script.path))
end

-- What captures begin with: pcap of either byte order, with microseconds or nanoseconds, and pcapng.
local capture_magic = {
  ["\161\178\195\212"] = true, ["\212\195\178\161"] = true, ["\161\178\60\77"] = true,
  ["\77\60\178\161"] = true, ["\10\13\13\10"] = true,
}

--- Loads the script at path and runs it with the arguments argv (a list of strings). Sets the global
--- arg and ipq.args as the script sees them.
---@param path string
---@param argv? string[]
---@return ipq.Script? script
---@return string? message "file:line: …" where the script has the fault
---@return string? code "ENOENT" (cannot be read) or "EBAD" (cannot be a filter)
function M.load(path, argv)
  argv = argv or {}
  local file, message = io.open(path, "r")
  if not file then return nil, "cannot read the script: " .. message .. meant(path), "ENOENT" end
  local text
  text, message = file:read "*a"
  file:close()
  if not text then return nil, ("cannot read the script: %s: %s"):format(path, message), "ENOENT" end

  if capture_magic[text:sub(1, 4)] then
    return nil, ("%s is a capture, not a script: ipq-lua -r %s SCRIPT judges its packets"):format(path, path), "EBAD"
  end

  -- Text alone ("t"): LuaJIT does not verify bytecode. A first line with #! is the shell's.
  local chunk
  chunk, message = load((text:gsub("^#[^\n]*", "")), "@" .. path, "t")
  if not chunk then return nil, message, "EBAD" end

  local args = require "ipq.arguments".parse(argv)
  require "ipq".args = args
  add_path(path)
  _G.arg = { [0] = path, unpack(argv) }
  local ok, returned = xpcall(chunk, traceback, unpack(argv))
  if not ok then return nil, returned, "EBAD" end
  local checked, script
  checked, script, message = pcall(check, returned)
  if not checked then script, message = nil, tostring(script) end
  if not script then return nil, path .. ": " .. message, "EBAD" end
  script.args = args
  script.path, script.chunk = path, chunk
  warn_of_carried(script)
  return script
end

--- Warns of globals that the script uses and nobody defines.
---@param script ipq.Script
function M.inspect(script)
  for _, text in ipairs(globals.undefined(script.chunk, script.path)) do log.write("warn", text) end
end

--- The paths of the files that the script was made from: its own, and those of the modules that it has required.
---@param script ipq.Script
---@return string[]
function M.files(script)
  local files = { script.path }
  for name in pairs(package.loaded) do
    local path = not package.preload[name] and package.searchpath(name, package.path)
    if path then files[#files + 1] = path end
  end
  return files
end

--- Calls the script's function of that name, where it has one: start(args), save(), restore(saved), stop(reason).
---@param script ipq.Script
---@param name "start"|"save"|"restore"|"stop"
---@param argument any its argument
---@return boolean? ok nil where it raised
---@return any result what it returned; a message with a traceback where it raised
function M.call(script, name, argument)
  if not script[name] then
    if name == "restore" then
      log.write("warn", script.path .. ": what save() returned is lost, as there is no restore()")
    end
    return true
  end
  local ok, result = xpcall(script[name], traceback, argument)
  if not ok then return nil, name .. "(): " .. result end
  return true, result
end

return M
