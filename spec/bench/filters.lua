-- Packets that lie in a batch, filters in Lua and the same in C: what a filter costs, without a queue.
local bench = require "spec.bench.bench"
local ipq = require "ipq"
local lib = require "spec.support.lib"
local m = require "spec.support.message"
local source = require "spec.support.source"

local C, BATCHES = lib.C, 20000

local function packet(i, protocol, port)
  return m.simple(i, "\69\0\0\40" .. ("\0"):rep(5) .. string.char(protocol) .. "\0\0\10\0\0" .. string.char(i % 4)
    .. "\10\0\0\2" .. "\200\1\0" .. string.char(port) .. ("\0"):rep(8) .. "\80" .. ("\0"):rep(7))
end

local function packets()
  local messages = {}
  for i = 1, 64 do messages[i] = packet(i, i % 3 == 0 and 17 or 6, i % 2 == 0 and 23 or 80) end
  local src = source.new(messages)
  src:plan({ 64 })
  C.ipq_driver_next(src.driver)
  C.spec_source_still(src.c, true)
  return src
end

local function accept() return ipq.ACCEPT end

local function dport(pkt)
  if pkt.tcp and pkt.tcp.dport == 23 then return ipq.DROP end
end

local function dport_saddr(pkt)
  if pkt.tcp and pkt.tcp.dport == 23 and pkt.ip and pkt.ip.saddr == "10.0.0.1" then return ipq.DROP end
end

local function three(pkt)
  local tcp = pkt.tcp
  if tcp and tcp.syn and not tcp.ack and pkt.ip.ttl < 10 and tcp.payload:find "GET" then return ipq.DROP end
end

local function cases(src)
  local function c(filter)
    return function() C.spec_filter_run(src.driver, filter) end
  end
  return {
    { name = "accept everything", c = c(C.spec_filter_accept), lua = src:judge(accept) },
    { name = "TCP and dport", c = c(C.spec_filter_dport), lua = src:judge(dport) },
    { name = "TCP, dport and saddr as text", c = c(C.spec_filter_dport_saddr), lua = src:judge(dport_saddr) },
    { name = "flags, ttl and a search in the payload", lua = src:judge(three) },
  }
end

local function ns_a_packet(src, work)
  src:plan({ 64 }, BATCHES)
  local before = os.clock()
  work()
  return (os.clock() - before) / BATCHES / 64 * 1e9
end

local function show_garbage(src, case)
  src:plan({ 64 }, BATCHES)
  collectgarbage()
  collectgarbage "stop"
  local before = collectgarbage "count"
  case.lua()
  bench.say("Garbage of the third in %d packets: %.1f KiB\n", BATCHES * 64, collectgarbage "count" - before)
  collectgarbage "restart"
end

return function()
  local src = packets()
  local list = cases(src)
  local rows = bench.interleave(list, function(case, repetition)
    local figures = { lua = ns_a_packet(src, case.lua), c = case.c and ns_a_packet(src, case.c) }
    -- The first time warms up.
    return repetition > 1 and figures or nil
  end, bench.options.repetitions + 1)
  print "## Filters over packets in memory, batches of 64, header parsing included\n"
  rows:print {
    bench.name_column "filter",
    rows:column("C, ns a packet", "c", "%.1f"),
    rows:column("Lua, ns a packet", "lua", "%.1f"),
    { "Lua / C", function(name)
      local c = rows:median(name, "c")
      return c and ("%.1f"):format(rows:median(name, "lua") / c)
    end },
  }
  show_garbage(src, list[3])
end
