--- Packets for people: field by field, in hexadecimal, and two of them side by side.
local buffer = require "ipq.test.buffer"
local fields = require "ipq.build.fields"

local M = {}

local function quoted(value)
  value = buffer.text(value) or value
  if type(value) ~= "string" then return tostring(value) end
  local shown = ("%q"):format(value):gsub("\n", "n"):gsub("[^\32-\126]", function(c)
    return ("\\x%02x"):format(c:byte())
  end)
  if #shown > 36 then shown = shown:sub(1, 33) .. "..." end
  return shown
end

local function list_text(value)
  if type(value) ~= "table" then return quoted(value) end
  local parts = {}
  for _, option in ipairs(value) do parts[#parts + 1] = ("%d:%s"):format(option.kind, quoted(option.data)) end
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
end

local function tags_text(tags)
  local parts = {}
  for _, tag in ipairs(tags) do
    parts[#parts + 1] = ("0x%04x %d pcp %d%s"):format(tag.proto, tag.id, tag.pcp, tag.dei and " dei" or "")
  end
  return table.concat(parts, ", ")
end

-- The single flags say the same again.
local flags = { "cwr", "ece", "urg", "ack", "psh", "rst", "syn", "fin" }
local is_flag = {}
for _, name in ipairs(flags) do is_flag["tcp." .. name] = true end

local function flags_text(tcp)
  local names = {}
  for _, name in ipairs(flags) do names[#names + 1] = tcp[name] and name or nil end
  return ("0x%02x%s"):format(tcp.flags, #names > 0 and " " .. table.concat(names, " ") or "")
end

-- Of the metadata, what a filter may change, and what says where the packet is.
local shown_meta = { "family", "hook_name", "mark", "priority", "indev_name", "outdev_name", "len", "data_len" }

local function add(rows, name, value, text)
  if value == nil or is_flag[name] then return end
  rows[#rows + 1] = { name, text or list_text(value) }
  rows[name] = rows[#rows][2]
end

--- A packet's fields as a list of { name, text }, and by name.
local function rows_of(packet)
  local rows = {}
  for _, name in ipairs(shown_meta) do add(rows, name, packet[name]) end
  if packet.vlan then add(rows, "vlan", packet.vlan, tags_text(packet.vlan)) end
  for _, header in ipairs(fields.headers) do
    local view = packet[header]
    for _, field in ipairs(view and fields.of[header] or {}) do
      local text = header == "tcp" and field == "flags" and flags_text(view)
        or field == "inner" and view.inner and tostring(view.inner) or nil
      add(rows, header .. "." .. field, view[field], text)
    end
  end
  if not (packet.protocol or packet.arp) then add(rows, "payload", packet.payload) end
  return rows
end

--- The bytes, 16 a row, those at the offsets in marked with an asterisk behind them.
local function hex_rows(bytes, marked)
  local lines = {}
  for row = 0, #bytes - 1, 16 do
    local digits, letters = {}, {}
    for i = row, math.min(row + 15, #bytes - 1) do
      local byte = bytes:byte(i + 1)
      digits[#digits + 1] = ("%02x%s"):format(byte, marked[i] and "*" or " ")
      letters[#letters + 1] = byte >= 32 and byte < 127 and string.char(byte) or "."
    end
    lines[#lines + 1] = ("  %04x  %-48s  %s"):format(row, table.concat(digits), table.concat(letters))
  end
  return table.concat(lines, "\n")
end

--- One packet: a line, its fields, its bytes.
---@param packet ipq.test.Packet
---@return string
function M.describe(packet)
  local lines = { tostring(packet) }
  for _, row in ipairs(rows_of(packet)) do lines[#lines + 1] = ("  %-18s %s"):format(row[1], row[2]) end
  lines[#lines + 1] = hex_rows(packet.bytes, {})
  return table.concat(lines, "\n")
end

local function differing(a, b)
  local marked = {}
  for i = 1, math.max(#a, #b) do
    if a:byte(i) ~= b:byte(i) then marked[i - 1] = true end
  end
  return marked
end

--- Two packets: what differs is marked.
---@param expected ipq.test.Packet
---@param got ipq.test.Packet
---@return string
function M.compare(expected, got)
  local lines = { ("    %-18s %-38s %s"):format("", "expected", "got") }
  local rows, others = rows_of(expected), rows_of(got)
  for _, row in ipairs(others) do
    if not rows[row[1]] then rows[#rows + 1] = { row[1] } end
  end
  for _, row in ipairs(rows) do
    local name, a, b = row[1], row[2] or "-", others[row[1]] or "-"
    lines[#lines + 1] = ("  %s %-18s %-38s %s"):format(a == b and " " or "*", name, a, b)
  end
  local marked = differing(expected.bytes, got.bytes)
  lines[#lines + 1] = ("expected, %d bytes:"):format(#expected.bytes)
  lines[#lines + 1] = hex_rows(expected.bytes, marked)
  lines[#lines + 1] = ("got, %d bytes:"):format(#got.bytes)
  lines[#lines + 1] = hex_rows(got.bytes, marked)
  return table.concat(lines, "\n")
end

return M
