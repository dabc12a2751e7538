-- Runs busted over the specs at path, with its options in the global arg. Gives nil where all passed, and where nothing
-- was run a message, and whether it is busted that is missing. Where a spec fails busted ends the process.
--
-- busted is content where there are no specs, so what it loads is looked at on the way, between its options and its
-- run.
local path = ...
local found, run = pcall(require, "busted.runner")
if not found then return run, true end

local new_loader = require "busted.modules.test_file_loader"
local blocks = 0
local no_file -- a message

local function count()
  blocks = blocks + 1
  return nil, true -- for other subscribers, too
end

--- What load_all(roots, ...) would load. It may tell of what is wrong, which load_all does again.
local function list_silently(busted, list, ...)
  local publish = busted.publish
  busted.publish = function() end
  local files = list(...)
  busted.publish = publish
  return files
end

package.loaded["busted.modules.test_file_loader"] = function(busted, loaders)
  for _, kind in ipairs { "describe", "it", "pending" } do
    busted.subscribe({ "register", kind }, count, { priority = 1 })
  end
  local load_all, load_one, list = new_loader(busted, loaders)
  return function(roots, patterns, options)
    if #roots == 1 and #list_silently(busted, list, roots, patterns, options) == 0 then
      no_file = ("%s has no file with \"%s\" in its name, as specs have: my_filter_spec.lua")
        :format(path, table.concat(patterns, "\" or \""))
      error(no_file, 0)
    end
    return load_all(roots, patterns, options)
  end, load_one, list
end

-- busted asks who called it for its name: no tail call.
local ok, message = pcall(function() run { standalone = false } end)
if no_file then return no_file end
if not ok then error(message, 0) end
if blocks == 0 then
  return path .. " has no specs, which are describe() and it(); --new NAME writes a filter with its specs, and --check "
    .. "looks at a filter alone"
end
