-- Tables of fields with any names and values, given to ipq.build and to pkt:answer{}: a whole packet comes of them, or
-- nil and a message, and nothing raises. What the test kit builds of the same fields is the same packet.
local ipq = require "ipq"
local judge = require "spec.fuzz.judge"
local names = require "ipq.build.fields"
local t = require "ipq.test"
local view = require "ipq.packet.view"

local equal = judge.equal
local builders = { "ip", "ip6", "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp" }

--- All names that a table may have, and some that it may not.
local known = { "payload", "ip", "ip6", "exthdrs", "nonsense", 1, true }
for _, header in ipairs(names.headers) do
  known[#known + 1] = header
  for _, field in ipairs(names.of[header]) do known[#known + 1] = field end
end
for _, name in ipairs(names.meta) do known[#known + 1] = name end

local addresses = { "192.0.2.9", "2001:db8::9", "fe80::1", "224.0.0.1", "255.255.255.255", "::", "0.0.0.0", "1.2.3",
  "" }
local odd = { true, false, -1, 0.5, 2 ^ 32, 2 ^ 53, 0 / 0, 1 / 0, "x", {}, print }

local function value_of(c)
  local kind = c.byte() % 8
  if kind == 0 then return c.byte() end
  if kind == 1 then return c.u16() end
  if kind == 2 then return c.u16() * 65536 + c.u16() end
  if kind == 3 then return c.pick(addresses) end
  if kind == 4 then return c.bytes(c.byte()) end
  if kind == 5 then return (c.bytes(1) .. "x"):rep(c.u16()) end
  if kind == 6 then return c.byte() % 2 == 0 end
  return c.pick(odd)
end

local function table_of(c, depth)
  local fields = {}
  for _ = 1, c.byte() % 6 do
    local name = c.pick(known)
    if depth == 0 and c.byte() % 8 == 0 then fields[name] = table_of(c, 1) else fields[name] = value_of(c) end
  end
  if c.byte() % 16 == 0 then fields.exthdrs = { { nexthdr = c.byte(), data = c.bytes(c.byte() % 32) } } end
  return fields
end

--- Whether a packet's bytes are those of one that could be sent: its length is what its header says.
local function check_length(fields, bytes)
  local ip, ip6 = fields.ip, fields.ip6
  -- Lengths that are given may lie.
  if fields.length ~= nil or type(ip) == "table" and ip.length ~= nil or type(ip6) == "table" and ip6.length ~= nil then
    return
  end
  local first = bytes:byte(1)
  local total = first >= 0x60 and bytes:byte(5) * 256 + bytes:byte(6) + 40 or bytes:byte(3) * 256 + bytes:byte(4)
  if total ~= #bytes then error(("%d bytes, and its header says %d"):format(#bytes, total), 0) end
end


local function build(c)
  local name, fields = c.pick(builders), table_of(c, 0)
  local packet, why = ipq.build[name](fields)
  if packet == nil then
    equal("string", type(why), "why there is none")
    return name -- which of several reasons is told is up to the order of the table
  end
  local bytes, failure = packet:bytes()
  if bytes == nil then
    equal("string", type(failure), "why it has no bytes")
    return failure
  end
  check_length(fields, bytes)
  local ok, of_kit = pcall(t[name], fields)
  -- The kit has what no packet has that is sent.
  if ok then equal(of_kit.bytes, bytes, "the kit's packet of the same fields") end
  -- It can be read, copied and turned round.
  for field in pairs(view.fields()) do local _ = packet[field] end
  local copy = packet:clone()
  if copy then equal(bytes, copy:bytes(), "its copy") end
  local answer, refusal = packet:answer(table_of(c, 0))
  if not answer then equal("string", type(refusal), "why there is no answer") end
  return ("%q"):format(bytes)
end

return function(input)
  local c = judge.choices(input)
  local results = {}
  while not c.is_over() do results[#results + 1] = build(c) end
  return table.concat(results, "\n")
end
