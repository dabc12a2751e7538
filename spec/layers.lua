-- Looks at the rooms of the house: luajit spec/layers.lua [FOLDER]. Nothing includes upwards.
--
-- Writes a line for each fault, and ends with status 1 where there is one.
local root = arg[1] or "."

-- From the bottom to the top: a file may include those of its own room, and of the rooms before it.
local rooms = {
  "lib", "lib/packet", "lib/netset", "lib/names", "lib/send", "lib/flow", "lib/stream", "lib/queue", "lib/libipq",
  "bindings/capture", "bindings",
  "host/base", "host/judge", "host/rules", "host/figures", "host/supervise", "host/tools", "host",
}
local floor_of = {}
for floor, room in ipairs(rooms) do floor_of[room] = floor end

local forbidden = {}
for name in ("printf fprintf puts fputs perror exit _exit abort"):gmatch "%S+" do forbidden[name] = true end

local faults = 0

local function fault(path, line, text)
  faults = faults + 1
  print(("%s:%d: %s"):format(path, line, text))
end

--- The room of a file: the folder that it is in, or for what libipq installs the one around that.
local function room_of(path)
  local folder = path:match "^(.*)/[^/]*$"
  while folder and not floor_of[folder] do folder = folder:match "^(.*)/[^/]*$" end
  return folder
end

local function check_include(path, line, include)
  local own = room_of(path)
  local target = include:find("/", 1, true) and include or path:match "^(.*/)" .. include
  local room = room_of(target)
  if not room then return fault(path, line, include .. " is in no room that spec/layers.lua knows") end
  if floor_of[room] > floor_of[own] then
    fault(path, line, ("%s includes upwards: %s is in %s"):format(own, include, room))
  elseif room == "lib/libipq" and own ~= room then
    fault(path, line, "nothing but lib/libipq itself includes what is in there")
  end
end

local function check_line(path, line, text)
  local include = text:match "^%s*#%s*include%s+\"([^\"]+)\""
  if include then return check_include(path, line, include) end
  if not path:match "^lib/" then return end
  if text:match "^%s*#%s*include%s+<lua" or text:match "^%s*#%s*include%s+<lauxlib" then
    fault(path, line, "lib knows nothing of Lua")
  end
  -- libipq's contract has ipq_perror(), and LDEBUG() in its header.
  if path:match "^lib/libipq/libipq%.[ch]$" then return end
  for name in text:gmatch "([%w_]+)%s*%(" do
    if forbidden[name] then
      fault(path, line, "lib neither prints nor ends the process: " .. name .. "()")
    end
  end
end

local files = io.popen(("cd '%s' && find lib bindings host -name '*.[ch]' -not -path '*/examples/*' | sort")
  :format(root))
local count = 0
for path in files:lines() do
  count = count + 1
  local number = 0
  for text in io.lines(root .. "/" .. path) do
    number = number + 1
    check_line(path, number, text)
  end
end
files:close()
if count == 0 then fault(root, 0, "there are no files") end
os.exit(faults == 0 and 0 or 1)
