-- The completion of the command line, in a bash that has no other completions loaded.
local document = require "spec.support.document"
local support = require "spec.support.libipq"

local root = support.must("pwd"):gsub("\n", "")

-- What bash offers for a command line whose last word is incomplete, sorted. The words are as bash makes them.
local function offers(dir, ...)
  local words = {}
  for _, word in ipairs { "ipq-lua", ... } do words[#words + 1] = "'" .. word .. "'" end
  local script = ([[
    cd %s || exit 1
    source %s/host/completion.bash
    function=$(complete -p ipq-lua | sed 's/.*-F \([^ ]*\) .*/\1/')
    COMP_WORDS=(%s); COMP_CWORD=%d
    "$function" ipq-lua
    printf '%%s\n' "${COMPREPLY[@]}"]]):format(dir, root, table.concat(words, " "), #words - 1)
  document.write(dir .. "/.complete", script)
  local list = support.lines(support.must("bash --norc --noprofile " .. dir .. "/.complete | sort -u"))
  return list
end

describe("the completion for bash", function()
  local dir

  setup(function()
    dir = support.directory()
    support.must(("cd %s; mkdir folder 'with space' spec; touch a.lua b.lua 'folder/c d.lua' spec/a_spec.lua in.pcap "
      .. "more.pcapng readme.txt"):format(dir))
  end)
  teardown(function() os.execute("rm -r " .. dir) end)

  it("offers every option of the program, and no others", function()
    local options = {}
    for _, option in ipairs(document.options()) do options[#options + 1] = "--" .. option.name end
    table.sort(options)
    assert.same(options, offers(dir, "--"))
    assert.same({ "--default" }, offers(dir, "--def"))
  end)

  it("offers scripts, and folders to look in", function()
    assert.same({ "a.lua", "b.lua", "folder/", "spec/", "with space/" }, offers(dir, ""))
    assert.same({ "folder/c d.lua" }, offers(dir, "folder/"))
    assert.same({ "a.lua" }, offers(dir, "--fail-open", "a"))
  end)

  for _, option in ipairs(document.options()) do
    local names = { "--" .. option.name, option.letter and "-" .. option.letter }
    for _, name in ipairs(names) do
      it(("knows whether %s has a value"):format(name), function()
        -- A script follows an option without value, and nothing does a value of which nothing is known.
        local has_value = table.concat(offers(dir, name, "a.l"), " ") ~= "a.lua"
        assert.equal(option.takes_value, has_value)
        if option.name ~= "test" and option.takes_value then
          assert.same({ "a.lua" }, offers(dir, name, "x", "a.l"))
          assert.same({ "a.lua" }, offers(dir, name, "=", "x", "a.l"))
        end
      end)
    end
  end

  it("offers verdicts", function()
    assert.same({ "accept", "drop", "reject" }, offers(dir, "--default", ""))
    assert.same({ "drop" }, offers(dir, "--on-error", "d"))
    assert.same({ "accept", "drop", "reject" }, offers(dir, "--default", "="))
    assert.same({ "accept", "drop" }, offers(dir, "--other", ""))
    assert.same({ "drop" }, offers(dir, "--default", "=", "dr"))
    assert.same({ "exit", "verdict" }, offers(dir, "--on-give-up", ""))
    assert.same({ "iptables", "nft" }, offers(dir, "--print-rules", ""))
  end)

  it("offers captures", function()
    assert.same({ "folder/", "in.pcap", "more.pcapng", "spec/", "with space/" }, offers(dir, "-r", ""))
    assert.same({ "in.pcap" }, offers(dir, "--pin", "--write", "i"))
  end)

  it("offers folders with specs, and specs", function()
    assert.same({ "folder/", "spec/", "with space/" }, offers(dir, "--test", ""))
    assert.same({ "spec/a_spec.lua" }, offers(dir, "--test", "spec/"))
  end)

  it("leaves the script's arguments to the files that there are", function()
    assert.same({ "readme.txt" }, offers(dir, "a.lua", "read"))
    assert.same({}, offers(dir, "a.lua", "--def"))
    assert.same({}, offers(dir, "-q", "3", "a.lua", "--def"))
  end)
end)
