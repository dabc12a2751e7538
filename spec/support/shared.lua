-- Regions of shared tables that several processes have, and processes that are killed while they write.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local ipq = require "ipq"
local region = require "ipq.engine.region"

local C = abi.C

if not core.spec_processes then
  ffi.cdef [[
    int fork(void);
    int kill(int pid, int signal);
    int waitpid(int pid, int *status, int options);
    void _exit(int status);
    void *mmap(void *address, size_t size, int protection, int flags, int fd, long offset);
    int munmap(void *address, size_t size);
    unsigned alarm(unsigned seconds);
  ]]
  core.spec_processes = true
end

local P = ffi.C
local READ_WRITE, SHARED_ANONYMOUS, KILL = 3, 0x21, 9

local M = {}

function M.map(size)
  local address = P.mmap(nil, size, READ_WRITE, SHARED_ANONYMOUS, -1, 0)
  assert(address ~= ffi.cast("void *", -1))
  return address
end

--- A region that children share.
function M.new(size)
  local address = M.map(size)
  assert(C.ipq_shared_format(address, size) == 0)
  return { address = address, size = size }
end

function M.free(of) P.munmap(of.address, of.size) end

--- Has this process's tables be in it.
function M.use(of, worker) region.use(of.address, of.size, worker) end

--- Runs work() in a child that has that number; its process id.
function M.fork(of, worker, work)
  local pid = P.fork()
  assert(pid >= 0)
  if pid > 0 then return pid end
  local ok, why = pcall(function()
    M.use(of, worker)
    work()
  end)
  if not ok then io.stderr:write("a child: ", tostring(why), "\n") end
  P._exit(ok and 0 or 1)
end

--- The status that a child ended with: 9 where it was killed.
function M.wait(pid)
  local status = ffi.new "int[1]"
  assert(P.waitpid(pid, status, 0) == pid)
  return status[0]
end

--- Kills a child as the kernel would, and repairs what it has left. Milliseconds that this took.
function M.kill(of, pid, worker)
  local began = C.ipq_monotonic_us()
  P.kill(pid, KILL)
  local status = M.wait(pid)
  local left = C.ipq_shared_repair(of.address, of.size, worker)
  return (C.ipq_monotonic_us() - began) / 1000, status, left
end

--- Waits, without giving the processor away.
function M.pause(us)
  local target = C.ipq_monotonic_us() + us
  while C.ipq_monotonic_us() < target do end
end

-- What is written under a key tells by itself whether it is whole.

--- A key of each kind, by a number.
function M.key(i)
  local kind = i % 4
  if kind == 0 then return i end
  if kind == 1 then
    return ("10.%d.%d.%d"):format(bit.rshift(i, 16), bit.band(bit.rshift(i, 8), 255), bit.band(i, 255))
  end
  if kind == 2 then return "short" .. i end
  return ("a key of some length, number %d"):format(i)
end

--- The value number n of key number i: a number, or text of one letter whose length tells which one.
function M.value(i, n)
  if (i + n) % 3 == 0 then return i * 65536 + n % 65536 end
  local length = 1 + (i * 7 + n * 13) % 120
  return (string.char(97 + length % 26)):rep(length)
end

--- Whether that may be a value of key number i.
function M.is_whole(i, value)
  if type(value) == "number" then return math.floor(value / 65536) == i end
  return type(value) == "string" and #value > 0 and value == (string.char(97 + #value % 26)):rep(#value)
end

local SIZE, FILLED, CHURNED = 2 ^ 23, 6000, 400

--- Fills a table with keys of its own, and says after each how many there are.
local function fill(first, progress, slot)
  local filled = ipq.shared("filled", { entries = FILLED * 4, value = 128 })
  for i = 1, FILLED do
    local ok = filled:set(M.key(first + i), M.value(first + i, 0))
    -- The other one may be dead in the middle of it.
    while not ok do ok = filled:set(M.key(first + i), M.value(first + i, 0)) end
    progress[slot] = i
  end
end

--- Changes a small table that is full, for ever.
local function churn(seed)
  local churned = ipq.shared("churned", { entries = CHURNED / 4, value = 128 })
  local limits = ipq.shared("limits", { entries = 64 })
  math.randomseed(seed)
  local n = 0
  while true do
    local i = math.random(CHURNED)
    n = n + 1
    if n % 16 == 0 then churned:delete(M.key(i)) else churned:set(M.key(i), M.value(i, n), n % 5 == 0 and 1 or 0) end
    limits:bucket(i % 64, 1000, 10)
    limits:incr("sum " .. i % 8, 1, 0)
  end
end

local function check_filled(first, count)
  local filled = ipq.shared "filled"
  local deadline = C.ipq_monotonic_us() + 1e6
  for i = 1, count do
    local value, why
    -- The other child may have been interrupted in the middle of a change.
    repeat value, why = filled:get(M.key(first + i)) until why ~= "busy" or C.ipq_monotonic_us() > deadline
    if value ~= M.value(first + i, 0) then
      return ("key %d of %d: %s, %s"):format(first + i, first + count, tostring(value), tostring(why))
    end
  end
end

--- Looks at all keys of the small table, and changes some, until nothing of it is busy.
local function check_churned(result)
  local churned, limits = ipq.shared "churned", ipq.shared "limits"
  local began = C.ipq_monotonic_us()
  repeat
    local is_busy = false
    for i = 1, CHURNED do
      local value, why = churned:get(M.key(i))
      result.reads = result.reads + 1
      if why == "busy" then
        is_busy = true
      elseif why then
        return ("key %d: %s"):format(i, why)
      elseif value ~= nil and not M.is_whole(i, value) then
        return ("key %d is torn: %s"):format(i, tostring(value))
      end
      local has
      has, why = limits:bucket(i % 64, 1000, 10)
      if has == nil then is_busy = is_busy or why == "busy" end
    end
    if C.ipq_monotonic_us() - began > 1e6 then return "it is busy for a second" end
  until not is_busy
  result.worst_ms = math.max(result.worst_ms, (C.ipq_monotonic_us() - began) / 1000)
end

--- Kills two children a turn, so many turns, while they write; what is wrong then, and what there was.
function M.kills(turns, seed)
  local result = { kills = 0, inside = 0, reads = 0, worst_ms = 0, faults = {} }
  local progress = ffi.cast("volatile int *", M.map(4096))
  math.randomseed(seed)
  local function note(why) if why then result.faults[#result.faults + 1] = why end end
  for turn = 1, turns do
    local of = M.new(SIZE)
    M.use(of, 0)
    ipq.shared("filled", { entries = FILLED * 4, value = 128 })
    ipq.shared("churned", { entries = CHURNED / 4, value = 128 })
    progress[1], progress[2] = 0, 0
    local is_fill = turn % 2 == 0
    local children = {}
    for worker = 1, 2 do
      children[worker] = M.fork(of, worker, function()
        P.alarm(20)
        if is_fill then fill(worker * 100000, progress, worker) end
        churn(turn * 2 + worker)
      end)
    end
    for worker = 1, 2 do
      M.pause(math.random(200, 4000))
      local _, status, left = M.kill(of, children[worker], worker)
      result.kills = result.kills + 1
      if status ~= KILL then note("a child ended by itself: " .. status) end
      if left then result.inside = result.inside + 1 end
      note(check_churned(result))
      note(check_filled(worker * 100000, progress[worker]))
    end
    region.fresh()
    collectgarbage()
    M.free(of)
  end
  return result
end

return M
