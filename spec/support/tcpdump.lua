-- tcpdump's lines as a second opinion.
local M = {}

function M.available() return os.execute "command -v tcpdump >/dev/null" == 0 end

--- What tcpdump prints for each packet of a capture: a table, the packet's number → its line. Sequence numbers are
--- those of the packets (-S), and further lines of a packet are left out.
---@param path string
---@return table<integer, string>
function M.lines(path)
  local pipe = assert(io.popen(("LD_PRELOAD= tcpdump -n -t -S --number -r %s 2>%s.err"):format(path, path)))
  local lines = {}
  for text in pipe:lines() do
    local number, line = text:match "^ *(%d+)  (.*)$"
    if number then lines[tonumber(number)] = line end
  end
  pipe:close()
  os.remove(path .. ".err")
  return lines
end

-- What tcpdump prints of IPv6's extension headers, where each goes before the ports.
local EXTENSIONS = { "HBH ", "DSTOPT ", "srcrt %(.-%) ", "frag %(%d+|%d+%) " }

--- The addresses and ports, and what follows, where extension headers are in between.
local function without_extensions(line)
  local head, rest = line:match "^(IP6 %S+ > %S+): (.*)$"
  if not head then return line end
  local found
  repeat
    found = false
    for _, extension in ipairs(EXTENSIONS) do
      local text, count = rest:gsub("^" .. extension, "")
      rest, found = text, found or count > 0
    end
  until not found
  local sport, dport, text = rest:match "^(%d+) > (%d+): (.*)$"
  if sport then return (head:gsub(" >", "." .. sport .. " >")) .. "." .. dport .. ": " .. text end
  if rest:match "^%S+ > %S+: " then return "IP6 " .. rest end
  return head .. ": " .. rest
end

--- A line without what ours has not: extension headers, TCP's options and urgent pointer.
---@param line string
---@return string
function M.plain(line)
  return (without_extensions(line):gsub(", urg %d+", ""):gsub(", options %b[]", ""))
end

return M
