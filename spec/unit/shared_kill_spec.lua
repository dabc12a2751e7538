local abi = require "ipq.engine.abi"
local ffi = require "ffi"
local ipq = require "ipq"
local processes = require "spec.support.shared"
local region = require "ipq.engine.region"

local C = abi.C
local SIZE = 2 ^ 22

-- Offsets of lib/flow/shared_layout.h: of the region's head, and of a set.
local TABLES, NOTES, TABLE_SIZE, NOTE_SIZE, LINE = 128, 128 + 64 * 128, 128, 64, 64
local TABLE_INDEX, TABLE_FIRST, TABLE_MASK = 64, 72, 88
local SET_SPLIT, SET_HEAP, SET_MOVED, SET_DEPTH, SET_TARGET, FIRST_VALUE = 48, 56, 60, 62, 63, 64 + 16
local EBADMSG, EPROTO = -74, -71 -- errno.h, negative

describe("a region of shared tables", function()
  local of
  before_each(function()
    of = processes.new(SIZE)
    processes.use(of, 0)
  end)
  after_each(function()
    region.fresh()
    collectgarbage()
    processes.free(of)
  end)

  local function u32(offset) return ffi.cast("uint32_t *", ffi.cast("char *", of.address) + offset) end
  local function set_at(place) return place * LINE end
  local function first_set(number) return set_at(u32(TABLES + (number or 0) * TABLE_SIZE + TABLE_FIRST)[0]) end

  it("is one for all processes", function()
    local t = ipq.shared "t"
    t:set("a", 1)
    local child = processes.fork(of, 1, function()
      local own = ipq.shared "t"
      assert(own:get "a" == 1)
      own:incr "a"
      own:set("text", ("x"):rep(200))
    end)
    assert.equal(0, processes.wait(child))
    assert.equal(2, t:get "a")
    assert.equal(("x"):rep(200), t:get "text")
  end)

  it("counts right, whoever adds", function()
    ipq.shared("t", { entries = 1000 }):set("sum", 0)
    local children = {}
    for worker = 1, 2 do
      children[worker] = processes.fork(of, worker, function()
        local t, done = ipq.shared "t", 0
        while done < 100000 do
          if t:incr("sum") then done = done + 1 end
          t:incr("key " .. done % 500, 1, 0)
        end
      end)
    end
    for worker = 1, 2 do assert.equal(0, processes.wait(children[worker])) end
    assert.equal(200000, ipq.shared "t":get "sum")
  end)

  it("shows no reader half of a change", function()
    -- More keys than the one set takes, and so much text that copying it takes a while.
    local KEYS, LENGTH, READS = 24, 16000, 250000
    local function letter(i) return (string.char(96 + i)) end
    ipq.shared("t", { entries = 8, value = LENGTH })
    local child = processes.fork(of, 1, function()
      local t, n = ipq.shared "t", 0
      while true do
        n = n + 1
        local i = n * 7 % KEYS + 1
        t:set("key number " .. i .. ", which is long", letter(i):rep(LENGTH - n % 10))
      end
    end)
    local t, found = ipq.shared "t", 0
    for n = 1, READS do
      local i = n % KEYS + 1
      local value = t:get("key number " .. i .. ", which is long")
      if value then
        found = found + 1
        if value ~= letter(i):rep(#value) then
          processes.kill(of, child, 1)
          error(("key %d has %q"):format(i, value:gsub("(.)%1+", "%1")))
        end
      end
    end
    processes.kill(of, child, 1)
    assert.is_true(found > 1000)
  end)

  it("is known by its version and its size", function()
    assert.equal(0, C.ipq_shared_check(of.address, of.size))
    assert.equal(EBADMSG, C.ipq_shared_check(of.address, of.size / 2))
    u32(8)[0] = 99
    assert.equal(EPROTO, C.ipq_shared_check(of.address, of.size))
    u32(0)[0] = 99
    assert.equal(EBADMSG, C.ipq_shared_check(of.address, of.size))
    assert.is_false(C.ipq_shared_repair(of.address, of.size, 0))
  end)

  it("is taken again when a process has overwritten what it is known by", function()
    ipq.shared("t"):set("a", 1)
    assert.is_false(C.ipq_shared_mend(of.address, of.size))
    ffi.fill(of.address, 24)
    assert.equal(EBADMSG, C.ipq_shared_check(of.address, of.size))
    assert.is_true(C.ipq_shared_mend(of.address, of.size))
    processes.use(of, 1)
    assert.equal(1, ipq.shared("t"):get "a")
  end)

  it("tells how much of it is used", function()
    local figures = ffi.new "struct ipq_shared_figures"
    ipq.shared("t", { entries = 1000 })
    C.ipq_shared_figures(of.address, of.size, figures)
    local before = tonumber(figures.used)
    for i = 1, 1000 do ipq.shared "t":set(i, i) end
    C.ipq_shared_figures(of.address, of.size, figures)
    assert.same({ 1, SIZE, 0 }, { figures.tables, tonumber(figures.size), figures.damaged })
    -- 1,000 keys take some 60 bytes each.
    local used = tonumber(figures.used) - before
    assert.is_true(used > 40000 and used < 80000, tostring(used))
  end)

  describe("whose process has died", function()
    -- What another process would have left: its lock, and what it has noted before.
    local function leave(offset, worker, place)
      u32(offset)[0] = worker + 1
      ffi.cast("uint64_t *", ffi.cast("char *", of.address) + NOTES + worker * NOTE_SIZE)[0] = place
    end

    it("is busy until it is repaired, and then as it was", function()
      local t, other = ipq.shared "t", ipq.shared "other"
      t:set("a", 1)
      leave(first_set(), 1, first_set() / LINE)
      u32(first_set() + 4)[0] = 5 -- a change has begun
      local began = C.ipq_monotonic_us()
      assert.same({ nil, "busy" }, { t:set("a", 2) })
      assert.same({ nil, "busy" }, { t:incr "a" })
      assert.same({ nil, "busy" }, { t:get "a" })
      assert.is_true(C.ipq_monotonic_us() - began < 1e6)
      assert.is_true(other:set("a", 2))
      assert.is_false(C.ipq_shared_repair(of.address, of.size, 2))
      assert.same({ nil, "busy" }, { t:get "a" })
      assert.is_true(C.ipq_shared_repair(of.address, of.size, 1))
      assert.is_false(C.ipq_shared_repair(of.address, of.size, 1))
      assert.equal(1, t:get "a")
      assert.equal(2, t:incr "a")
    end)

    it("lets the directory go", function()
      leave(68, 1, 0xffffffffffffffffULL)
      assert.is_true(C.ipq_shared_repair(of.address, of.size, 1))
      ipq.shared "t":set("a", 1)
    end)

    it("wakes who waits for a lock", function()
      leave(68, 1, 0xffffffffffffffffULL)
      local child = processes.fork(of, 2, function() ipq.shared "t" end)
      -- LuaJIT reads another number once, before the loop.
      local lock, deadline = ffi.cast("volatile uint32_t *", u32(68)), C.ipq_monotonic_us() + 5e6
      repeat assert(C.ipq_monotonic_us() < deadline) until lock[0] == 0x80000002
      local began = C.ipq_monotonic_us()
      assert.is_true(C.ipq_shared_repair(of.address, of.size, 1))
      assert.equal(0, processes.wait(child))
      -- It would look again by itself after a second.
      assert.is_true(C.ipq_monotonic_us() - began < 5e5)
    end)

    it("is repaired by a successor of the same number, too", function()
      local t = ipq.shared "t"
      t:set("a", 1)
      leave(first_set(), 0, first_set() / LINE)
      u32(first_set() + 4)[0] = 5
      assert.is_true(t:set("a", 2))
      assert.equal(2, t:get "a")
    end)

    it("is not locked by a number that nobody can have", function()
      local t = ipq.shared "t"
      u32(first_set())[0] = 5000
      assert.is_true(t:set("a", 2))
    end)

    -- A split at each step that a death may come in: slots of the index that tell of the new set already.
    for _, slots in ipairs { 0, 1, 100, 32768 } do
      it(("completes its split, of which %d steps were made"):format(slots), function()
        local t = ipq.shared("t", { entries = 10000 })
        for i = 1, 16 do t:set(i, i) end
        local first, index = u32(TABLES + TABLE_FIRST)[0], u32(TABLES + TABLE_INDEX)[0]
        t:set(17, 17)
        local slot = ffi.cast("uint32_t *", ffi.cast("char *", of.address) + index * LINE)
        local new
        for i = 0, 65535 do if slot[i] ~= 0 then new = new or slot[i] end end
        assert(u32(set_at(first) + 56)[0] == 0)
        -- One split was enough (of 32,768 times one more is needed).
        assert.equal(1, u32(TABLES + TABLE_MASK)[0])
        t:delete(17)
        local byte = ffi.cast("uint8_t *", ffi.cast("char *", of.address) + set_at(first))
        local made = 0
        for i = 1, 65535, 2 do
          if made < slots then made = made + 1 else slot[i] = 0 end
        end
        u32(set_at(first) + SET_SPLIT)[0] = new
        byte[SET_TARGET] = 1
        byte[62] = 0
        u32(set_at(first) + 4)[0] = 7
        leave(set_at(first), 1, first)
        assert.is_true(C.ipq_shared_repair(of.address, of.size, 1))
        for i = 1, 16 do assert.equal(i, t:get(i)) end
        for i = 1, 65535, 2 do assert.equal(new, slot[i]) end
        assert.equal(1, byte[62])
        assert.equal(0, u32(set_at(first) + SET_SPLIT)[0])
        assert.is_true(ffi.cast("uint16_t *", byte + SET_MOVED)[0] ~= 0)
      end)
    end
  end)

  it("is whole whenever a process is killed while it writes", function()
    local result = processes.kills(60, 1)
    assert.same({}, result.faults)
    assert.equal(120, result.kills)
    assert.is_true(result.inside > 0)
    assert.is_true(result.worst_ms < 500, result.worst_ms .. " ms")
  end)

  describe("in which anything stands", function()
    it("is emptied where it cannot be, and says so", function()
      local t = ipq.shared("t", { entries = 10000 })
      for i = 1, 10000 do t:set(i, "text " .. i) end
      local index = ffi.cast("uint32_t *", ffi.cast("char *", of.address) + u32(TABLES + TABLE_INDEX)[0] * LINE)
      for i = 0, 65535 do index[i] = 0xffffffff end
      assert.same({ nil, "damaged, and emptied" }, { t:get(5) })
      assert.is_true(t:set(5, 5))
      assert.equal(5, t:get(5))
      local figures = ffi.new "struct ipq_shared_figures"
      C.ipq_shared_figures(of.address, of.size, figures)
      assert.is_true(figures.damaged > 0)
    end)

    it("has a table made anew that leads out of it", function()
      local other, t = ipq.shared "other", ipq.shared "t"
      t:set("a", 1)
      other:set("a", 2)
      for _, field in ipairs { TABLE_INDEX, TABLE_INDEX + 4, TABLE_FIRST } do
        u32(TABLES + TABLE_SIZE + field)[0] = 0xffffffff
        t = ipq.shared "t"
        assert.is_nil(t:get "a")
        assert.is_true(t:set("a", 1))
        assert.equal(1, ipq.shared "t":get "a")
      end
      assert.equal(2, ipq.shared "other":get "a")
    end)

    it("gives no text from behind the set's heap", function()
      local t = ipq.shared "t"
      t:set("a", "text")
      local value = ffi.cast("uint64_t *", ffi.cast("char *", of.address) + first_set() + FIRST_VALUE)
      for _, bits in ipairs { 0xfffa000002004000ULL, 0xfffaffffff000004ULL, 0xfffa000000000004ULL } do
        value[0] = bits
        assert.same({ nil, "damaged, and emptied" }, { t:get "a" })
        assert.is_nil(t:get "a")
        t:set("a", "text")
        assert.equal("text", t:get "a")
      end
    end)

    it("gives no text from behind its own end", function()
      local t = ipq.shared "t"
      t:set("a", "text")
      local bytes = ffi.cast("char *", of.address)
      local value = ffi.cast("uint64_t *", bytes + first_set() + FIRST_VALUE)
      -- A heap in the last line, which says that it goes on for a part of another one.
      u32(first_set() + SET_HEAP)[0] = SIZE / LINE - 1
      u32(SIZE - LINE)[0] = LINE + 63
      value[0] = 0xfffa000000000000ULL + bit.lshift(LINE / 8 + 0ULL, 24) + 63
      assert.same({ nil, "damaged, and emptied" }, { t:get "a" })
    end)

    it("gives no number whose bits LuaJIT would take for something else", function()
      local t = ipq.shared "t"
      t:set("a", 1)
      local value = ffi.cast("uint64_t *", ffi.cast("char *", of.address) + first_set() + FIRST_VALUE)
      for _, bits in ipairs { 0xfffb000000001000ULL, 0xffffffffffffffffULL, 0x7ff8000000000001ULL } do
        value[0] = bits
        for _, read in ipairs { function() return t:get "a" end, function() return (t:incr("a", 1)) end } do
          local number = read()
          assert.equal("number", type(number))
          assert.is_true(number ~= number)
        end
      end
    end)

    it("keeps nobody who lists or clears a table of which each set is being changed", function()
      local t = ipq.shared "t"
      t:set("a", 1)
      local index = ffi.cast("uint32_t *", ffi.cast("char *", of.address) + u32(TABLES + TABLE_INDEX)[0] * LINE)
      -- Each place of the index has one set, whose head alone is written; a few hundred are enough to wait too long.
      local sets = 4096
      u32(TABLES + TABLE_MASK)[0] = sets - 1
      for i = 0, sets - 1 do
        local place = SIZE / LINE - 9 * (i + 1)
        index[i] = place
        u32(set_at(place))[0], u32(set_at(place) + 4)[0] = 201, 1
        ffi.cast("uint8_t *", u32(set_at(place)))[SET_DEPTH] = 16
      end
      local began = tonumber(C.ipq_monotonic_us())
      assert.same({}, t:keys(0))
      assert.same({ nil, "busy" }, { t:clear() })
      assert.is_true(tonumber(C.ipq_monotonic_us()) - began < 300000)
    end)

    it("leads nobody out of it", function()
      math.randomseed(3)
      for turn = 1, 30 do
        local names = { "a", "b" }
        local tables = {}
        for i, name in ipairs(names) do tables[i] = ipq.shared(name, { entries = 2000, value = 100 }) end
        for i = 1, 2000 do for _, t in ipairs(tables) do t:set(processes.key(i), processes.value(i, i)) end end
        local words = ffi.cast("uint32_t *", of.address)
        -- Behind the head, whose key and version are another matter.
        local from = turn % 2 == 0 and TABLES / 4 or (NOTES + 256 * NOTE_SIZE) / 4
        for _ = 1, 20000 do
          local most = math.random() < 0.5 and 2 ^ 32 - 1 or 255
          words[math.random(from, SIZE / 4 - 1)] = math.random(0, most)
        end
        for i = 1, 2000 do
          local t = tables[i % 2 + 1]
          t:get(processes.key(i))
          if i % 3 == 0 then t:set(processes.key(i), "text") end
          if i % 5 == 0 then t:delete(processes.key(i)) end
        end
        for worker = 0, 255 do C.ipq_shared_repair(of.address, of.size, worker) end
        tables[1]:keys(0)
        tables[1]:clear()
        processes.free(of)
        of = processes.new(SIZE)
        processes.use(of, 0)
      end
    end)
  end)

  it("takes no number that nobody may have", function()
    assert.has_error(function() region.use(of.address, of.size, 256) end)
    assert.has_error(function() region.use(of.address, 4096, 0) end)
  end)
end)
