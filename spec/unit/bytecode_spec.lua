-- What the bytecode of the module shows without being run.
local bit = require "bit"
local core = require "ipq.core"
local jutil = require "jit.util"
local vmdef = require "jit.vmdef"
require "ipq.packet.view" -- makes core.views

--- The name of the instruction at pc, "CALLT", and its operand D; nil at the end.
local function instruction(func, pc)
  local ins = jutil.funcbc(func, pc)
  if not ins then return nil end
  local number = bit.band(ins, 0xff)
  return vmdef.bcnames:sub(number * 6 + 1, number * 6 + 6):match "%S+", bit.rshift(ins, 16)
end

--- Calls each(func or prototype) for a function and those in it.
local function walk(func, each)
  each(func)
  local i = -1
  while true do
    local constant = jutil.funck(func, i)
    if constant == nil then return end
    if type(constant) == "proto" then walk(constant, each) end
    i = i - 1
  end
end

--- The places ("file:line: what") of which find(instruction, D, func) says what.
local function places(func, find)
  local found = {}
  walk(func, function(f)
    local pc = 1
    while true do
      local name, d = instruction(f, pc)
      if not name then return end
      local what = find(name, d, f)
      if what then found[#found + 1] = jutil.funcinfo(f, pc).loc .. ": " .. what end
      pc = pc + 1
    end
  end)
  return found
end

local function tail_call(name) return (name == "CALLT" or name == "CALLMT") and "a tail call" or nil end

-- All but the test kit.
local modules = {}
local rooms = "cd bindings/ipq && ls *.lua build/*.lua dns/*.lua engine/*.lua packet/*.lua | sed s:^:bindings/ipq/:"
for path in io.popen(rooms):lines() do
  if path ~= "bindings/ipq/test.lua" then modules[#modules + 1] = path end
end

describe("the module's bytecode", function()
  it("is that of all its files", function() assert.is_true(#modules > 20) end)

  for _, path in ipairs(modules) do
    local main = assert(loadfile(path))

    -- LuaJIT counts each tail call in a trace, and gives up at loopunroll of them: a filter that reads a few fields
    -- would be interpreted. (lj_record.c: check_call_unroll)
    it("has no tail call in " .. path, function() assert.same({}, places(main, tail_call)) end)

    it("reads no global in " .. path .. " but while it is loaded: a script may have overwritten it", function()
      assert.same({}, places(main, function(name, d, func)
        if name ~= "GGET" or func == main then return nil end
        local global = jutil.funck(func, -1 - d)
        -- script.lua sets arg in there for the script.
        return global ~= "_G" and global or nil
      end))
    end)
  end

  it("has no tail call in the functions that are generated for fields", function()
    local count = 0
    for _, view in pairs(core.views) do
      for _, functions in ipairs { view.get, view.set } do
        for _, func in pairs(functions) do
          count = count + 1
          assert.same({}, places(func, tail_call))
        end
      end
    end
    assert.is_true(count > 100)
  end)

  it("would show a tail call, and a global", function()
    local function with() return tostring(1) end
    assert.equal(1, #places(with, tail_call))
    assert.equal(1, #places(with, function(name) return name == "GGET" and "tostring" or nil end))
  end)
end)
