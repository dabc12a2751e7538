-- Where what a filter sends arrives: a network, a filter, and clients that ask in each of many ways (ask.py).
local netns = require "spec.support.netns"
local M = {}

-- Hooks by the digit that they are in a port.
M.hooks = { "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING" }

-- What the filter does by the last digits of a port, and what the client makes of it.
M.kinds = {
  { name = "reset", protocol = "tcp", expected = { "ECONNREFUSED", "ECONNREFUSED" } },
  { name = "port-unreachable", protocol = "udp", expected = { "ECONNREFUSED", "ECONNREFUSED" } },
  { name = "admin-prohibited", protocol = "tcp", expected = { "EHOSTUNREACH", "EACCES" } },
  { name = "answer", protocol = "udp", expected = { "192.0.2.99", "192.0.2.99" } },
  { name = "duplicate", protocol = "udp", expected = { "sent", "sent" } },
}

-- Who asks whom, and in which hooks; the router is in the middle, "" here. translated: the hooks behind the
-- translation. link: whose address of which interface, and by which interface of the client.
M.paths = {
  { name = "forwarded", client = "on a", server = "on b", hooks = { 1, 3, 5 }, [4] = "10.2.0.2", [6] = "fd02::2" },
  { name = "masqueraded", client = "on a", server = "on b", hooks = { 1, 3, 5 }, [4] = "10.2.0.2", [6] = "fd02::2" },
  { name = "behind DNAT", client = "on a", server = "on b", hooks = { 1, 3, 5 },
    translated = { [3] = true, [5] = true }, [4] = "203.0.113.7", [6] = "2001:db8::7" },
  { name = "of a local client", client = "", server = "on b", hooks = { 4, 5 }, [4] = "10.2.0.2", [6] = "fd02::2",
    link = { "on b", "eth0", "to_b" } },
  { name = "of a local client behind DNAT", client = "", server = "on b", hooks = { 4, 5 }, translated = { [5] = true },
    [4] = "203.0.113.7", [6] = "2001:db8::7" },
  { name = "to a local server", client = "on a", server = "", hooks = { 1, 2 }, [4] = "10.1.0.1", [6] = "fd01::1",
    link = { "", "to_a", "eth0" } },
  { name = "to a local server behind REDIRECT", client = "on a", server = "", hooks = { 1, 2 },
    translated = { [2] = true }, [4] = "203.0.113.7", [6] = "2001:db8::7" },
  { name = "of a local client to a local server", client = "", server = "", hooks = { 4, 5, 1, 2 }, [4] = "127.0.0.1",
    [6] = "::1", link = { "", "to_a", "to_a" } },
}

M.LINK = 50 -- what a port has more where the addresses are a link's

local network = [[
  router
  ip route add default via 10.2.0.2
  ip -6 route add default via fd02::2
  for rule in rule rule6; do
    [ $rule = rule ] && b=10.2.0.2 elsewhere=203.0.113.7 || b=fd02::2 elsewhere=2001:db8::7
    for protocol in tcp udp; do
      $rule -t nat -A POSTROUTING -p $protocol --dport 2000:2999 -o to_b -j MASQUERADE
      $rule -t nat -A PREROUTING -p $protocol -d $elsewhere --dport 3000:3999 -j DNAT --to-destination $b
      $rule -t nat -A OUTPUT -p $protocol -d $elsewhere --dport 5000:5999 -j DNAT --to-destination $b
      $rule -t nat -A PREROUTING -p $protocol -d $elsewhere --dport 7000:7999 -j REDIRECT
    done
  done
]]

local judging = [[
  filter matrix <<'FILTER'
local ipq = require "ipq"

local function answer(pkt)
  local question = pkt.udp.payload:string(0, #pkt.udp.payload)
  assert(ipq.send(pkt:answer { payload = question:sub(1, 2) .. "\129\128\0\1\0\1\0\0\0\0" .. question:sub(13)
    .. "\192\12\0\1\0\1\0\0\0\60\0\4\192\0\2\99" }))
  return ipq.DROP
end

local kinds = {
  function() return ipq.REJECT end,
  function() return ipq.reject "port-unreachable" end,
  function() return ipq.reject "admin-prohibited" end,
  answer,
  function(pkt) assert(ipq.send(pkt)) end,
}

local seen = 0
return { send = true, filter = function(pkt)
  if pkt.udp then seen = seen + 1 end -- nobody repeats those
  return kinds[(pkt.tcp or pkt.udp).dport % 50](pkt)
end, stop = function() print("the filter saw " .. seen .. " of UDP") end }
FILTER
]]

--- The port by which path (number), hook (its digit), kind (number) and family are known. family is 4, 6 or "link".
function M.port(path, hook, kind, family)
  return path * 1000 + hook * 100 + kind + (family == "link" and M.LINK or 0)
end

local function name_of(path, hook, kind, family)
  return ("%s/%s/%s/%s"):format(M.paths[path].name:gsub(" ", "_"), M.hooks[hook], family, M.kinds[kind].name)
end

--- Calls each(path, hook, kind, family) for all that there is.
function M.each(each)
  for path, way in ipairs(M.paths) do
    for _, hook in ipairs(way.hooks) do
      for kind in ipairs(M.kinds) do
        for _, family in ipairs { 4, 6, "link" } do
          if family ~= "link" or way.link then each(path, hook, kind, family) end
        end
      end
    end
  end
end

-- One rule for a range of ports in each hook, in both families.
local function rules()
  local lines = {}
  for path, way in ipairs(M.paths) do
    for _, hook in ipairs(way.hooks) do
      local from = path * 1000 + hook * 100
      for _, protocol in ipairs { "tcp", "udp" } do
        for _, rule in ipairs { "rule", "rule6" } do
          lines[#lines + 1] = ("%s -t mangle -A %s -p %s --dport %d:%d -j NFQUEUE --queue-num 0"):format(rule,
            M.hooks[hook], protocol, from, from + 99)
        end
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Rules that count duplicates where they arrive, read in by one program for each host and family.
local function counting()
  local lines = { ["4"] = {}, ["6"] = {}, ["on b4"] = {}, ["on b6"] = {} }
  M.each(function(path, hook, kind, family)
    if M.kinds[kind].name ~= "duplicate" then return end
    local list = lines[M.paths[path].server .. (family == 4 and 4 or 6)]
    list[#list + 1] = "-A INPUT -p udp --dport " .. M.port(path, hook, kind, family)
  end)
  local parts = {}
  for of, list in pairs(lines) do
    parts[#parts + 1] = ("%s %s-legacy-restore -n <<'END' || fail counting\n*filter\n%s\nCOMMIT\nEND\n"):format(
      of:match "^(.-).$", of:find "4$" and "iptables" or "ip6tables", table.concat(list, "\n"))
  end
  return table.concat(parts)
end

local function asking(wanted)
  local parts = { [[
    link_address() { $1 ip -6 addr show dev $2 scope link | sed -n 's/.*inet6 \(fe80[^/]*\).*/\1/p'; }
    asks() { $1 python3 spec/support/ask.py "$SECONDS_EACH"; }
  ]] }
  M.each(function(path, hook, kind, family)
    if not wanted(path, hook, kind, family) then return end
    local way = M.paths[path]
    local address = way[family]
    if family == "link" then
      address = ('$(link_address "%s" %s)%%%s'):format(way.link[1], way.link[2], way.link[3])
    end
    parts[#parts + 1] = ('echo "%s" %s "%s" %d >> "$DIR/asked by %s"\n'):format(name_of(path, hook, kind, family),
      M.kinds[kind].protocol, address, M.port(path, hook, kind, family), way.client)
  end)
  parts[#parts + 1] = [[
    asks "on a" < "$DIR/asked by on a"
    asks "" < "$DIR/asked by "
  ]]
  return table.concat(parts)
end

-- What those rules have counted.
local counted = [[
  counts() {
    for host in "" "on b"; do for family in 4 6; do
      $host ip${family#4}tables-legacy -nvxL INPUT |
        sed -n "s/^ *\\([0-9]*\\) .*dpt:\\([0-9]*\\).*/arrived $family \\2 \\1/p"
    done; done
  }
  all_counted() { ! counts | grep -q ' [01]$'; }
  wait_for all_counted
]]

--- Asks in all ways for which wanted(path, hook, kind, family) is true, each for so many seconds at most.
--- Gives outcomes and milliseconds by M.name(), counts by "FAMILY PORT" (4 or 6), and all that was printed.
function M.run(wanted, seconds)
  local output = netns.run(table.concat { network, counting(), rules(), judging, "SECONDS_EACH=", seconds, "\n",
    asking(wanted), counted, "counts\nstop matrix\n" })
  local results = { counts = {} }
  for path_hook_kind, outcome, ms in output:gmatch "(%S+/%S+) (%S+) ([%d.]+)\n" do
    results[path_hook_kind] = { outcome = outcome, ms = tonumber(ms) }
  end
  for family, port, number in output:gmatch "arrived (%d) (%d+) (%d+)" do
    results.counts[family .. " " .. port] = tonumber(number)
  end
  return results, output
end

--- Whether this kernel tells connections (NFQA_CT). One that does not does not tell what NAT has changed.
function M.tells_connections()
  local output = netns.shell(netns.program .. " --doctor scripts/accept.lua")
  return output:find("pkt.ct is told", 1, true) ~= nil
end

M.name = name_of
return M
