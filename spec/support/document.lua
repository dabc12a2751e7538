-- Files of specs, and what the specs of documents share: the program's options as its own table has them.
local M = {}

function M.read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

function M.write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

--- The name of a new file with that text, which goes with the run of the specs.
function M.temporary(text)
  local path = os.tmpname()
  M.write(path, text)
  return path
end

--- The rules of host/options.c: name, letter (nil: long only) and whether it takes a value.
function M.options()
  local rules = M.read "host/options.c":match "static const struct option_rule rules%[%] = {\n(.-)\n};"
  local options = {}
  for name, letter, value in rules:gmatch "\n?\t{%s*\"([%w-]+)\",%s*(%S+),%s*(%a+)," do
    options[#options + 1] = { name = name, letter = letter:match "'(.)'", takes_value = value == "true" }
  end
  assert(#options == select(2, rules:gsub("\t{", "")), "a rule of another form")
  return options
end

--- The filters in scripts/, by name, in order.
function M.scripts()
  local names = {}
  for name in io.popen "ls scripts/*.lua":read "*a":gmatch "scripts/(%S+)\n" do names[#names + 1] = name end
  return names
end

--- README.md's examples by name.
function M.examples()
  local examples = {}
  for name, text in M.read "README.md":gmatch "<!%-%- example: (%S+) %-%->\n```lua\n(.-)```" do
    examples[name] = text
  end
  return examples
end

return M
