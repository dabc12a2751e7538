-- Prometheus' text format, read strictly: exposition_formats.md, version 0.0.4, and what promtool asks for.
local M = {}

local types = { counter = true, gauge = true, histogram = true, summary = true, untyped = true }

local function labels_of(text)
  local labels = {}
  if text == "" then return labels end
  for pair in (text:match "^{(.*)}$" .. ","):gmatch "(.-)," do
    local name, value = pair:match '^([%a_][%w_]*)="([^"\\\n]*)"$'
    assert(name and not labels[name], pair)
    labels[name] = value
  end
  return labels
end

-- The family that a sample belongs to.
local function family_of(name, families)
  if families[name] then return families[name] end
  local base, suffix = name:match "^(.*)_(%l+)$"
  local family = base and families[base]
  assert(family and family.type == "histogram" and (suffix == "bucket" or suffix == "sum" or suffix == "count"),
    name .. " has no TYPE")
  return family
end

local function check_histogram(family)
  local last = {}
  for _, sample in ipairs(family) do
    local queue = sample.labels.queue
    local before = last[queue]
    if sample.name:match "_bucket$" then
      local le = assert(tonumber((sample.labels.le:gsub("%+Inf", "inf"))))
      assert(not before or (le > before.le and sample.value >= before.value), "buckets out of order")
      last[queue] = { le = le, value = sample.value }
    elseif sample.name:match "_count$" then
      assert(before.le == math.huge and before.value == sample.value, "count is not that of +Inf")
    end
  end
end

--- Reads a whole text. Gives a function (name, labels as written) that gives a sample's value, and the families by
--- name. Raises where a line is none.
function M.read(text)
  assert(text:sub(-1) == "\n", "the last line has no end")
  local families, values, current = {}, {}, nil
  for line in text:gmatch "([^\n]*)\n" do
    local help = line:match "^# HELP ([%a_:][%w_:]*) .+$"
    local typed, kind = line:match "^# TYPE ([%a_:][%w_:]*) (%l+)$"
    local name, labels, number = line:match "^([%a_:][%w_:]*)({?.-}?) (%S+)$"
    if help then
      assert(not families[help], help .. " comes twice")
      current = { name = help }
      families[help] = current
    elseif typed then
      assert(current and current.name == typed and not current.type and types[kind], line)
      current.type = kind
      assert(kind ~= "counter" or typed:match "_total$", typed .. " is a counter without _total")
    else
      assert(name, "no line: " .. line)
      local family = family_of(name, families)
      assert(family == current and family.type, name .. " is out of its block")
      local value = assert(tonumber(number), line)
      assert(not values[name .. labels], name .. labels .. " comes twice")
      values[name .. labels] = value
      family[#family + 1] = { name = name, labels = labels_of(labels), value = value }
    end
  end
  for _, family in pairs(families) do
    if family.type == "histogram" then check_histogram(family) end
  end
  return function(name, labels) return values[name .. (labels or "")] end, families
end

return M
