-- What people use a queue for: what a connection, or a query, costs.
local bench = require "spec.bench.bench"

local PEERS = [[
The same jobs by programs that Debian does not have, as measured on another machine of this kind on 2026-11-29, with
their processor's time; its figures of ipq-lua were 29.7, 22.9 and 5.3 to 5.7. They are not part of this run.

| job | nfqws2 | python, dpkt |
|---|---|---|
| TLS by server name, 1,000 names, both directions, µs a connection | 68.3 | |
| the same, the client's packets alone | 45.6 | 80.4 |
| DNS, 100,000 names, µs a query | 16.7 | 20.7 |
]]

-- Packets a second that each program beside ours can take: none may be lost, as who follows connections then sees gaps.
local RATE = 20000

--- One name in ten is blocked, or all, and of a connection one packet has it. Who follows connections blocks the rest
--- too.
local function check(job, f)
  local least = job.blocks and f.all / job.each / (job.one_in or 10) or 0
  local most = job.follows and f.all / 10 or least
  if f.blocked < least - f.all * 0.01 or f.blocked > most + f.all * 0.01 then
    error(("%s: %d of %d packets blocked, not %d"):format(job.name, f.blocked, f.all, least), 0)
  end
  if job.rate and f.dropped > f.packets / 1000 then
    error(("%s: %d packets met a full queue"):format(job.name, f.dropped), 0)
  end
end

local function measure(job)
  local f = bench.figures(bench.in_namespace(("sh spec/bench/jobs.sh %s %d %d %s"):format(job.capture,
    bench.options.seconds, job.rate or 0, job.command)))
  check(job, f)
  return { us = f.cpu / f.packets * job.each / 1000, packets = job.each, rate = f.packets / f.ns * 1e9,
    mb = f.kb / 1024 }
end

local function alone(jobs)
  local rows = bench.interleave(jobs, measure)
  print "## Jobs\n"
  bench.say("%d × %d s each; the generator has processor 0, the program the last one. Connections are OpenSSL's, of\n"
    .. "64 clients, who have other addresses each time; one name in ten is blocked. The processor's time is the\n"
    .. "program's, with its system calls.\n", bench.options.repetitions, bench.options.seconds)
  rows:print {
    bench.name_column "job",
    rows:column("µs a connection or query", "us", "%.1f"),
    rows:column("packets in it", "packets", "%.1f"),
    rows:column("packets/s", "rate", "%.0f"),
    rows:column("resident, MB", "mb", "%.0f"),
  }
  for name, most in pairs { [jobs[1].name] = 30, [jobs[5].name] = 5.5, [jobs[6].name] = 8 } do
    local us = rows:median(name, "us")
    bench.say("- %s: %.1f µs; the goal is %.1f%s", name, us, most, us > most and ", missed" or "")
  end
end

--- The jobs, at a rate that all can take, by ours and by Suricata.
local function beside_suricata(folder, jobs)
  print "\n### Beside Suricata\n"
  local has_it, why = pcall(bench.capture, "sh spec/bench/suricata.sh")
  if not has_it then
    bench.say("Suricata cannot be had here: %s", why)
    return
  end
  local OURS, TUNED = ": ipq-lua", ": Suricata, tuned"
  local cases = {}
  for _, job in ipairs(jobs) do
    local command = "sh spec/bench/suricata.sh %s " .. folder .. " " .. folder .. "/" .. job.rules
    for _, by in ipairs { { OURS, job.command }, { TUNED, command:format "tuned" },
      { ": Suricata, as packaged", command:format "stock" } } do
      cases[#cases + 1] = setmetatable({ name = job.name .. by[1], command = by[2], rate = RATE,
        follows = by[1] ~= OURS }, { __index = job })
    end
  end
  bench.say("The same at %d packets a second, which none of them loses. Suricata is Debian's, of bookworm-backports.\n",
    RATE)
  local rows = bench.interleave(cases, measure)
  rows:print {
    bench.name_column "job and program",
    rows:column("µs a connection or query", "us", "%.1f"),
    rows:column("resident, MB", "mb", "%.0f"),
  }
  for _, job in ipairs(jobs) do
    local ratio = rows:ratio(job.name .. OURS, job.name .. TUNED, "us")
    bench.say("- %s: ipq-lua takes %.2f of Suricata's time, tuned; the goal is below 1%s", job.name, ratio,
      ratio < 1 and "" or ", missed")
  end
end

return function()
  local folder = bench.capture "mktemp -d -p /dev/shm":match "%S+"
  local made = bench.figures("python3 spec/bench/jobs.py " .. folder)
  local ipq = bench.program .. " --no-gso "
  local accept = ipq .. "scripts/accept.lua"
  local both, client, queries = folder .. "/tls.pcap", folder .. "/client.pcap", folder .. "/dns.pcap"
  local by_server_name = ipq .. "spec/bench/filter/sni.lua names=" .. folder .. "/tls.txt"
  local sinkhole = ipq .. "spec/bench/filter/sinkhole.lua names=" .. folder .. "/dns.txt"
  local answered = ipq .. "scripts/dns_sinkhole.lua list=" .. folder .. "/dns.txt"
  local jobs = {
    { name = "TLS by server name, 1,000 names, both directions", capture = both, each = made.both / made.connections,
      command = by_server_name, blocks = true, rules = "tls.rules" },
    { name = "the same packets, accepted", capture = both, each = made.both / made.connections, command = accept },
    { name = "the same by scripts/block_sni.lua, which reads streams and resets", capture = both,
      each = made.both / made.connections, command = ipq .. "scripts/block_sni.lua file=" .. folder .. "/tls.txt",
      blocks = true, follows = true },
    { name = "TLS, the client's packets alone", capture = client, each = made.client / made.connections,
      command = by_server_name, blocks = true },
    { name = "DNS sinkhole, 100,000 names", capture = queries, each = 1, command = sinkhole, blocks = true,
      rules = "dns.rules" },
    { name = "the same, answered, by dns_sinkhole.lua", capture = queries, each = 1, command = answered,
      blocks = true },
    { name = "blocked names alone, answered and told by it", capture = folder .. "/blocked.pcap", each = 1,
      command = answered, blocks = true, one_in = 1 },
    { name = "the same queries, accepted", capture = queries, each = 1, command = accept },
  }

  alone(jobs)
  beside_suricata(folder, { jobs[1], jobs[5] })
  os.execute("rm -r " .. folder)
  print("\n" .. PEERS)
end
