-- make hostile: hostile packets at every filter, by replay and live, for five minutes (HOSTILE_S seconds), each round
-- from another seed (HOSTILE_SEED is that of the first), as a markdown table. Ends where something is wrong, and says
-- with which seed.
local barrage = require "spec.support.barrage"
local capture = require "spec.support.capture"

local seconds = tonumber(os.getenv "HOSTILE_S" or 300)
local seed = tonumber(os.getenv "HOSTILE_SEED" or os.time() % 1e6)
local COUNT = 20000

local begin, rounds = os.time(), 0
local raw, ethernet = os.tmpname(), os.tmpname()
local filters, replayed, queued = barrage.filters(), {}, {}

local function clean()
  os.remove(raw)
  os.remove(ethernet)
end

local function check(filter, lacks)
  if not lacks then return end
  clean()
  io.stderr:write(("%s, HOSTILE_SEED=%d: %s\n"):format(filter, seed, lacks))
  os.exit(1)
end

while os.time() - begin < seconds do
  barrage.write(raw, seed, COUNT)
  barrage.write(ethernet, seed, COUNT, capture.ETHERNET)
  for _, filter in ipairs(filters) do
    check(filter, barrage.replay(filter, raw))
    check(filter, barrage.replay(filter, ethernet))
    local lacks, count = barrage.live(filter, raw)
    check(filter, lacks)
    replayed[filter] = (replayed[filter] or 0) + 2 * COUNT
    queued[filter] = (queued[filter] or 0) + count
  end
  seed, rounds = seed + 1, rounds + 1
end
clean()

print(("%d rounds, the last of seed %d, in %d s:\n"):format(rounds, seed - 1, os.time() - begin))
print "| filter | packets replayed | packets queued by the kernel |"
print "|---|---|---|"
for _, filter in ipairs(filters) do print(("| %s | %d | %d |"):format(filter, replayed[filter], queued[filter])) end
