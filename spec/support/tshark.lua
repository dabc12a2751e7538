-- Wireshark's dissectors as a second opinion.
local m = require "spec.support.message"

local M = {}

local RAW_IP = 101 -- LINKTYPE_RAW
local OPTIONS = table.concat({
  "-o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE",
  "-o udplite.check_checksum:TRUE -o udplite.ignore_checksum_coverage:FALSE -o dccp.check_checksum:TRUE",
  "-o 'sctp.checksum:CRC 32c'",
  "-o ip.defragment:FALSE -o tcp.desegment_tcp_streams:FALSE -o sctp.reassembly:FALSE",
  "-o tcp.relative_sequence_numbers:FALSE",
}, " ")
-- no look at what the transports carry
local ALONE = "-d udp.port==0-65535,data -d tcp.port==0-65535,data"

function M.available() return os.execute "command -v tshark >/dev/null" == 0 end

-- pcap-savefile(5)
local function write_capture(path, packets, link)
  local file = assert(io.open(path, "wb"))
  file:write(m.host32(0xa1b2c3d4), m.host16(2), m.host16(4), m.host32(0), m.host32(0), m.host32(65535),
    m.host32(link))
  for _, bytes in ipairs(packets) do
    file:write(m.host32(0), m.host32(0), m.host32(#bytes), m.host32(#bytes), bytes)
  end
  file:close()
end

local function read(packets, names, link, options)
  local path = os.tmpname()
  write_capture(path, packets, link or RAW_IP)
  local command = { "LD_PRELOAD= tshark -n -r", path, "-T fields -E separator=,", options }
  for _, name in ipairs(names) do command[#command + 1] = "-e " .. name end
  local pipe = assert(io.popen(table.concat(command, " ") .. " 2>" .. path .. ".err"))
  local rows = {}
  for line in pipe:lines() do
    local row, i = {}, 0
    for value in (line .. ","):gmatch "([^,]*)," do
      i = i + 1
      row[names[i]] = value
    end
    rows[#rows + 1] = row
  end
  pipe:close()
  os.remove(path)
  os.remove(path .. ".err")
  return rows
end

--- What tshark reads in each packet (a list of strings): a list of tables, field → text, "" where it has none.
--- Of a field that comes several times it is the first. They are raw IP, or frames of that link type.
function M.fields(packets, names, link)
  local rows = read(packets, names, link, "-E occurrence=f " .. ALONE .. " " .. OPTIONS)
  return rows
end

--- The same of raw IP, and of what is carried by TCP and UDP.
function M.applications(packets, names)
  local rows = read(packets, names, RAW_IP, "-E occurrence=f")
  return rows
end

--- The same of raw IP, and of the packets inside of it: "1;2" where a field comes twice.
function M.all_fields(packets, names)
  local rows = read(packets, names, RAW_IP, "-E occurrence=a -E 'aggregator=;' " .. OPTIONS)
  return rows
end

--- The same of raw IP, with a look at what the transports carry, each segment alone.
function M.contents(packets, names)
  local rows = read(packets, names, RAW_IP, "-E occurrence=f " .. OPTIONS)
  return rows
end

return M
