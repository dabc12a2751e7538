-- What a client's hello costs: of TLS, as a filter reads it, and of QUIC.
--
-- Each figure is the best of some rounds, above the same loop without it.
local abi = require "ipq.engine.abi"
local bench = require "spec.bench.bench"
local ffi = require "ffi"
local h = require "spec.support.hello"
local ipq = require "ipq"
local packets = require "spec.support.packet"
local q = require "spec.support.quic"

local C = abi.C
local ROUNDS = 9
local tls = ipq.tls
local SIZES = { 517, 1800 }
local NAME = "www.example.com"

local function ns_of(count, work, ...)
  local best = math.huge
  for _ = 1, ROUNDS do
    local start = C.ipq_monotonic_us()
    work(count, ...)
    best = math.min(best, C.ipq_monotonic_us() - start)
  end
  return best * 1000 / count
end

local function name_of(count, bytes)
  local found = 0
  for _ = 1, count do
    local hello = tls.client_hello(bytes)
    if hello and hello.sni == NAME then found = found + 1 end
  end
  assert(found == count)
end

local function field_of(name)
  return loadstring(([[local tls, count, bytes = ...
    for _ = 1, count do
      local value = tls.client_hello(bytes).%s
    end]]):format(name))
end

local function no_tls(count, bytes)
  for _ = 1, count do
    if tls.client_hello(bytes) then error "what is none" end
  end
end

local function of_tls()
  print "| ns | 517 bytes | 1,800 bytes |\n| --- | ---: | ---: |"
  local rows = { { "client_hello(), and its name" }, { "and alpn" }, { "and ja3" }, { "and ja4" }, { "no TLS" } }
  for _, size in ipairs(SIZES) do
    local bytes = h.client(NAME, size)
    assert(#bytes == size)
    table.insert(rows[1], ns_of(300000, name_of, bytes))
    for i, name in ipairs { "alpn", "ja3", "ja4" } do
      local work = field_of(name)
      table.insert(rows[i + 1], ns_of(50000, function(count) work(tls, count, bytes) end))
    end
    table.insert(rows[5], ns_of(300000, no_tls, ("x"):rep(size)))
  end
  for _, row in ipairs(rows) do print(("| %s | %.0f | %.0f |"):format(unpack(row))) end
  print ""
end

--- A packet with that payload in memory of its own, which it keeps.
local function packet_of(payload)
  local bytes = packets.ip(17, packets.udp(payload, { sport = 0, dport = 443 }))
  local memory, packet = ffi.new("uint8_t[?]", #bytes), ffi.new "struct ipq_packet"
  ffi.copy(memory, bytes, #bytes)
  packet.data, packet.data_len, packet.len = memory, #bytes, #bytes
  return { packet = packet, memory = memory }
end

local PORT = 20 -- offset of UDP's first byte

--- Reads the packets in turn, each time from another port where is_new is set.
local function read(count, state, list, is_new, last)
  local hello = require("ipq.packet.hello").memory
  local result
  for i = 1, count do
    for j = 1, #list do
      local one = list[j]
      if is_new then one.memory[PORT], one.memory[PORT + 1] = i / 256 % 256, i % 256 end
      result = C.ipq_quic_read(state, one.packet, hello)
    end
  end
  assert(result == last)
end

local function of_quic()
  local state = ffi.gc(C.ipq_quic_new(), C.ipq_quic_free)
  local short, long = h.client(NAME, 517):sub(6), h.client(NAME, 1800):sub(6)
  local halves = q.frames(long, 1000)
  local one = { packet_of(q.initial { dcid = "id one..", frames = q.crypto(0, short), size = 1200 }) }
  local two = { packet_of(q.initial { dcid = "id two..", frames = halves[1], size = 1200 }),
    packet_of(q.initial { dcid = "id two..", number = 1, frames = halves[2], size = 1200 }) }
  local bad = { packet_of(q.initial { dcid = "id bad..", key = "another", frames = q.crypto(0, short), size = 1200 }) }
  local other = { packet_of(("\64"):rep(1200)) }
  print "| in C, 1,200 bytes | µs |\n| --- | ---: |"
  for _, row in ipairs {
    { "an Initial that begins a connection, its hello whole", one, true, 0 },
    { "two Initials with a hello of 1,800 bytes", two, true, 0 },
    { "an Initial of a connection that is known", one, false, 0 },
    { "an Initial that no key fits", bad, true, ffi.C.IPQ_QUIC_KEYS },
    { "a packet behind the handshake", other, false, ffi.C.IPQ_QUIC_NOT_QUIC },
  } do
    print(("| %s | %.3f |"):format(row[1], ns_of(5000, read, state, row[2], row[3], row[4]) / 1000))
  end
  print ""
end

return function()
  bench.say("## Hellos of TLS and of QUIC\n")
  of_tls()
  of_quic()
end
