local document = require "spec.support.document"

-- A house with one file in each of a few rooms.
local function house(files)
  local root = os.tmpname()
  os.remove(root)
  for path, text in pairs(files) do
    assert(os.execute(("mkdir -p %s/%s"):format(root, path:match "^(.*)/")) == 0)
    document.write(root .. "/" .. path, text)
  end
  finally(function() os.execute("rm -rf " .. root) end)
  return root
end

local function check(files)
  local program = io.popen(("cd %s && mkdir -p lib bindings host && luajit %s/spec/layers.lua . 2>&1; echo $?")
    :format(house(files), os.getenv "PWD"))
  local output = program:read "*a"
  program:close()
  return output:match "^(.*)(%d+)\n$"
end

describe("make layers", function()
  local function refuses(message, path, include)
    local output, status = check { [path] = "\n" .. include .. "\n" }
    assert.equal("1", status)
    assert.equal(("%s:2: %s\n"):format(path, message), output)
  end

  it("lets a room include itself and what is below", function()
    local output, status = check {
      ["lib/queue/a.c"] = '#include "a.h"\n#include "lib/packet/packet.h"\n#include <stdio.h>\n',
      ["host/tools/a.c"] = '#include "host/supervise/a.h"\n#include "bindings/core.h"\n#include "lib/bytes.h"\n',
    }
    assert.equal("", output)
    assert.equal("0", status)
  end)

  it("refuses an include upwards, within lib and within host as between them", function()
    refuses("lib/packet includes upwards: lib/queue/queue.h is in lib/queue", "lib/packet/a.c",
      '#include "lib/queue/queue.h"')
    refuses("lib/queue includes upwards: host/base/log.h is in host/base", "lib/queue/a.c",
      '#include "host/base/log.h"')
    refuses("host/base includes upwards: host/judge/vm.h is in host/judge", "host/base/a.h",
      '#include "host/judge/vm.h"')
    refuses("host/rules includes upwards: host/supervise/child.h is in host/supervise", "host/rules/a.c",
      '#include "host/supervise/child.h"')
    refuses("bindings includes upwards: host/base/log.h is in host/base", "bindings/a.c", '#include "host/base/log.h"')
  end)

  it("refuses a room that it does not know, and what is libipq's own", function()
    refuses("cellar/a.h is in no room that spec/layers.lua knows", "host/base/a.c", '#include "cellar/a.h"')
    refuses("nothing but lib/libipq itself includes what is in there", "bindings/a.c", '#include "lib/libipq/libipq.h"')
  end)

  it("refuses Lua, printing and ending in lib", function()
    refuses("lib knows nothing of Lua", "lib/queue/a.c", "#include <lua.h>")
    refuses("lib neither prints nor ends the process: fprintf()", "lib/queue/a.c", '\tfprintf(stderr, "no");')
    refuses("lib neither prints nor ends the process: exit()", "lib/queue/a.c", "\texit(1);")
  end)

  it("finds nothing in this house", function()
    local program = io.popen "luajit spec/layers.lua; echo $?"
    local output = program:read "*a"
    program:close()
    assert.equal("0\n", output)
  end)
end)
