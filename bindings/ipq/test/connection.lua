--- A TCP connection through a filter: two ends, and a network between them that may lose packets, double them and
--- exchange their order, before the filter and behind it. Time is the kit's.
local endpoint = require "ipq.test.endpoint"
local filter = require "ipq.test.filter"
local keys = require "ipq.build.keys"
local memory = require "ipq.test.memory"
local misuse = require "ipq.build.misuse"

local M = {}

local bad = misuse.bad

-- Seconds that a packet needs between an end and the filter, and after which an end says again what was not
-- acknowledged; packets that a connection may have.
local DELAY, RETRANSMIT, MOST = 0.001, 0.2, 200000

local OPTIONS = { "client", "server", "loss", "order", "twice", "seed", "mss", "window", "saddr", "daddr", "sport",
  "dport", "meta", "isn", "sack", "seconds" }

--- A generator of numbers from 0 to 1, the same ones for a seed on each machine.
local function random_of(seed)
  local state = seed % 2147483646 + 1
  return function()
    state = state * 16807 % 2147483647
    return state / 2147483647
  end
end

local function says_of(value, name)
  if value == nil then return {} end
  if type(value) == "string" then return { value } end
  if type(value) ~= "table" then bad("connection(): %s must be text, or a list of texts", name) end
  for i = 1, #value do
    if type(value[i]) ~= "string" then bad("connection(): %s[%d] must be text", name, i) end
  end
  return value
end

local function share_of(options, name)
  local value = options[name] or 0
  if type(value) ~= "number" or not (value >= 0 and value < 1) then
    bad("connection(): %s must be a share, from 0 to less than 1", name)
  end
  return value
end

local Net = {}
Net.__index = Net

--- Something that happens at a time: in the order in which it was said, where times are the same.
function Net:at(time, call, pkt)
  self.count = self.count + 1
  local events = self.events
  local place = #events + 1
  while place > 1 and events[place - 1].time > time do place = place - 1 end
  table.insert(events, place, { time = time, call = call, pkt = pkt })
end

--- A packet goes a part of its way, if it is not lost there; call(pkt) is for where it comes to.
function Net:carry(pkt, call)
  local random = self.random
  if random() < self.loss then return end
  local late = random() < self.order and random() * 5 * DELAY or 0
  self:at(memory.time + DELAY + late, call, pkt)
  if random() < self.twice then self:at(memory.time + DELAY + late + random() * DELAY, call, pkt) end
end

function Net:deliver(pkt)
  local to = self.client
  if pkt.daddr == self.server.address and pkt.tcp.dport == self.server.port then to = self.server end
  self:carry(pkt, function(arrived)
    for _, answer in ipairs(to:receive(arrived)) do self:say(answer) end
  end)
end

--- What the filter has let go, or has sent.
function Net:take(result)
  if result.verdict == "hold" then
    self.held[#self.held + 1] = result
  elseif result.packet then
    self:deliver(result.packet)
  end
end

--- Packets that were held and have their verdicts now.
function Net:take_held()
  local held = self.held
  self.held = {}
  for _, result in ipairs(held) do self:take(result) end
end

function Net:judge(pkt)
  local result = filter.run(self.filter, pkt)
  for _, line in ipairs(result.log) do self.log[#self.log + 1] = line end
  self.packets = self.packets + 1
  self:take_held()
  self:take(result)
  for _, sent in ipairs(result.sent) do self:deliver(sent) end
end

--- An end says something.
function Net:say(pkt)
  self:carry(pkt, function(arrived) self:judge(arrived) end)
end

--- Lets time pass up to then, and the filter's timers run.
function Net:wait(time)
  local before = memory.time
  if time <= before then return end
  local lines, _, sent = memory.advance(time - before)
  for _, line in ipairs(lines) do self.log[#self.log + 1] = line end
  self:take_held()
  for _, pkt in ipairs(filter.packets_of(sent)) do self:deliver(pkt) end
end

function Net:is_done() return self.client:is_done() and self.server:is_done() end

function Net:run(seconds)
  local stop = memory.time + seconds
  local again = memory.time + RETRANSMIT
  for _, pkt in ipairs(self.client:open()) do self:say(pkt) end
  while not self:is_done() do
    if self.count > MOST then bad("connection(): over %d packets", MOST) end
    local event, next_time = self.events[1], math.min(again, stop)
    if event and event.time <= next_time then
      self:wait(event.time)
      -- What timers have sent may come before it.
      table.remove(self.events, 1)
      event.call(event.pkt)
    else
      self:wait(next_time)
      if next_time == stop then return end
      for _, one in ipairs { self.client, self.server } do
        for _, pkt in ipairs(one:send(true)) do self:say(pkt) end
      end
      again = memory.time + RETRANSMIT
    end
  end
end

local function ends_of(options)
  local v6 = (options.saddr or ""):find(":", 1, true)
  local client = { name = "client", address = options.saddr or "192.0.2.1", port = options.sport or 40000,
    peer_address = options.daddr or (v6 and "2001:db8::2" or "192.0.2.2"), peer_port = options.dport or 80,
    isn = options.isn or 1000, says = says_of(options.client, "client") }
  local server = { name = "server", address = client.peer_address, port = client.peer_port,
    peer_address = client.address, peer_port = client.port, isn = (client.isn + 1e6) % 2 ^ 32,
    says = says_of(options.server, "server") }
  for _, one in ipairs { client, server } do
    one.mss, one.window, one.has_sack = options.mss or 1460, options.window or 65535, options.sack ~= false
  end
  return endpoint.new(client), endpoint.new(server)
end

local function new_net(under_test, options)
  local client, server = ends_of(options)
  return setmetatable({ filter = under_test, client = client, server = server, events = {}, count = 0, packets = 0,
    held = {}, log = {}, random = random_of(options.seed or 1), loss = share_of(options, "loss"),
    order = share_of(options, "order"), twice = share_of(options, "twice") }, Net)
end

local function run(under_test, options)
  keys.check("connection()'s options", options, OPTIONS)
  local net = new_net(under_test, options)
  net:run(options.seconds or 60)
  local client, server = net.client, net.server
  local faults = {}
  for _, one in ipairs { client, server } do
    for _, text in ipairs(one.faults) do faults[#faults + 1] = text end
  end
  return { client = client:said(), server = server:said(), is_reset = client.is_reset or server.is_reset or false,
    is_closed = not (client.is_reset or server.is_reset) and net:is_done(), packets = net.packets, log = net.log,
    faults = faults }
end

---@class ipq.test.Connection
---@field client string what the client got
---@field server string what the server got
---@field is_closed boolean whether both have said and heard all
---@field is_reset boolean whether an end was reset
---@field packets integer that the filter has judged
---@field faults string[] what no correct end would have sent the other one; empty where all is well
---@field log string[] what was logged: "level: text"

--- Lets two ends speak with each other through a filter. Options: client and server, what each says: text, or a list of
--- texts of which each begins a segment; loss, order and twice, the shares of packets that are lost, late or doubled
--- on each part of their way; seed, for another course of that; mss, window (bytes), isn, sack (false: no SACK); saddr,
--- daddr, sport, dport; seconds, after which it is over (60).
---@param under_test ipq.test.Filter|fun(pkt: ipq.Packet)
---@param options? table
---@return ipq.test.Connection
function M.connection(under_test, options)
  if not filter.of(under_test) then error("connection() takes a filter: what load() gives, or a function", 2) end
  local result = misuse.guard(run, under_test, options or {})
  return result
end

return M
