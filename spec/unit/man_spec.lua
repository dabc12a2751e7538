-- The manual pages of the program and of the module name what there is, and their examples run.
local document = require "spec.support.document"
local ipq = require "ipq"
local netns = require "spec.support.netns"
local packet = require "ipq.packet.view"
local support = require "spec.support.libipq"

local PROGRAM, MODULE, EXAMPLES = "host/man/ipq-lua.1", "bindings/man/ipq.3lua", "host/man/ipq-lua-examples.7"
-- Of modules beside the module ipq.
local MORE = { "bindings/man/ipq.dns.3lua", "bindings/man/ipq.domainset.3lua", "bindings/man/ipq.http.3lua",
  "bindings/man/ipq.quic.3lua", "bindings/man/ipq.tls.3lua" }
local PAGES = { PROGRAM, MODULE, EXAMPLES, unpack(MORE) }

-- A page's text without roff's own: "\-", "\e", "\&", "\(dq".
local function plain(text)
  return (text:gsub("\\%(dq", '"'):gsub("\\e", "\\"):gsub("\\%-", "-"):gsub("\\&", ""))
end

-- What stands between a heading of the page (.Sh or .Ss) and the next.
local function section(path, title)
  local text = document.read(path)
  local _, last = text:find("\n.S[hs] " .. title .. "\n", 1, false)
  assert(last, path .. " has no section " .. title)
  return text:sub(last, (text:find("\n.S[hs] ", last) or 0) - 1)
end

-- The text of a page's listings, by what the comment before each calls it: "example: NAME", "file: PATH".
local function listings(path)
  local found = {}
  for kind, name, text in document.read(path):gmatch '%.\\" (%l+): (%S+)\n%.Bd %-literal[^\n]*\n(.-\n)%.Ed\n' do
    found[#found + 1] = { kind = kind, name = name, text = plain(text) }
  end
  return found
end

describe("the manual pages", function()
  for _, path in ipairs(PAGES) do
    it("raise no warning: " .. path, function()
      assert.equal("", support.must("LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l -Tutf8 " .. path
        .. " 2>&1 >/dev/null"))
      -- mandoc does not know Lua's section, and the pages refer to each other before they are installed.
      assert.equal("", (support.run("mandoc -T lint " .. path .. " 2>/dev/null | grep -v "
        .. "'referenced manual not found\\|unknown manual section: Dt ... 3lua'")))
    end)
  end

  it("have README's examples as they are there, and files as they are", function()
    local examples, seen = document.examples(), 0
    for _, path in ipairs { PROGRAM, MODULE, EXAMPLES } do
      for _, listing in ipairs(listings(path)) do
        if listing.kind == "file" then
          assert.equal(document.read(listing.name), listing.text)
        else
          assert.equal(examples[listing.name] or listing.text, listing.text)
        end
        seen = seen + 1
      end
    end
    assert.equal(14, seen)
  end)

  it("name no other page that is ours than those that there are", function()
    local pages = {}
    for name, number in support.must "ls lib/libipq/man host/man bindings/man":gmatch "([%w_.-]+)%.(%d%a*)\n" do
      pages[name .. " " .. number] = true
    end
    for _, path in ipairs(PAGES) do
      for name in document.read(path):gmatch "\n%.Xr ((l?i?b?ipq%S* %d%a*))" do
        assert.truthy(pages[name:gsub("%s*,$", "")], path .. ": " .. name)
      end
    end
  end)
end)

describe("the pages of modules beside the module ipq", function()
  -- What the pages call an object of a class.
  local names_of = { Domainset = "set" }

  for _, path in ipairs(MORE) do
    local name, short = path:match "(ipq%.(%a+))%.3lua$"
    local page, types = plain(document.read(path)), document.read("bindings/types/" .. name:gsub("%.", "/") .. ".lua")

    it("name what the annotations name, and the annotations what there is: " .. name, function()
      local seen = 0
      for owner, sign, method in types:gmatch "\nfunction (%w+)([.:])([%w_]+)%(" do
        local called = names_of[owner] or owner:lower()
        assert.truthy(page:find(".Fn " .. called .. sign .. method .. "%f[^%w_]"), method)
        if sign == "." then assert.is_function(ipq[short][method]) end
        seen = seen + 1
      end
      assert.is_true(seen > 0)
      for field in types:gmatch "%-%-%-@field ([%w_]+)" do
        assert.truthy(page:find("\n%.[%a ]-[LV][ia] [^\n]-%f[%w_]" .. field .. "%f[^%w_]"), field)
      end
      local module = type(ipq[short]) == "table" and ipq[short] or {}
      for method in pairs(module) do assert.truthy(types:find("." .. method .. "(", 1, true), method) end
    end)

    it("have examples that can be used: " .. name, function()
      local seen = 0
      for _, listing in ipairs(listings(path)) do
        local script = document.temporary(listing.text)
        finally(function() os.remove(script) end)
        local output, ok = support.run(("ASAN_OPTIONS=detect_leaks=0 %s --check %s %s"):format(netns.program, script,
          listing.text:find "list = {" and "list=/dev/null" or ""))
        assert.is_true(ok, output)
        seen = seen + 1
      end
      assert.is_true(seen > 0)
    end)
  end
end)

describe("ipq-lua(1)", function()
  local text = plain(document.read(PROGRAM))

  for _, option in ipairs(document.options()) do
    it("has a paragraph on --" .. option.name, function()
      local item = text:match("\n(%.It [^\n]*Fl %-" .. option.name:gsub("%-", "%%-") .. "%f[%s\n][^\n]*)\n")
      assert.truthy(item, "there is no .It for it")
      if option.letter then assert.truthy(item:find("Fl " .. option.letter .. "%f[%s\n]"), item) end
      if option.takes_value then
        assert.truthy(item:find("Fl %-" .. option.name:gsub("%-", "%%-") .. " [AC][rm] "), item)
      end
    end)
  end

  it("names no option that there is not", function()
    local options = {}
    for _, option in ipairs(document.options()) do
      options["-" .. option.name] = true
      if option.letter then options[option.letter] = true end
    end
    -- Those in listings are of other programs, too.
    local words = text:gsub("\n%.Bd.-\n%.Ed\n", "\n")
    for line in words:gmatch "\n%.[^\n]*Fl [^\n]*" do
      for name in line:gmatch "Fl ([%w-]+)" do assert.is_true(options[name], name) end
    end
  end)

  it("has the exit statuses that README has", function()
    local page = section(PROGRAM, "EXIT STATUS")
    local rows = document.read "README.md":match "| exit status | |\n|%-%-%-|%-%-%-|(\n.-)\n\n"
    local seen = 0
    for statuses in rows:gmatch "\n| ([%d, ]+) |" do
      for number in statuses:gmatch "%d+" do
        assert.truthy(page:find("\n%.It [%d ,]*%f[%d]" .. number .. "%f[%D]"), number)
        seen = seen + 1
      end
    end
    assert.is_true(seen >= 10)
  end)

  it("names the variables that the program reads", function()
    local page = section(PROGRAM, "ENVIRONMENT")
    local uses = support.must("grep -ho 'getenv[ (]*\"[A-Z_]*\"' host/*.c bindings/*.c bindings/ipq/*.lua "
      .. "bindings/ipq/test/*.lua")
    for name in uses:gmatch "\"([A-Z_]+)\"" do
      assert.truthy(page:find(name, 1, true), name)
    end
  end)
end)

describe("ipq(3lua)", function()
  local text = plain(document.read(MODULE))

  -- The variables (.Va a , b) of a text.
  local function variables(of)
    local names = {}
    for line in of:gmatch "[^\n]*Va [^\n]*" do
      for name in line:gmatch "[%a_][%w_.]*" do names[name] = true end
    end
    return names
  end

  it("names every field of a packet, and says which can be assigned", function()
    local page = section(MODULE, "Packets")
    local named = variables(page)
    for name in pairs(packet.fields()) do assert.is_true(named[name], name) end
    local assignable = {}
    local head
    for line in page:gmatch "[^\n]+" do
      head = line:match "^%.It Va (.*)" or not line:find "^%.It" and head or nil
      if head and line:find "^Can be assigned" then
        for name in head:gmatch "[%w_]+" do assignable[name] = true end
      end
    end
    for name, is_assignable in pairs(packet.fields()) do
      assert.equal(is_assignable, assignable[name] or false, name)
    end
  end)

  local headers = { "ip", "ip6", "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp", "ah",
    "ether", "arp" }
  for _, name in ipairs(headers) do
    it("names every field and function of pkt." .. name, function()
      local page, body = section(MODULE, "Headers") .. "\n.It end\n"
      local at = 1
      while true do
        local first, last, head = page:find("\n%.It Va ([^\n]*)\n", at)
        if not first then break end
        local next_item = page:find("\n.It ", last, true) or page:find("\n.El", last, true)
        if (head .. " "):find("pkt." .. name .. " ", 1, true) then body = page:sub(last, next_item) end
        at = last
      end
      local named = variables(assert(body, "there is no .It for it"))
      local fields, methods = packet.header_fields(name)
      for field in pairs(fields) do assert.is_true(named[field], field) end
      for method in pairs(methods) do
        assert.truthy(body:find(".Fn pkt." .. name .. ":" .. method .. " ", 1, true), method)
      end
    end)
  end

  it("names what the module has", function()
    for name in pairs(ipq) do
      if name ~= "log" then
        assert.truthy(text:find("Va ipq." .. name .. "%f[^%w_]") or text:find("Fn ipq." .. name .. "%f[^%w_]"), name)
      end
    end
    -- What else it has is this program's own.
    for _, name in ipairs { "debug", "info", "warn", "error" } do
      assert.is_function(ipq.log[name])
      assert.truthy(text:find("Fn ipq.log." .. name .. " ", 1, true), name)
    end
  end)

  it("names what the annotations name: methods, options, the kit and its assertions", function()
    local letters = { Buffer = "b", Netset = "set", Held = "held", Timer = "timer", Queue = "queue",
      Packet = "pkt", Filter = "filter", OwnPacket = "own", Flow = "flow", Stream = "stream" }
    local seen = 0
    local function check(path, kit)
      for owner, sign, name in document.read(path):gmatch "\nfunction (%w+)([.:])([%w_]+)%(" do
        local place = kit and { test = "t", assertions = "assert", Packet = "packet" } or {}
        local prefix = place[owner] or letters[owner]
        if prefix then
          assert.truthy(text:find("Fn " .. prefix .. (owner == "assertions" and "." or sign) .. name
            .. "%f[^%w_]"), owner .. sign .. name)
          seen = seen + 1
        end
      end
    end
    check "bindings/types/ipq.lua"
    check("bindings/types/ipq/test.lua", true)
    assert.is_true(seen >= 50, seen)
    local options = document.read "bindings/types/ipq.lua":match "%-%-%-@class ipq%.OpenOptions\n(.-)\n\n"
    local named = variables(section(MODULE, "Programs of one's own"))
    for name in options:gmatch "@field ([%w_]+)%?" do assert.is_true(named[name], name) end
  end)

  it("names what the field stream has, and what t.connection() takes and gives", function()
    local page = section(MODULE, "Streams")
    local named = variables(page)
    for name in page:gmatch "\n%.It Fn (%a+) " do named[name] = true end
    local function check(path, pattern, field)
      local seen = 0
      for name in document.read(path):match(pattern):gmatch(field) do
        assert.is_true(named[name], name)
        seen = seen + 1
      end
      assert.is_true(seen >= 7)
    end
    check("bindings/types/ipq.lua", "%-%-%-@class ipq%.StreamOptions\n(.-)\n\n", "@field ([%w_]+)%?")
    check("bindings/types/ipq/test.lua", "%-%-%-@class ipq%.test%.Connection\n(.-)\n\n", "@field ([%w_]+)")
    check("bindings/types/ipq/test.lua", "@param options%? {(client[^\n]*)}\n[^\n]*\nfunction test%.connection",
      "([%w_]+)%?:")
  end)
end)

describe("ipq-lua-examples(7)", function()
  it("tells of every script", function()
    local heads = {}
    for line in document.read(EXAMPLES):gmatch "\n%.Ss ([^\n]+)" do
      for name in line:gmatch "[%w_]+%.lua" do heads[name] = true end
    end
    for _, name in ipairs(document.scripts()) do assert.is_true(heads[name], name) end
  end)

  it("has specs that pass", function()
    local dir = support.directory()
    finally(function() os.execute("rm -r " .. dir) end)
    local seen = 0
    for _, listing in ipairs(listings(EXAMPLES)) do
      if listing.name:match "^[%w_]+_spec%.lua$" then
        document.write(dir .. "/" .. listing.name, listing.text)
        seen = seen + 1
      end
    end
    assert.equal(2, seen)
    local output, ok = support.run(("ASAN_OPTIONS=detect_leaks=0 %s --test %s"):format(netns.program, dir))
    assert.is_true(ok, output)
    assert.matches("3 successes / 0 failures / 0 errors", output)
  end)

  it("has command lines whose scripts can be used", function()
    local seen = 0
    for script, arguments in plain(document.read(EXAMPLES)):gmatch "%f[%w]ipq%-lua ([%w_]+%.lua)([^\n]*)" do
      if script ~= "my_filter.lua" then
        arguments = arguments:gsub("/etc/blocklist.txt", "/dev/null")
        local output, ok = support.run(("%s --check scripts/%s %s"):format(netns.program, script, arguments))
        assert.is_true(ok, output)
        seen = seen + 1
      end
    end
    assert.is_true(seen >= 5, seen)
  end)
end)
