-- What holds for all packets, tried with many. A failure tells the seed of its round: PROPERTY_SEED begins there, and
-- PROPERTY_ROUNDS makes it more of them.
local barrage = require "spec.support.barrage"
local dispatch = require "ipq.engine.dispatch"
local ffi = require "ffi"
local hostile = require "spec.support.hostile"
local m = require "spec.support.message"
local random_fields = require "spec.support.random_fields"
local rewrite = require "spec.support.rewrite"
local script = require "ipq.engine.script"
local source = require "spec.support.source"
local t = require "ipq.test"

local SEED = tonumber(os.getenv "PROPERTY_SEED" or 1)
local ROUNDS = tonumber(os.getenv "PROPERTY_ROUNDS" or 500)

--- Calls check(random) with a generator for each seed.
local function each_round(check)
  for seed = SEED, SEED + ROUNDS - 1 do
    local ok, why = pcall(check, rewrite.random(seed))
    if not ok then error(("PROPERTY_SEED=%d: %s"):format(seed, type(why) == "table" and why.message or why), 0) end
  end
end

local function assert_fields(given, view, header)
  for name, value in pairs(given) do
    local got = view[name]
    if type(value) == "table" then
      assert.same(value, got, header .. "." .. name)
    elseif value ~= got then
      error(("%s.%s: given %s, read %s"):format(header, name, tostring(value), tostring(got)), 0)
    end
  end
end

local function assert_bytes(expected, got)
  if expected == got then return end
  error(("expected %s\ngot      %s"):format(t.packet(expected):hex(), t.packet(got):hex()), 0)
end

describe("a packet that the kit builds", function()
  it("has the fields that it was given, and right lengths and checksums", function()
    each_round(function(random)
      local name, given, ip = random_fields.given(random)
      local built = t[name](given)
      assert_fields(given[ip], built[ip], ip)
      assert_fields(given[name], built[name], name)
      for key in pairs(random_fields.meta) do
        if given[key] then assert.equal(given[key], built[key], key) end
      end
      assert.valid_checksums(built)
      assert_bytes(random_fields.right(name, built.bytes), built.bytes)
    end)
  end)
end)

describe("a packet with other fields", function()
  local function assign(pkt, header, changes)
    for name, value in pairs(changes) do
      if name == "payload" then
        local payload = pkt[header].payload
        payload:replace(0, #payload, value)
      else
        pkt[header][name] = value
      end
    end
  end

  it("has them, and the same lengths and checksums by increments, in full and by plain Lua", function()
    each_round(function(random)
      local name, given, ip = random_fields.given(random)
      -- What is behind these two may mean something else then.
      local own = random_fields.some(random, name, random.pick { "payload", "none" })
      local changes = { [ip] = random_fields.some(random, ip, "options"), [name] = own }
      local function filter(pkt)
        assign(pkt, ip, changes[ip])
        assign(pkt, name, changes[name])
      end
      local built = t[name](given)
      local result = t.run(filter, built)
      assert.is_nil(result.error)
      assert_fields(changes[ip], result.packet[ip], ip)
      assert_fields(changes[name], result.packet[name], name)
      assert.valid_checksums(result.packet)
      assert_bytes(random_fields.right(name, result.packet.bytes), result.packet.bytes)
      -- Of what has no checksum that a network card could finish, it would be that of a packet inside.
      if name ~= "esp" and name ~= "gre" and not (name == "udp" and built.udp.checksum == 0) then
        given.csum_ready = false
        local in_full = t.run(filter, t[name](given))
        assert_bytes(result.packet.bytes, in_full.packet.bytes)
      end
      -- with() assigns in an order of its own.
      assert_bytes(result.packet.bytes, built:with(changes).bytes)
    end)
  end)
end)

describe("the same packets", function()
  local COUNT = 64 * 7 * 10

  --- Hostile packets as messages, each third with metadata.
  local function messages()
    local list = {}
    for i, packet in ipairs(hostile.packets(SEED, COUNT)) do
      local is_v6 = (packet[2]:byte(1) or 0) >= 0x60
      list[i] = m.packet(m.hdr(i, is_v6 and 0x86dd or 0x800) .. (i % 3 == 0 and m.attr(m.MARK, m.be32(i)) or "")
        .. m.attr(m.PAYLOAD, packet[2]), { family = is_v6 and 10 or 2 })
      if i == COUNT then break end
    end
    return list
  end

  --- What comes of each packet, in batches of those sizes in turn.
  local function outcomes(path, arguments, sizes)
    local s = assert(script.load(path, arguments))
    local src, list, total = source.new(messages()), {}, 0
    local function observe(p, _, why)
      list[#list + 1] = ("%d %d %x %x %s %s"):format(p.packet_id, p.verdict, p.set, p.mark, why or "",
        ffi.string(p.data, p.data_len))
    end
    for _, size in ipairs(sizes) do total = total + size end
    src:plan(sizes, COUNT / total * #sizes)
    local print_before = print
    _G.print = function() end -- luacheck: ignore 122
    local ok, result = pcall(dispatch.new(src.driver, s.filter, observe, false))
    _G.print = print_before -- luacheck: ignore 122
    assert(ok and result == 0, result)
    return list
  end

  local lines, sink
  before_each(function()
    local log = require "ipq.log"
    lines, sink = {}, log.sink
    log.sink = function(_, line) lines[#lines + 1] = line end
  end)
  after_each(function() require "ipq.log".sink = sink end)

  for path, arguments in pairs {
    ["scripts/redirect_port.lua"] = { "from=53", "to=5353" }, ["scripts/set_ttl.lua"] = { "ttl=9" },
    ["scripts/bypass_flow.lua"] = { "bytes=60", "deny=hello" }, ["scripts/drop_port.lua"] = { "ports=53,80" },
    ["scripts/dns_log.lua"] = {}, ["scripts/clamp_mss.lua"] = { "mss=400" }, ["scripts/drop_icmp.lua"] = { "max=60" },
    ["scripts/nat.lua"] = { "inside=0.0.0.0/1", "outside=128.0.0.0/1", "inside6=2000::/3", "outside6=e000::/3" },
  } do
    it("get the same verdicts and bytes in batches of any size: " .. path, function()
      local expected = outcomes(path, arguments, { 1 })
      assert.equal(COUNT, #expected)
      for _, sizes in ipairs { { 2 }, { 7 }, { 64 }, { 1, 64, 3, 40, 20 }, { 63, 1 }, { 5, 2 } } do
        local got = outcomes(path, arguments, sizes)
        assert.equal(COUNT, #got)
        for i, outcome in ipairs(expected) do
          if outcome ~= got[i] then
            error(("packet %d in batches of %s: %q, not %q"):format(i, table.concat(sizes, ", "), got[i], outcome))
          end
        end
      end
    end)
  end

  it("get the same verdicts and bytes in another run of the program", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    barrage.write(path, SEED, COUNT)
    for _, filter in ipairs(barrage.filters()) do
      local first, second = barrage.outcome(filter, path), barrage.outcome(filter, path)
      assert.is_true(#first > COUNT * 10, filter)
      assert.is_true(first == second, filter)
    end
  end)
end)
