-- Packets of a script's own that were made of what nobody sends in good faith.
local fields = require "ipq.build.fields"
local hostile = require "spec.support.hostile"
local look = require "spec.support.look"
local random_fields = require "spec.support.random_fields"
local rewrite = require "spec.support.rewrite"
local t = require "ipq.test"

local SEED, COUNT = 7, 3000

local function read_all(own)
  for _, list in ipairs { fields.meta, fields.derived } do
    for _, name in ipairs(list) do tostring(own[name]) end
  end
  for _, header in ipairs(fields.headers) do
    local view = own[header]
    for _, field in ipairs(view and fields.of[header] or {}) do tostring(view[field]) end
    if view and header:find "^icmp" then look.read_all(view.inner) end
  end
  look.read_all(own.inner)
  return tostring(own)
end

local function change(own, random)
  local headers = {}
  for _, header in ipairs(random_fields.builders) do
    if own[header] then headers[#headers + 1] = header end
  end
  headers[#headers + 1] = own.ip and "ip" or own.ip6 and "ip6" or nil
  if #headers == 0 then return end
  local header = random.pick(headers)
  for name, value in pairs(random_fields.some(random, header, "options")) do
    -- A field may be gone by the change before it, and a packet cannot have any length.
    pcall(function()
      if name == "payload" then
        own[header].payload:replace(0, #own[header].payload, value)
      else
        own[header][name] = value
      end
    end)
  end
end

describe("packets of a script's own that hostile ones were made into", function()
  it("are whole, with headers that can be told, whatever is assigned", function()
    local random, made, changed, kept = rewrite.random(SEED), 0, 0, {}
    local function check(own)
      local bytes, why = own:bytes()
      if not bytes then
        assert.is_string(why)
        return false
      end
      local packet = t.packet(bytes)
      assert.is_nil(packet.malformed, packet:hex())
      assert.equal(#bytes, packet.ip and packet.ip.length or packet.ip6.length + 40)
      return true
    end
    for _, packet in ipairs(hostile.packets(SEED, COUNT)) do
      local clone, answer
      t.run(function(pkt)
        clone, answer = pkt:clone(), pkt:answer { payload = "the answer" }
      end, t.packet(packet[2]))
      for _, own in pairs { clone, answer } do
        read_all(own)
        assert.is_true(check(own))
        made = made + 1
        change(own, random)
        read_all(own)
        if check(own) then changed = changed + 1 end
        kept[made % 100 + 1] = { own, own:copy() }
      end
    end
    for _, each in pairs(kept) do assert.equal(each[2], each[1]:copy()) end
    assert.is_true(made > 500 and changed > 500, made .. " " .. changed)
  end)
end)
