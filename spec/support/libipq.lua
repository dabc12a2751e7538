-- What the specs of libipq share: running commands and the test programs that are written in C.
local M = {}

M.build = os.getenv("IPQ_BUILD") or "build"
-- Before programs that are linked to the library: other ones need no sanitizer.
M.sanitizer = os.getenv("LD_PRELOAD")
M.environment = ("env LD_LIBRARY_PATH=%s LD_PRELOAD=%s "):format(M.build, M.sanitizer or "")

-- What a shell command prints on both outputs, and whether it succeeded.
function M.run(command)
  local pipe = assert(io.popen("unset LD_PRELOAD; { " .. command .. "\n} 2>&1; echo \" status $?\""))
  local output, status = pipe:read("*a"):match("^(.*) status (%d+)\n$")
  pipe:close()
  return output, tonumber(status) == 0
end

-- The same for a command that must succeed.
function M.must(command)
  local output, ok = M.run(command)
  if not ok then error(command .. ":\n" .. output, 2) end
  return output
end

function M.lines(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines
end

-- Writes the manual page's example to a file of C.
function M.write_example(path)
  local page = assert(io.open("lib/libipq/man/libipq.3"))
  local example = page:read("*a"):match("%.Sh EXAMPLES.-%.Bd %-literal\n(.-)%.Ed"):gsub("\\e", "\\")
  page:close()
  local file = assert(io.open(path, "w"))
  file:write(example)
  file:close()
end

-- What install-libipq makes of it below a directory, whose prefix is /usr.
function M.install(dir)
  M.must(("make --no-print-directory install-libipq DESTDIR=%s PREFIX=/usr BUILD=%s"):format(dir, M.build))
end

-- A directory that is gone when the spec is over: the caller's after_each or teardown removes it.
function M.directory()
  return M.must("mktemp -d"):gsub("\n", "")
end

function M.program(name)
  return M.environment .. M.build .. "/spec/libipq_" .. name
end

-- The sentences of a test program's cases, in the order of their numbers.
function M.cases(name)
  return M.lines(M.must(M.program(name)))
end

-- Runs one case; an error has what it printed.
function M.case(name, number)
  local output, ok = M.run(("timeout 60 %s %d"):format(M.program(name), number))
  if not ok then error(output ~= "" and output or "killed", 2) end
end

return M
