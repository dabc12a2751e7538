--- The options of a TCP header: RFC 9293 section 3.1. h is the header's address, and its options end at stop.
local ffi = require "ffi"
local header = require "ipq.packet.header"
-- A script may overwrite globals.
local error, ipairs, pairs, tostring, type = error, ipairs, pairs, tostring, type
local char, concat, sub = string.char, table.concat, string.sub

local END, NOP = 0, 1
local FIXED = 20 -- bytes of the header before them
local DATA_MAX = 38
local NONE = -1 -- no option's kind

local M = {}

--- The options from offset o on: kind and offset of each one's data, and its length. A malformed one ends the list.
--- Where there are no more, nil, and the offset at which the list ends.
local function next_option(h, o, stop)
  while o < stop do
    local kind = h[o]
    if kind == END then return nil, o end
    if kind ~= NOP then
      if o + 2 > stop or h[o + 1] < 2 or o + h[o + 1] > stop then return nil, o end
      return kind, o + 2, h[o + 1] - 2
    end
    o = o + 1
  end
  return nil, o
end

--- Where the data of the first option of that kind is, and its length; or nil, and where the list ends.
local function find(h, stop, wanted)
  local o = FIXED
  while true do
    local kind, data, length = next_option(h, o, stop)
    if not kind then return nil, data end
    if kind == wanted then return data, length end
    o = data + length
  end
end

--- A list of { kind, data }, without no-operations and the end.
function M.list(p, h)
  local list, o, stop = {}, FIXED, p.body - p.l4
  while true do
    local kind, data, length = next_option(h, o, stop)
    if not kind then return list end
    list[#list + 1] = { kind = kind, data = ffi.string(h + data, length) }
    o = data + length
  end
end

--- The data of the first option of that kind, nil where there is none.
function M.get(p, h, wanted)
  local data, length = find(h, p.body - p.l4, wanted)
  if data then return (ffi.string(h + data, length)) end
end

local function check_keys(i, option)
  for key in pairs(option) do
    if key ~= "kind" and key ~= "data" then
      error(("tcp.options: entry %d has no '%s'; it may have kind and data"):format(i, tostring(key)), 6)
    end
  end
end

local function option_bytes(i, option)
  if type(option) == "table" then
    check_keys(i, option)
    local kind, data = option.kind, option.data or ""
    if kind == NOP and data == "" then return "\1" end
    if type(kind) == "number" and kind >= 2 and kind <= 255 and kind % 1 == 0
      and type(data) == "string" and #data <= DATA_MAX then return char(kind, #data + 2) .. data end
  end
  error(("tcp.options: entry %d must be { kind = 2 to 255, data = string of at most %d bytes }, or { kind = 1 }, "
    .. "a no-operation"):format(i, DATA_MAX), 5)
end

--- The bytes of a list as M.list() gives it, in which no-operations may be.
local function list_bytes(list)
  local parts = {}
  for i, option in ipairs(list) do parts[i] = option_bytes(i, option) end
  for key in pairs(list) do
    if not parts[key] then
      error(("tcp.options must be a list of { kind = number, data = string }; this table has a key '%s'")
        :format(tostring(key)), 4)
    end
  end
  return (concat(parts))
end

local function put(p, bytes, level)
  header.put_options(p, "tcp.options", p.l4, p.body - p.l4 - FIXED, bytes, 12, true, level + 1)
end

--- Assigns them, from a list or from the bytes themselves.
function M.set_all(p, _, value)
  if type(value) == "table" then value = list_bytes(value) end
  put(p, value, 3)
end

--- Writes no-operations over all options of that kind.
local function remove(p, h, wanted)
  local stop = p.body - p.l4
  while true do
    local data, length = find(h, stop, wanted)
    if not data then return end
    header.store(p, "tcp.options", p.l4 + data - 2, ("\1"):rep(length + 2), length + 2, 4)
  end
end

--- Gives the first option of that kind this data, or adds it; nil takes the options of that kind away. Errors are at
--- the line of the caller's caller.
function M.set(p, h, kind, data)
  if type(kind) ~= "number" or not (kind >= 2 and kind <= 255) or kind % 1 ~= 0 then
    error("set_option() takes the kind of an option, 2 to 255, and its data", 3)
  end
  if data == nil then
    remove(p, h, kind)
    return
  end
  if type(data) ~= "string" or #data > DATA_MAX then
    error(("set_option(): the data must be a string of at most %d bytes"):format(DATA_MAX), 3)
  end
  local stop = p.body - p.l4
  local at, length = find(h, stop, kind) -- or where the list ends
  if at and length == #data then
    header.store(p, "tcp.options", p.l4 + at, data, length, 3)
    return
  end
  local first, last, _, list_end = length, length, nil, length
  if at then
    first, last = at - 2, at + length
    _, list_end = find(h, stop, NONE)
  end
  local bytes = ffi.string(h + FIXED, list_end - FIXED)
  local whole = sub(bytes, 1, first - FIXED) .. char(kind, #data + 2) .. data .. sub(bytes, last - FIXED + 1)
  if #whole > 40 then error("set_option(): TCP's options would be over 40 bytes, the most that a header has", 3) end
  put(p, whole, 3)
end

return M
