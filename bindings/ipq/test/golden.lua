--- Golden files: what a replay has to give, kept beside the specs.
local misuse = require "ipq.build.misuse"
local replay = require "ipq.test.replay"
local text = require "ipq.test.text"

local M = {}

local UPDATE = "IPQ_GOLDEN=update"
local MAX_TOLD = 3 -- differences

local bad = misuse.bad

local function slurp(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local bytes = file:read "*a"
  file:close()
  return bytes
end

local function write(path, bytes)
  local file, message = io.open(path, "wb")
  if not file then bad("cannot write the golden file: %s", message) end
  local ok, why = file:write(bytes)
  local closed, why_closed = file:close()
  if not (ok and closed) then bad("cannot write the golden file %s: %s", path, why or why_closed) end
end

--- What the replay gives, as a file of the kind that path's name says.
local function make(path, input, filter)
  if path:match "%.json$" then return (replay.lines(input, filter)) end
  if not path:match "%.pcap$" then bad("%s: a golden file's name ends with .pcap or .json", path) end
  local out = os.tmpname()
  local ok, why = pcall(replay.replay, input, filter, { write = out })
  local bytes = ok and slurp(out)
  os.remove(out)
  if not ok then error(why, 0) end
  return bytes
end

local function compare_lines(expected, got)
  local told, number = {}, 0
  local next_line = got:gmatch "[^\n]+"
  for line in expected:gmatch "[^\n]+" do
    number = number + 1
    local other = next_line() or "(nothing)"
    if line ~= other and #told < MAX_TOLD then
      told[#told + 1] = ("line %d\n  expected %s\n  got      %s"):format(number, line, other)
    end
  end
  for other in next_line do
    number = number + 1
    if #told < MAX_TOLD then
      told[#told + 1] = ("line %d\n  expected (nothing)\n  got      %s"):format(number, other)
    end
  end
  return table.concat(told, "\n")
end

local function compare_packets(path, bytes)
  local out = os.tmpname()
  write(out, bytes)
  local all = { arp = true }
  local expected, got = replay.read(path, all), replay.read(out, all)
  os.remove(out)
  local told = {}
  if #expected ~= #got then told[1] = ("expected %d packets, got %d"):format(#expected, #got) end
  for i = 1, math.min(#expected, #got) do
    if #told < MAX_TOLD and expected[i] ~= got[i] then
      told[#told + 1] = ("packet %d\n%s"):format(i, text.compare(expected[i], got[i]))
    end
  end
  if #told == 0 then
    told[1] = "all packets agree, but not their times, link headers other than Ethernet's, or the frames that are none"
  end
  return table.concat(told, "\n")
end

--- Whether a replay of the capture input through filter gives what the file at path has: the packets that are
--- accepted, as they are then (.pcap), or what became of each (.json, one record a line). With IPQ_GOLDEN=update in
--- the environment the file is written instead.
function M.check(path, input, filter)
  if type(path) ~= "string" or type(input) ~= "string" then
    bad "assert.golden takes the golden file, the capture to replay, and a filter"
  end
  local ok, got = pcall(make, path, input, filter)
  if not ok then error(misuse.plain(got), 0) end
  if os.getenv "IPQ_GOLDEN" == "update" then write(path, got) end
  local expected, message = slurp(path)
  if not expected then
    return false, ("there is no golden file: %s; run the spec with %s once, and look at what it wrote")
      :format(message, UPDATE), ""
  end
  local compare = path:match "%.json$" and compare_lines(expected, got)
    or expected ~= got and compare_packets(path, got) or ""
  return expected == got,
    ("%s differs from the replay of %s; %s writes it anew\n%s"):format(path, input, UPDATE, compare),
    ("expected the replay of %s to differ from %s"):format(input, path)
end

return M
