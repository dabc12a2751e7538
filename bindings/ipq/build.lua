--- ipq.build: packets of a script's own, from tables of fields.
local builder = require "ipq.build.builder"
local meta = require "ipq.build.meta"
local misuse = require "ipq.build.misuse"
local own = require "ipq.packet.own"
local spelling = require "ipq.spelling"
local error, pairs, pcall, setmetatable, tostring, type = error, pairs, pcall, setmetatable, tostring, type

local M = {}

--- What no packet has that is sent: its link header is another's to make.
local link = { ether = true, vlan = true }

local function made(name, given)
  local packet, metadata = builder.build(name, given, "ipq.build.")
  local checked = {}
  for key, value in pairs(metadata) do
    if not link[key] then checked[key] = value end
  end
  meta.apply(own.packet(packet), meta.checked(checked))
  return packet
end

for name in pairs(builder.names) do
  M[name] = function(given)
    if type(given) ~= "table" and given ~= nil then error("a builder takes a table of fields", 2) end
    local ok, packet = pcall(made, name, given or {})
    if not ok then return nil, (misuse.plain(packet)) end
    return packet
  end
end

setmetatable(M, { __index = function(_, name)
  error(("ipq.build has no '%s'%s"):format(tostring(name), spelling.hint(name, M)), 2)
end })

return M
