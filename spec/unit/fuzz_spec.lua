-- What the fuzz targets begin with.
local support = require "spec.support.libipq"

--- How many files corpus.lua writes for these targets, by target.
local function seeds(targets)
  local dir = support.directory()
  finally(function() os.execute("rm -r " .. dir) end)
  for _, target in ipairs(targets) do support.must(("mkdir %s/%s"):format(dir, target)) end
  -- It loads lib.so, which under the sanitizers needs their library first.
  support.must(("LD_PRELOAD=%s luajit spec/fuzz/corpus.lua %s %s"):format(os.getenv "LD_PRELOAD" or "", dir,
    table.concat(targets, " ")))
  local counts = {}
  for path in support.must(("cd %s; find . -type f"):format(dir)):gmatch "%./([^/\n]+)/" do
    counts[path] = (counts[path] or 0) + 1
  end
  return counts
end

describe("the seeds of fuzz targets", function()
  it("are there for each of them", function()
    local targets = {}
    for name in support.must "ls spec/fuzz/*.c":gmatch "/([%w_]+)%.c\n" do targets[#targets + 1] = name end
    assert.is_true(#targets > 10)
    local counts = seeds(targets)
    for _, target in ipairs(targets) do assert.is_true((counts[target] or 0) > 0, target) end
  end)

  it("are written for those alone that are asked for", function()
    local counts = seeds { "netset" }
    assert.same({ netset = 10 }, counts)
  end)
end)
