--- One end of a TCP connection, as simple as it can be and be right: what it has to say goes out in segments within its
--- peer's window, what is not acknowledged is said again, what comes is put together. (RFC 9293) It takes note of
--- whatever no correct peer would have sent it.
local bit = require "bit"
local build = require "ipq.test.build"
local checksum = require "ipq.test.checksum"
local seq = require "ipq.seq"

local Endpoint = {}
Endpoint.__index = Endpoint

local M = {}

--- options: name, address, port, peer_address, peer_port, isn, says (list of strings), mss, window, has_sack.
function M.new(options)
  local self = setmetatable({ got = {}, early = {}, faults = {}, una = 0, next = 0, received = 0, highest = 0,
    peer_window = 0, state = "closed" }, Endpoint)
  for name, value in pairs(options) do self[name] = value end
  self.data = table.concat(self.says)
  -- Where one write ends no segment goes on.
  self.ends, self.size = {}, 0
  for _, text in ipairs(self.says) do
    self.size = self.size + #text
    self.ends[#self.ends + 1] = self.size
  end
  self.peer_mss = 536
  return self
end

local function option(kind, data) return { kind = kind, data = data } end

function Endpoint:make(fields)
  fields.saddr, fields.sport, fields.daddr, fields.dport = self.address, self.port, self.peer_address, self.peer_port
  fields.window = self.window
  return (build.tcp(fields))
end

--- Its SYN, or SYN and ACK.
function Endpoint:syn()
  local mss = self.mss
  local fields = { syn = true, sequence = self.isn,
    options = { option(2, string.char(math.floor(mss / 256), mss % 256)) } }
  if self.state == "syn received" then fields.ack, fields.ackseq = true, seq.add(self.peer_isn, 1) end
  return (self:make(fields))
end

function Endpoint:sequence(position) return (seq.add(self.isn, 1 + position)) end

--- The acknowledgement of what has come, with the blocks of what came early; so far from where it goes on.
function Endpoint:ack(offset)
  return (self:make { ack = true, sequence = self:sequence(self.next + (offset or 0)),
    ackseq = seq.add(self.peer_isn, 1 + self.received), options = self:sack() })
end

local function be32(n)
  return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255),
    bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end

function Endpoint:sack()
  local list = {}
  for at, text in pairs(self.early) do list[#list + 1] = { at, at + #text } end
  if #list == 0 or not self.has_sack then return nil end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  local data = ""
  for i = 1, math.min(#list, 3) do
    data = data .. be32(bit.tobit(seq.add(self.peer_isn, 1 + list[i][1])))
      .. be32(bit.tobit(seq.add(self.peer_isn, 1 + list[i][2])))
  end
  return { option(5, data) }
end

--- Where the segment ends that begins at a position.
function Endpoint:stop_of(at)
  local stop = math.min(at + self.peer_mss, self.size, self.una + self.peer_window)
  for _, border in ipairs(self.ends) do
    if border > at and border < stop then return border end
  end
  return stop
end

--- A segment from that position on; nil: nothing may be sent.
function Endpoint:segment(at)
  local stop = self:stop_of(at)
  local is_last = stop >= self.size and at <= self.size
  if stop <= at and not is_last then return nil end
  local text = self.data:sub(at + 1, stop)
  local pkt = self:make { ack = true, fin = is_last, psh = #text > 0, sequence = self:sequence(at), payload = text,
    ackseq = seq.add(self.peer_isn, 1 + self.received) }
  return pkt, at + #text + (is_last and 1 or 0)
end

--- It begins. Gives its SYN.
function Endpoint:open()
  self.state = "syn sent"
  return { (self:syn()) }
end

--- What it says now: a list of packets. again: all that was not acknowledged.
function Endpoint:send(again)
  local list = {}
  if self.state == "syn sent" or self.state == "syn received" then
    if again then list[1] = self:syn() end
    return list
  end
  if self.state ~= "open" then return list end
  if again then self.next = self.una end
  while self.next <= self.size do
    local pkt, stop = self:segment(self.next)
    if not pkt then break end
    self.next = stop
    list[#list + 1] = pkt
  end
  -- A window that is closed is asked for: by what is not acceptable, and so is answered.
  if again and #list == 0 and self.una <= self.size then list[1] = self:ack(-1) end
  return list
end

function Endpoint:fault(text, ...) self.faults[#self.faults + 1] = self.name .. ": " .. text:format(...) end

--- Takes in bytes that came: those that were there before have to be the same.
function Endpoint:take(at, text)
  if at > self.received then
    local known = self.early[at]
    if not known or #known < #text then self.early[at] = text end
    return
  end
  local before = table.concat(self.got)
  local old = before:sub(at + 1, at + #text)
  if at >= 0 and old ~= text:sub(1, #old) then self:fault("other bytes at %d than before", at) end
  local new = text:sub(self.received - at + 1)
  self.got = { before .. new }
  self.received = self.received + #new
end

--- What came early and is in its place now; gives whether there was some.
function Endpoint:take_early()
  for start, text in pairs(self.early) do
    if start <= self.received then
      self.early[start] = nil
      self:take(start, text)
      return true
    end
  end
  return false
end

function Endpoint:take_fin(at)
  if at ~= self.received then return end
  if not self.has_ended then
    self.has_ended = true
    self.received = self.received + 1
  end
end

local function mss_of(tcp)
  for _, each in ipairs(tcp.options) do
    if each.kind == 2 then return each.data:byte(1) * 256 + each.data:byte(2) end
  end
  return 536
end

function Endpoint:take_syn(tcp)
  if self.state == "closed" then self.state = "syn received" end
  if self.state == "syn sent" then self.state = "open" end
  self.peer_isn = self.peer_isn or tcp.sequence
  self.peer_mss = math.min(mss_of(tcp), self.mss)
  self.peer_window = tcp.window
end

function Endpoint:take_ack(tcp)
  local position = seq.diff(tcp.ackseq, seq.add(self.isn, 1))
  if position > self.next and position > self.highest then
    return self:fault("byte %d is acknowledged, of %d that were sent", position, self.next)
  end
  if self.state == "syn received" then self.state = "open" end
  if position < self.una then return end
  self.una, self.next = position, math.max(self.next, position)
  self.peer_window = tcp.window
end

--- A packet has come. Gives what it answers: a list of packets.
function Endpoint:receive(pkt)
  local tcp = pkt.tcp
  self.highest = math.max(self.highest, self.next)
  local right = checksum.right(pkt)
  if not right or right.bytes ~= pkt.bytes then
    self:fault "a packet with a wrong checksum came"
    return {}
  end
  if tcp.rst then
    self.is_reset = true
    self.state = "reset"
    return {}
  end
  if self.state == "reset" then return {} end
  if tcp.syn then
    self:take_syn(tcp)
    if self.state == "syn received" then return { (self:syn()) } end
    return { (self:ack()), unpack(self:send()) }
  end
  if tcp.ack then self:take_ack(tcp) end
  local payload = tostring(tcp.payload)
  local at = seq.diff(tcp.sequence, seq.add(self.peer_isn, 1))
  local is_unacceptable = at + #payload < self.received or at > self.received + self.window
  local answers = self:send()
  if #payload > 0 or tcp.fin or is_unacceptable then
    if at + #payload <= self.received + self.window then
      if #payload > 0 then self:take(at, payload) end
      while self:take_early() do end
      if tcp.fin then self:take_fin(at + #payload) end
    end
    table.insert(answers, 1, (self:ack()))
  end
  return answers
end

--- Whether it has said all, and has heard all.
function Endpoint:is_done() return self.state == "reset" or self.una > self.size and self.has_ended end

function Endpoint:said() return table.concat(self.got) end

return M
