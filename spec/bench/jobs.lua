-- What people use a queue for: what a connection, or a query, costs.
local bench = require "spec.bench.bench"

local PEERS = [[
The same jobs by other programs, as measured on another machine of this kind on 2026-11-29, with their processor's time;
its figures of ipq-lua were 29.7, 22.9 and 5.3 to 5.7. They are not part of this run: of these programs Debian 12 has
Suricata in its backports, and dpkt alone without a queue.

| job | Suricata tuned, stock | nfqws2 | python, dpkt |
|---|---|---|---|
| TLS by server name, 1,000 names, both directions, µs a connection | 45.8, 68.5 | 68.3 | |
| the same, the client's packets alone | | 45.6 | 80.4 |
| DNS, 100,000 names, µs a query | 7.7, 21 | 16.7 | 20.7 |
]]

return function()
  local folder = bench.capture "mktemp -d -p /dev/shm":match "%S+"
  local made = bench.figures("python3 spec/bench/jobs.py " .. folder)
  local ipq = bench.program .. " --no-gso "
  local accept = ipq .. "scripts/accept.lua"
  local jobs = {
    { name = "TLS by server name, 1,000 names, both directions", capture = "tls", each = made.both / made.connections,
      command = ipq .. "spec/bench/filter/sni.lua names=" .. folder .. "/tls.txt" },
    { name = "the same packets, accepted", capture = "tls", each = made.both / made.connections, command = accept },
    { name = "TLS, the client's packets alone", capture = "client", each = made.client / made.connections,
      command = ipq .. "spec/bench/filter/sni.lua names=" .. folder .. "/tls.txt" },
    { name = "DNS sinkhole, 100,000 names", capture = "dns", each = 1,
      command = ipq .. "spec/bench/filter/sinkhole.lua names=" .. folder .. "/dns.txt" },
    { name = "the same queries, accepted", capture = "dns", each = 1, command = accept },
  }
  --- One name in ten is blocked, and of a connection one packet has it.
  local function check(job, f)
    local wanted = job.command == accept and 0 or f.all / job.each / 10
    if math.abs(f.blocked - wanted) > f.all * 0.01 then
      error(("%s: %d of %d packets blocked, not %d"):format(job.name, f.blocked, f.all, wanted), 0)
    end
  end

  local rows = bench.interleave(jobs, function(job)
    local f = bench.figures(bench.in_namespace(("sh spec/bench/jobs.sh %s/%s.pcap %d %s"):format(folder, job.capture,
      bench.options.seconds, job.command)))
    check(job, f)
    return { us = f.cpu / f.packets * job.each / 1000, packets = job.each, rate = f.packets / f.ns * 1e9,
      mb = f.kb / 1024 }
  end)
  os.execute("rm -r " .. folder)
  print "## Jobs\n"
  bench.say("%d × %d s each; the generator has processor 0, the program the last one. Connections are OpenSSL's, of\n"
    .. "64 clients; one name in ten is blocked. The processor's time is the program's, with its system calls.\n",
    bench.options.repetitions, bench.options.seconds)
  rows:print {
    bench.name_column "job",
    rows:column("µs a connection or query", "us", "%.1f"),
    rows:column("packets in it", "packets", "%.1f"),
    rows:column("packets/s", "rate", "%.0f"),
    rows:column("resident, MB", "mb", "%.0f"),
  }
  for name, most in pairs { [jobs[1].name] = 30, [jobs[4].name] = 5.5 } do
    local us = rows:median(name, "us")
    bench.say("- %s: %.1f µs; the goal is %.1f%s", name, us, most, us > most and ", missed" or "")
  end
  print("\n" .. PEERS)
end
