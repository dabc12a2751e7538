--- luassert's assertions for filters and packets: assert.verdict, rewritten, unchanged, sent, valid_checksums, golden.
---
--- Each is a check: a function of what the spec gives, which returns whether it holds, a text on how it does not,
--- a text on how it does (for assert.is_not), and what the assertion gives back.
local buffer = require "ipq.test.buffer"
local checksum = require "ipq.test.checksum"
local filters = require "ipq.test.filter"
local golden = require "ipq.test.golden"
local misuse = require "ipq.build.misuse"
local packet = require "ipq.test.packet"
local sent = require "ipq.test.sent"
local text = require "ipq.test.text"
local verdict = require "ipq.verdict"

local M = {}

local bad = misuse.bad

--- What run() gives, from that, or from a filter and a packet.
local function result_of(name, filter, pkt)
  if filters.is_result(filter) then return filter end
  if not filters.of(filter) or not packet.is_packet(pkt) then
    bad("assert.%s takes a filter and a packet behind what is expected", name)
  end
  return filters.run(filter, pkt)
end

local is_verdict = { accept = true, drop = true, ["repeat"] = true, stop = true, hold = true, error = true }

local function verdict_name(expected)
  if type(expected) == "number" and verdict.is_valid(expected) then return verdict.name(expected) end
  if is_verdict[expected] or verdict.is_reject_name(expected) then return expected end
  if type(expected) == "string" and (expected:match "^queue %d+$" or expected:match "^queue %d+ bypass$") then
    return expected
  end
  bad("there is no verdict '%s'; there are accept, drop, reject, \"reject tcp-reset\" and so on, repeat, "
    .. "stop, \"queue 3\", \"queue 3 bypass\", "
    .. "hold for a packet that is held, and error for a filter that raises", tostring(expected))
end

local checks = {}

function checks.verdict(expected, filter, pkt)
  local name = verdict_name(expected)
  local result = result_of("verdict", filter, pkt)
  local got = result.error and "error" or result.verdict
  local about = "\n" .. text.describe(result.judged)
  -- Whatever it says.
  local is_same = got == name or name == "reject" and verdict.is_reject_name(got)
  return is_same,
    ("expected the verdict %s, got %s%s"):format(name, result.error and tostring(result) or got, about),
    ("expected another verdict than %s%s"):format(name, about), result
end

local function expected_packet(expected, pkt)
  if packet.is_packet(expected) then return expected end
  if type(expected) == "table" and packet.is_packet(pkt) then return pkt:with(expected) end
  local bytes = buffer.text(expected)
  if bytes and packet.is_packet(pkt) then return packet.new(bytes, pkt.meta) end
  bad "assert.rewritten takes the packet that is expected first: a packet, its bytes, or the fields that change"
end

--- What became of the packet of a result that has none.
local function fate(result)
  if result.error then return "the filter raised: " .. result.error end
  return ("the filter %s it"):format(result.verdict == "hold" and "holds" or "dropped")
end

local function packet_check(name, expected, filter, pkt)
  local result = result_of(name, filter, pkt)
  if result.error then return false, fate(result), "", result end
  if not result.packet then return false, "expected a packet, but " .. fate(result), "", result end
  return result.packet == expected, "the filter made another packet:\n" .. text.compare(expected, result.packet),
    "expected another packet than\n" .. text.describe(expected), result
end

function checks.rewritten(expected, filter, pkt)
  return packet_check("rewritten", expected_packet(expected, pkt), filter, pkt)
end

function checks.unchanged(filter, pkt)
  if not packet.is_packet(pkt) then bad "assert.unchanged takes a filter and a packet" end
  return packet_check("unchanged", pkt, filter, pkt)
end

function checks.valid_checksums(pkt)
  if filters.is_result(pkt) then
    if not pkt.packet then return false, "there is no packet whose checksums could be right: " .. fate(pkt), "" end
    pkt = pkt.packet
  end
  if not packet.is_packet(pkt) then bad "assert.valid_checksums takes a packet" end
  local right, why = checksum.right(pkt)
  if not right then return false, why .. "\n" .. text.describe(pkt), "" end
  return right.bytes == pkt.bytes, "lengths or checksums are wrong:\n" .. text.compare(right, pkt),
    "expected a wrong length or checksum:\n" .. text.describe(pkt)
end

checks.golden = golden.check

function checks.sent(filter, pkt, ...)
  local result = result_of("sent", filter, pkt)
  local expected = { ... }
  if filters.is_result(filter) and pkt ~= nil then table.insert(expected, 1, pkt) end
  local holds, text_if_not, text_if = sent.check(result, expected)
  return holds, text_if_not, text_if, result
end

--- Makes them luassert's.
function M.register(luassert, say)
  say:set("assertion.ipq", "%s")
  for name, check in pairs(checks) do
    luassert:register("assertion", name, function(state, arguments, level)
      local ok, holds, text_if_not, text_if, given = pcall(check, unpack(arguments, 1, arguments.n))
      if not ok then error(misuse.plain(holds), level + 1) end
      arguments[1], arguments.n, arguments.nofmt = state.mod and text_if_not or text_if, 1, { [1] = true }
      return holds, given ~= nil and { given, n = 1 } or nil
    end, "assertion.ipq", "assertion.ipq")
  end
  luassert:add_formatter(function(value)
    if packet.is_packet(value) then return text.describe(value) end
    if buffer.is_buffer(value) then return ("(Buffer) '%s'"):format(tostring(value)) end
    if filters.is_result(value) then return tostring(value) end
  end)
end

return M
