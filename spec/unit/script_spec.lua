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
    { "return { filer = print }", "unknown field 'filer'; did you mean 'filter'%?$" },
    { "return { filter = print, init = print }", "unknown field 'init'; did you mean 'start'%?$" },
    { "return { filter = print, nonsense = 1 }",
      "unknown field 'nonsense'; it may have filter, start, save, restore, stop, queue, flow, stream, send, arp, "
        .. "private and needs" },
    { "return { filter = print, [1] = 1 }", "unknown field '1'; it may have filter" },
    { "return { filter = print, start = 1 }", "field 'start' must be a function" },
    { "return { filter = print, stop = {} }", "field 'stop' must be a function" },
    { "return { filter = print, queue = 1 }", "field 'queue' must be a table" },
    { "return { filter = print, queue = { copy = 'all' } }", "queue.copy must be" },
    { "return { filter = print, queue = { range = 0 } }", "queue.range must be an integer" },
    { "return { filter = print, queue = { range = 1.5 } }", "queue.range must be an integer" },
    { "return { filter = print, queue = { rnge = 1 } }",
      "queue has an unknown field 'rnge'; did you mean 'range'%?$" },
    { "return { filter = print, queue = { snaplen = 1 } }", "unknown field 'snaplen'; did you mean 'range'%?$" },
    { "return { filter = print, queue = { x = 1 } }",
      "queue has an unknown field 'x'; it may have copy, range and sent$" },
    { "return { filter = print, queue = { sent = 1 } }", "queue.sent must be true or false$" },
    { "return { filter = print, send = 1 }", "field 'send' must be a boolean, not a number$" },
    { "return { filter = print, needs = 0.2 }",
      "field 'needs' must be a version in text, as \"0.2\" or \"0.2.1\", not the number 0.2$" },
    { "return { filter = print, needs = {} }", "field 'needs' must be a version in text, [^\n]*, not a table$" },
    { "return { filter = print, needs = '' }", "field 'needs' must be a version in text, [^\n]*, not \"\"$" },
    { "return { filter = print, needs = '1' }", "must be a version in text" },
    { "return { filter = print, needs = '0.2.' }", "must be a version in text" },
    { "return { filter = print, needs = '0.2.1.1' }", "must be a version in text" },
    { "return { filter = print, needs = 'v0.2' }", "must be a version in text" },
    { "return { filter = print, needs = '0.2-rc' }", "must be a version in text" },
    -- What else it has may be why.
    { "return { filter = print, stream = {}, needs = '99.0' }",
      "the script needs ipq%-lua 99.0, this is %d+%.%d+%.%d+$" },
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
      assert.matches("^/tmp/%S+:1: ipq.takes%(%) takes the names of arguments, or one table of them, not a number\n",
        (select(2, with "('a', 5)")))
      assert.matches("^/tmp/%S+:1: ipq.takes%(%) takes [^\n]*, not a table\n", (select(2, with "('a', { b = 1 })")))
    end)

    it("names what was meant", function()
      for word, meant in pairs { ["limti=1"] = "limit", ["Limit=1"] = "limit", limit = "limit", ["prot=1"] = "port" } do
        assert.matches("'" .. word .. "' is no argument of this script, which takes limit=, port=; did you mean '"
          .. meant .. "='%?\n", (select(2, with("('limit', 'port')", word))))
      end
    end)

    it("knows nothing of what another script was given", function()
      assert.is_nil((with("('a')", "b=1")))
      assert(with "('a')")
    end)
  end)

  describe("with ipq.takes {}", function()
    local function with(text, ...)
      return load_text(("local ipq = require 'ipq'\nipq.takes %s\nlocal args = ipq.args\n"
        .. "return { filter = function() return args end }"):format(text), { ... })
    end

    local all = [[{ port = 443, verbose = false, iface = "eth0", limit = { type = "number" }, list = { type = "file" },
      deep = { type = "boolean", default = true } }]]

    it("gives the values their types, in ipq.args and to start()", function()
      local s = assert(with(all, "port=0x50", "verbose=yes", "iface=", "limit=-1.5e3", "list=/dev/null", "deep=off"))
      local expected = { port = 80, verbose = true, iface = "", limit = -1500, list = "/dev/null", deep = false }
      assert.same(expected, s.args)
      assert.equal(s.args, s.filter())
    end)

    it("gives defaults, and nil where there is none", function()
      assert.same({ port = 443, verbose = false, iface = "eth0", deep = true }, assert(with(all)).args)
      assert.same({}, assert(with "{}").args)
      assert.same({ port = 2 }, assert(with("{ port = 1 }", "port=1", "port=2")).args)
    end)

    for word, ports in pairs { ["80"] = { 80 }, ["22,8000-8002,1"] = { 22, 8000, 8001, 8002, 1 },
      ["65535-65535"] = { 65535 } } do
      it("knows the ports " .. word, function()
        assert.same(ports, assert(with("{ a = { type = 'ports', default = '7' } }", "a=" .. word)).args.a)
        assert.same(ports, assert(with("{ a = { type = 'ports', default = '" .. word .. "' } }")).args.a)
      end)
    end
    assert.is_nil(assert(with "{ a = { type = 'ports' } }").args.a)

    for _, word in ipairs { "", "x", "0", "65536", "80,", ",80", "80,,81", "9-8", "8-", "-8", "8-9-10", "0x50", "1e3",
      "80 ", "99999999999999999999" } do
      it("has no port in '" .. word .. "'", function()
        local loaded, message = with("{ a = { type = 'ports' } }", "a=" .. word)
        assert.is_nil(loaded)
        assert.truthy(message:find("a=" .. word .. ": the argument a takes ports from 1 to 65535, as 80 or "
          .. "22,8000-8003\n", 1, true), message)
      end)
    end

    for word, value in pairs { yes = true, ["true"] = true, ["1"] = true, on = true, no = false, ["false"] = false,
      ["0"] = false, off = false } do
      it("knows the boolean " .. word, function()
        assert.equal(value, assert(with("{ a = false }", "a=" .. word)).args.a)
      end)
    end

    local refused = {
      ["port=many"] = "port=many: the argument port takes a number\n",
      ["port="] = "port=: the argument port takes a number\n",
      ["port=nan"] = "port=nan: the argument port takes a number\n",
      ["port=inf"] = "port=inf: the argument port takes a number\n",
      ["verbose=maybe"] = "verbose=maybe: the argument verbose takes yes or no (true or false, 1 or 0, on or off)\n",
      ["list=/nonexistent/x"] = "list=/nonexistent/x: the argument list takes a file that can be read: No such file or "
        .. "directory\n",
      ["list=/tmp"] = "list=/tmp: the argument list takes a file that can be read: Is a directory\n",
      ["list="] = "list=: the argument list takes a file that can be read: No such file or directory\n",
      ["prot=1"] = "'prot=1' is no argument of this script, which takes deep=, iface=, limit=, list=, port=, verbose=; "
        .. "did you mean 'port='?\n",
      verbose = "'verbose' is no argument of this script, which takes deep=, iface=, limit=, list=, port=, verbose=; "
        .. "did you mean 'verbose='?\n",
    }
    for word, text in pairs(refused) do
      it("refuses, at the script's line, " .. word, function()
        local s, message, code = with(all, word)
        assert.is_nil(s)
        assert.equal(text, (message:match "^/tmp/[%w_./]+:2: (.-\n)"))
        assert.equal("EBAD", code)
      end)
    end

    it("refuses to be without what is required, and a default file that is not there", function()
      for text, expected in pairs {
        ["{ list = { type = 'file', required = true } }"] =
          "the argument list= is missing: it takes a file that can be read",
        ["{ n = { type = 'number', required = true } }"] = "the argument n= is missing: it takes a number",
        ["{ list = { type = 'file', default = '/nonexistent' } }"] =
          "list=/nonexistent: the argument list takes a file that can be read: No such file or directory",
      } do
        assert.equal(expected, ((select(2, with(text))):match "^/tmp/[%w_./]+:2: (.-)\n"))
      end
      assert.equal(5, assert(with("{ n = { type = 'number', required = true } }", "n=5")).args.n)
    end)

    it("reads nothing of a file that it looks at", function()
      local fifo = os.tmpname()
      os.execute(("rm %s; mkfifo %s"):format(fifo, fifo))
      finally(function() os.remove(fifo) end)
      -- To open it would wait for somebody who writes.
      assert.equal(fifo, assert(with("{ list = { type = 'file' } }", "list=" .. fifo)).args.list)
    end)

    local misused = {
      ["{ 'port' }"] = "names come with their values, { port = 443 }; names alone go without the braces, "
        .. "ipq.takes(\"port\")",
      ["{ port = print }"] = "port must be a default, which is text, a number or a boolean, or a table with a type; "
        .. "not a function",
      ["{ port = {} }"] = "port: the type must be \"string\", \"number\", \"boolean\", \"ports\" or \"file\", not nil",
      ["{ port = { type = 'int' } }"] =
        "port: the type must be \"string\", \"number\", \"boolean\", \"ports\" or \"file\", not int",
      ["{ port = { type = 'number', default = '1' } }"] = "port: the default must be a number, not a string",
      ["{ port = { type = 'file', default = 1 } }"] = "port: the default must be a string, not a number",
      ["{ port = { type = 'number', max = 1 } }"] =
        "port has an unknown field 'max'; it may have type, default and required",
      ["{ port = { type = 'number', required = 1 } }"] = "port: required must be true or false",
      ["{ port = { type = 'number', required = true, default = 1 } }"] = "port: what is required has no default",
      ["{ ['a=b'] = 1 }"] = "'a=b' cannot be the name of an argument",
    }
    for text, expected in pairs(misused) do
      it("raises, at the script's line, for " .. text, function()
        assert.equal("ipq.takes(): " .. expected, ((select(2, with(text))):match "^/tmp/[%w_./]+:2: (.-)\n"))
      end)
    end
  end)

  it("refuses a second ipq.takes(), at the script's line", function()
    local _, message = load_text "local ipq = require 'ipq'\nipq.takes('a')\nipq.takes { b = 1 }\nreturn print"
    assert.matches("^/tmp/[%w_./]+:3: ipq.takes%(%) was called before: one call names all arguments\n", message)
  end)

  it("takes a script that needs this version, or an older one", function()
    local own = require "ipq".version
    for _, version in ipairs { own, own:match "^%d+%.%d+", "0.0", "0.0.99" } do
      assert(load_text(("return { filter = print, needs = %q }"):format(version)))
    end
  end)

  it("compares versions by their numbers", function()
    local refusal = require "ipq.engine.version".refusal
    for _, pair in ipairs { { "0.9", "0.10.0" }, { "0.2", "0.2.0" }, { "0.2.3", "0.2.10" }, { "1.0", "2.0.0" },
      { "0.9.9", "1.0.0" } } do
      assert.is_nil(refusal(pair[1], pair[2]))
    end
    for _, pair in ipairs { { "0.10", "0.9.9" }, { "0.2.1", "0.2.0" }, { "1.0", "0.99.99" }, { "2.0", "1.9.9" } } do
      assert.equal(("the script needs ipq-lua %s, this is %s"):format(pair[1], pair[2]), refusal(pair[1], pair[2]))
    end
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
