-- Line coverage by file, of C by gcov and of Lua by record.lua: luajit report.lua BUILD LEAST. Fails below LEAST
-- percent of the lines of lib/ or of bindings/.
local cjson = require "cjson"
local util = require "jit.util"

local build, least = arg[1], tonumber(arg[2])

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- What specs cannot reach, and where it is.
local unreachable = {
  { "no memory left", "lib: batch.c, netset.c, segment_tree.c, queue.c; bindings: capture.c, core_memory.c" },
  { "a netlink socket that fails otherwise than by what it is told", "lib: queue.c, libipq.c, libipq_socket.c" },
  { "kernels without NFQUEUE, or older than 3.6", "bindings: explain.c" },
  { "two threads of one handle in the cache of interfaces at once", "lib: libipq_message.c" },
  { "frames that libpcap itself refuses before", "bindings: capture.c" },
  { "2^26 networks", "lib: netset.c" },
  { "processes of their own, whose Lua nobody counts", "bindings: ipq/init.lua" },
}

local files = {} -- by path: line → whether it ran

local function note(path, line, ran)
  files[path] = files[path] or {}
  files[path][line] = files[path][line] or ran
end

local function read_c()
  local notes = output_of(("find %s/obj/lib %s/obj/bindings -maxdepth 1 -name '*.gcno'"):format(build, build))
  local json = output_of("gcov --json-format --stdout " .. notes:gsub("\n", " ") .. " 2>/dev/null")
  for document in json:gmatch "[^\n]+" do
    for _, file in ipairs(cjson.decode(document).files) do
      if file.file:match "^lib/.*%.c$" or file.file:match "^bindings/.*%.c$" then
        for _, line in ipairs(file.lines) do note(file.file, line.line_number, line.count > 0) end
      end
    end
  end
end

--- The lines of a function and those within it that have instructions.
local function note_function(path, f)
  local pc = 0
  repeat
    pc = pc + 1
    local info = util.funcinfo(f, pc)
    if util.funcbc(f, pc) then note(path, info.currentline, false) end
  until not util.funcbc(f, pc)
  local i = -1
  while util.funck(f, i) do
    local constant = util.funck(f, i)
    if type(constant) == "proto" then note_function(path, constant) end
    i = i - 1
  end
end

local function read_lua()
  for path in output_of("find bindings/ipq -name '*.lua'"):gmatch "[^\n]+" do
    note_function(path, assert(loadfile(path)))
  end
  for line in io.lines(build .. "/lua.lines") do
    local path, number = line:match "^(%S+) (%d+)$"
    if files[path] and files[path][tonumber(number)] ~= nil then files[path][tonumber(number)] = true end
  end
end

--- "3, 7-9": the lines that did not run, and how many ran of how many.
local function summary_of(lines)
  local numbers, missed, ran = {}, {}, 0
  for number in pairs(lines) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  local first, last
  for i = 1, #numbers + 1 do
    local number = numbers[i]
    if number and not lines[number] then
      first, last = first or number, number
    else
      if first then missed[#missed + 1] = first == last and first or first .. "-" .. last end
      first = nil
      if number then ran = ran + 1 end
    end
  end
  return table.concat(missed, ", "), ran, #numbers
end

read_c()
read_lua()

local paths, ran_in, all_in = {}, { lib = 0, bindings = 0 }, { lib = 0, bindings = 0 }
for path in pairs(files) do paths[#paths + 1] = path end
table.sort(paths)
for _, path in ipairs(paths) do
  local missed, ran, all = summary_of(files[path])
  local folder = path:match "^[^/]+"
  ran_in[folder], all_in[folder] = ran_in[folder] + ran, all_in[folder] + all
  print(("%-32s %4d of %4d %5.1f %%  %s"):format(path, ran, all, 100 * ran / all, missed))
end

local good = true
for _, folder in ipairs { "lib", "bindings" } do
  local percent = 100 * ran_in[folder] / all_in[folder]
  good = good and percent >= least
  print(("%-32s %4d of %4d %5.1f %%"):format(folder .. "/", ran_in[folder], all_in[folder], percent))
end
print "Not to be reached by specs:"
for _, case in ipairs(unreachable) do print(("  %s (%s)"):format(case[1], case[2])) end
if not good then
  io.stderr:write(("below %d %%\n"):format(least))
  os.exit(1)
end
