-- What the tables have in common: options, running programs, rows with their medians, markdown.
local M = {}

--- Set by run.lua from its arguments.
M.options = { seconds = 2, repetitions = 5 }
M.build = os.getenv "IPQ_BUILD" or "build"
M.program = M.build .. "/ipq-lua"

--- What command prints. One that fails ends the bench: a table with a row that did not run would lie.
function M.capture(command)
  local pipe = assert(io.popen("{ " .. command .. "\n}; echo \"exit $?\""))
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.*)exit (%d+)\n$"
  if status ~= "0" then error(("exit status %s of: %s\n%s"):format(status or "?", command, output or text), 0) end
  return output
end

function M.succeeds(command) return os.execute(command .. " > /dev/null 2>&1") == 0 end

--- The numbers that command prints, "NAME=NUMBER" each, by name.
function M.figures(command)
  local figures, text = {}, M.capture(command)
  for name, value in text:gmatch "([%w_]+)=(%-?[%d.]+)" do figures[name] = tonumber(value) end
  return figures
end

--- The command in a network namespace of its own, which ends with it.
function M.in_namespace(command)
  M.unshare = M.unshare or (M.capture "id -u" == "0\n" and "unshare -n " or "unshare -Urn ")
  return M.unshare .. command
end

--- Whether ipq-lua --help has the option.
function M.has_option(name)
  M.help = M.help or M.capture(M.program .. " --help")
  return M.help:find(name, 1, true) ~= nil
end

--- A filter of this folder, for ipq-lua's command line.
function M.filter(name) return "spec/bench/filter/" .. name .. ".lua" end

function M.median(list)
  local sorted = { unpack(list) }
  table.sort(sorted)
  local middle = math.floor(#sorted / 2)
  if #sorted % 2 == 1 then return sorted[middle + 1] end
  return (sorted[middle] + sorted[middle + 1]) / 2
end

-- Rows: name → key → the figures of each repetition.
local Rows = {}
Rows.__index = Rows

function M.rows() return setmetatable({ names = {}, by_name = {} }, Rows) end

function Rows:add(name, figures)
  local row = self.by_name[name]
  if not row then
    row = {}
    self.by_name[name] = row
    self.names[#self.names + 1] = name
  end
  for key, value in pairs(figures) do
    row[key] = row[key] or {}
    table.insert(row[key], value)
  end
end

--- The median of a figure; nil where the row has none.
function Rows:median(name, key)
  local list = self.by_name[name] and self.by_name[name][key]
  return list and M.median(list)
end

--- The median of the ratios within each repetition: what slows a whole repetition down is not in it.
function Rows:ratio(name, base, key)
  local ratios, of, to = {}, self.by_name[name], self.by_name[base]
  if not (of and to) then return nil end
  for i, value in ipairs(of[key]) do ratios[i] = value / to[key][i] end
  return M.median(ratios)
end

--- Measures the cases ({ name = ... }) in turn, time and again. The case's figures may be nil in a round
--- that only warms up.
function M.interleave(cases, measure, repetitions)
  local rows = M.rows()
  for repetition = 1, repetitions or M.options.repetitions do
    for _, case in ipairs(cases) do
      local figures = measure(case, repetition)
      if figures then rows:add(case.name, figures) end
    end
  end
  return rows
end

function M.say(format, ...) print(format:format(...)) end

--- A markdown table: columns { title, function(name) → text or nil }.
function Rows:print(columns)
  local titles = {}
  for i, column in ipairs(columns) do titles[i] = column[1] end
  M.say("| %s |", table.concat(titles, " | "))
  M.say("|%s", ("---|"):rep(#columns))
  for _, name in ipairs(self.names) do
    local cells = {}
    for i, column in ipairs(columns) do cells[i] = column[2](name) or "" end
    M.say("| %s |", table.concat(cells, " | "))
  end
  print ""
end

--- A column of the names, of medians, and of ratios to a row.
function M.name_column(title) return { title, function(name) return name end } end

function Rows:column(title, key, format, factor)
  return { title, function(name)
    local value = self:median(name, key)
    return value and format:format(value * (factor or 1))
  end }
end

function Rows:ratio_column(title, key, base, is_inverse)
  return { title, function(name)
    local ratio = is_inverse and self:ratio(base, name, key) or not is_inverse and self:ratio(name, base, key)
    return ratio and ("%.2f"):format(ratio)
  end }
end

--- What is aimed at: { name, base, at least } each, as a list with what came of it. is_inverse: of a figure that
--- is better when it is less.
function Rows:goals(key, goals, is_inverse)
  for _, goal in ipairs(goals) do
    local name, base, least = unpack(goal)
    local ratio = is_inverse and self:ratio(base, name, key) or not is_inverse and self:ratio(name, base, key)
    if ratio then
      local is_missed = tonumber(("%.2f"):format(ratio)) < least
      M.say("- %s / %s: %.2f; the goal is %.2f%s", name, base, ratio, least, is_missed and ", missed" or "")
    end
  end
  print ""
end

return M
