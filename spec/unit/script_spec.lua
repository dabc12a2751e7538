local script = require "ipq.engine.script"

local function load_text(text, argv)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local result = { script.load(path, argv) }
  os.remove(path)
  return unpack(result, 1, 3)
end

describe("script.load", function()
  local path = package.path
  after_each(function() package.path = path end)

  it("takes a function", function()
    local s = assert(load_text "return function() return 7 end")
    assert.equal(7, s.filter())
    assert.same({}, s.queue)
  end)

  it("takes a table", function()
    local s = assert(load_text [[return { filter = function() return 1 end, start = function() end,
      stop = function() return 5 end, queue = { copy = "meta", range = 20 } }]])
    assert.equal(1, s.filter())
    assert.equal("meta", s.queue.copy)
    assert.equal(20, s.queue.range)
  end)

  local wrong = {
    { "", "must return a function %(or a table with a function 'filter'%), not nothing" },
    { "return 'drop'", "not a string" }, { "return {}", "has no function 'filter'" },
    { "return { filter = 1 }", "field 'filter' must be a function, not a number" },
    { "return { filer = print }", "unknown field 'filer'" },
    { "return { filter = print, start = 1 }", "field 'start' must be a function" },
    { "return { filter = print, stop = {} }", "field 'stop' must be a function" },
    { "return { filter = print, queue = 1 }", "field 'queue' must be a table" },
    { "return { filter = print, queue = { copy = 'all' } }", "queue.copy must be" },
    { "return { filter = print, queue = { range = 0 } }", "queue.range must be an integer" },
    { "return { filter = print, queue = { range = 1.5 } }", "queue.range must be an integer" },
    { "return { filter = print, queue = { rnge = 1 } }", "queue has an unknown field 'rnge'" },
  }
  for _, pair in ipairs(wrong) do
    it("refuses " .. (pair[1] == "" and "an empty script" or pair[1]), function()
      local s, message, code = load_text(pair[1])
      assert.is_nil(s)
      assert.matches(pair[2], message)
      assert.equal("EBAD", code)
    end)
  end

  for _, magic in ipairs { "\161\178\195\212", "\212\195\178\161", "\161\178\60\77", "\77\60\178\161",
    "\10\13\13\10" } do
    it("says that it is a capture where it is one: " .. ("%q"):format(magic):gsub("[^\32-\126]", "?"), function()
      local s, message, code = load_text(magic .. ("\0"):rep(20))
      assert.is_nil(s)
      assert.matches("^(/tmp/%S+) is a capture, not a script: ipq%-lua %-r %1 SCRIPT judges its packets$", message)
      assert.equal("EBAD", code)
    end)
  end

  it("names file and line of a syntax error", function()
    local s, message, code = load_text "return function(pkt)\n  if pkt then\nend"
    assert.is_nil(s)
    assert.matches("^/tmp/[%w_./]+:3: 'end' expected", message)
    assert.equal("EBAD", code)
  end)

  it("names file and line of an error at load, with a traceback", function()
    local _, message = load_text "local function f() error 'oh no' end\nf()\n"
    assert.matches("^/tmp/[%w_./]+:1: oh no\nstack traceback:\n", message)
    assert.matches("/tmp/[%w_./]+:2: in main chunk", message)
    _, message = load_text "error({})"
    assert.matches("error: table: ", message)
  end)

  it("takes no bytecode", function()
    local s, message, code = load_text(string.dump(function() return print end))
    assert.is_nil(s)
    assert.matches("wrong mode", message)
    assert.equal("EBAD", code)
  end)

  it("skips a first line for the shell and keeps the line numbers", function()
    local _, message = load_text "#!/usr/bin/env ipq-lua\nerror 'here'"
    assert.matches("^/tmp/[%w_./]+:2: here", message)
  end)

  describe("with ipq.takes()", function()
    local function with(call, ...) return load_text(("require 'ipq'.takes%s return print"):format(call), { ... }) end

    it("takes the arguments that the script names", function()
      assert(with("('a', 'b')", "a=1", "b="))
      assert(with("('a', 'b')"))
      assert(with "()")
      assert.equal("2", assert(with("('a')", "a=2")).args.a)
    end)

    local unknown = {
      ["ab=1"] = "'ab=1' is no argument of this script, which takes a=, b=", ["a"] = "'a' is no argument",
      ["--json"] = "'%-%-json' is no argument", ["="] = "'=' is no argument", ["A=1"] = "'A=1' is no argument",
    }
    for word, text in pairs(unknown) do
      it("refuses, at the script's line, " .. word, function()
        local s, message, code = with("('a', 'b')", "a=1", word)
        assert.is_nil(s)
        assert.matches("^/tmp/%S+:1: " .. text, message)
        assert.equal("EBAD", code)
      end)
    end

    it("refuses any where it names none, and what is no name", function()
      assert.matches("'a=1' is no argument of this script, which takes none\n", (select(2, with("()", "a=1"))))
      assert.matches("^/tmp/%S+:1: ipq.takes%(%) takes the names of arguments, not a table\n",
        (select(2, with "({ 'a' })")))
    end)

    it("knows nothing of what another script was given", function()
      assert.is_nil((with("('a')", "b=1")))
      assert(with "('a')")
    end)
  end)

  it("says that a file is not there", function()
    local s, message, code = script.load "/nonexistent/filter.lua"
    assert.is_nil(s)
    assert.equal("cannot read the script: /nonexistent/filter.lua: No such file or directory", message)
    assert.equal("ENOENT", code)
  end)

  it("says that a directory is no file", function()
    local s, message, code = script.load "/tmp"
    assert.is_nil(s)
    assert.matches("cannot read the script: /tmp: Is a directory", message)
    assert.equal("ENOENT", code)
  end)

  it("hands arguments as ..., as arg and as ipq.args", function()
    local s = assert(load_text([[
      local words = { ... }
      local path = arg[0]
      return function() return words, arg, path, require "ipq".args end]],
      { "port=23", "plain", "text=a=b", "empty=", "=x" }))
    local words, arg, own, args = s.filter()
    assert.same({ "port=23", "plain", "text=a=b", "empty=", "=x" }, words)
    assert.same(words, { unpack(arg) })
    assert.matches("^/tmp/", own)
    assert.same({ port = "23", text = "a=b", empty = "" }, args)
    assert.equal(args, s.args)
  end)

  it("finds what lies beside the script", function()
    os.execute "mkdir -p /tmp/ipq_spec_dir"
    for name, text in pairs { ["main.lua"] = "return require 'ipq_spec_helper'",
      ["ipq_spec_helper.lua"] = "return function() return 11 end" } do
      local file = assert(io.open("/tmp/ipq_spec_dir/" .. name, "w"))
      file:write(text)
      file:close()
    end
    local s = assert(script.load "/tmp/ipq_spec_dir/main.lua")
    os.execute "rm -r /tmp/ipq_spec_dir"
    assert.equal(11, s.filter())
  end)
end)

describe("script.call", function()
  it("gives it arguments, what was saved, and the reason", function()
    local s = assert(load_text([[local seen = {}
      return { filter = print, start = function(args) seen[1] = args.a end,
        restore = function(saved) seen[2] = saved end, stop = function(reason) seen[3] = reason end,
        save = function() return seen end }]], { "a=1" }))
    assert.is_true(script.call(s, "start", s.args))
    assert.is_true(script.call(s, "restore", "before"))
    assert.is_true(script.call(s, "stop", "reload"))
    local ok, seen = script.call(s, "save")
    assert.is_true(ok)
    assert.same({ "1", "before", "reload" }, seen)
  end)

  it("takes a script without the function", function()
    local s = assert(load_text "return print")
    assert.is_true(script.call(s, "start", s.args))
    assert.same({ true }, { script.call(s, "save") })
    assert.is_true(script.call(s, "stop", "exit"))
  end)

  it("tells an error with its place", function()
    local s = assert(load_text [[return { filter = print, start = function() error 'no' end,
      stop = function() error 'x' end }]])
    local ok, message = script.call(s, "start", s.args)
    assert.is_nil(ok)
    assert.matches("^start%(%): /tmp/[%w_./]+:1: no\nstack traceback:", message)
    ok, message = script.call(s, "stop", "exit")
    assert.is_nil(ok)
    assert.matches("^stop%(%): /tmp/[%w_./]+:2: x\n", message)
  end)
end)
