-- From exec to the first packet that could be judged.
local bench = require "spec.bench.bench"

return function()
  local us, kb = {}, {}
  for a, b in bench.capture(bench.in_namespace "sh spec/bench/start.sh 15"):gmatch "(%d+) (%d+)\n" do
    us[#us + 1], kb[#kb + 1] = tonumber(a), tonumber(b)
  end
  print "## Start and memory\n"
  print "| from exec to serving the queue | resident memory of its processes then |"
  print "|---|---|"
  bench.say("| %.1f ms | %.1f MB |\n", bench.median(us) / 1000, bench.median(kb) / 1024)
end
