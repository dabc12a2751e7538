-- What a packet costs that is answered, or sent a second time.
local bench = require "spec.bench.bench"

local JOBS = {
  { name = "SYN, rejected by a reset", kind = "reset", most = 2.2 },
  { name = "UDP, sent a second time", kind = "duplicate", most = 2.5, accepts = true },
  { name = "DNS query, answered", kind = "answer", most = 3 },
}

local function be32(n)
  return string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
end

--- A capture of raw IP packets for inject.c, in this machine's byte order.
local function write_capture(path, packets)
  local ffi = require "ffi"
  local file = assert(io.open(path, "w"))
  local function u32(...) return ffi.string(ffi.new("uint32_t[?]", select("#", ...), ...), 4 * select("#", ...)) end
  file:write(u32(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 101))
  for _, pkt in ipairs(packets) do file:write(u32(0, 0, #pkt.bytes, #pkt.bytes), pkt.bytes) end
  file:close()
end

local function packets_of(kind)
  local t = require "ipq.test"
  local list = {}
  for i = 1, 256 do
    local client = "127.1.0." .. i % 256
    if kind == "reset" then
      list[i] = t.tcp { saddr = client, daddr = "127.2.0.1", sport = 1024 + i, syn = true, sequence = i * 7919 }
    elseif kind == "duplicate" then
      list[i] = t.udp { saddr = client, daddr = "127.2.0.1", sport = 1024 + i, payload = be32(i):rep(25) }
    else
      list[i] = t.dns { saddr = client, daddr = "127.2.0.1", sport = 1024 + i, id = i,
        name = ("host%d.service.example.org"):format(i) }
    end
  end
  return list
end

--- All were answered, and none of them went on; or all went on, and were sent.
local function check(case, f)
  local sent, accepted = case.sends and f.judged or 0, case.accepts and f.judged or 0
  if f.packets < 1 or f.accepted ~= accepted or math.abs(f.sent - sent) > f.judged / 1000 then
    error(("%s: %d packets judged, %d went on, %d sent"):format(case.name, f.judged, f.accepted, f.sent), 0)
  end
end

local function measure(case)
  local f = bench.figures(bench.in_namespace(("sh spec/bench/send.sh %s %d %s"):format(case.capture,
    bench.options.seconds, case.command)))
  check(case, f)
  return { rate = f.packets / f.ns * 1e9, cpu = f.cpu / f.packets, busy = f.cpu / f.ns }
end

local function show(job, folder)
  local capture = folder .. "/" .. job.kind
  local ipq = bench.program .. " --no-gso --reject-rate 0 "
  local ACCEPT, SEND, BY_HAND = "ipq-lua, accept all", "ipq-lua", "C by hand"
  write_capture(capture, packets_of(job.kind))
  bench.say("### %s\n", job.name)
  local rows = bench.interleave({
    { name = ACCEPT, command = ipq .. "scripts/accept.lua", capture = capture, accepts = true },
    { name = SEND, command = ipq .. bench.filter(job.kind), capture = capture, accepts = job.accepts, sends = true },
    { name = BY_HAND, command = bench.build .. "/bench/send_loop " .. job.kind, capture = capture,
      accepts = job.accepts, sends = true },
  }, measure)
  rows:print {
    bench.name_column "program",
    rows:column("packets/s", "rate", "%.0f"),
    rows:column("CPU µs a packet", "cpu", "%.2f", 1e-3),
    { "times accept all", function(name) return ("%.2f"):format(rows:ratio(name, ACCEPT, "cpu")) end },
    rows:column("busy", "busy", "%.0f %%", 100),
  }
  local times = rows:ratio(SEND, ACCEPT, "cpu")
  bench.say("- %s: %.2f times accept all; the goal is %.1f%s", SEND, times, job.most,
    times > job.most and ", missed" or "")
  rows:goals("cpu", { { SEND, BY_HAND, 0.85 } }, true)
end

return function()
  local folder = bench.capture("mktemp -d"):match "%S+"
  bench.say("## Packets of its own\n")
  bench.say("%d × %d s each, at a saturated queue. The sender has processor 0, the program the last one. What is\n"
    .. "accepted is dropped by the next table; what is sent goes through the loopback device in the program's time.\n"
    .. "\"C by hand\" is the best loop on lib, which makes the packets itself and sends them by sendmmsg(2) on a raw\n"
    .. "socket.\n",
    bench.options.repetitions, bench.options.seconds)
  for _, job in ipairs(JOBS) do show(job, folder) end
  os.execute("rm -r " .. folder)
end
