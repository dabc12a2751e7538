-- What some kernels have and others lack. Specs that need it are pending where it is missing, with that reason. In the
-- guest of spec/vm, whose kernel is chosen for what it has, they fail there instead.
local netns = require "spec.support.netns"
local M = {}

-- Each succeeds, in a namespace of its own, where the kernel has it.
local probes = {
  ["nft's queue"] = "nft 'add table inet t; add chain inet t c; add rule inet t c queue num 0'",
  ["bridges, and nft's queue in them"] = [[
    ip link add br0 type bridge
    nft 'add table bridge t; add chain bridge t c; add rule bridge t c queue num 0'
  ]],
  ["nft's address translation"] = [[
    nft 'add table ip t; add chain ip t c { type nat hook prerouting priority dstnat; }'
    nft 'add rule ip t c meta l4proto udp dnat to 10.0.0.1:7; add rule ip t c ct zone set 5'
  ]],
  ["a queue that tells connections"] = "\"$PROGRAM\" --doctor scripts/accept.lua | grep 'pkt.ct is told'",
  ["Landlock"] = "\"$PROGRAM\" --doctor scripts/accept.lua | grep 'Landlock keeps'",
  ["tunnels"] = [[
    ip link add t1 type vxlan id 7 local 10.0.0.1 remote 10.0.0.2 dstport 4789
    ip link add t2 type gre local 10.0.0.1 remote 10.0.0.2
    ip link add t3 type ipip local 10.0.0.1 remote 10.0.0.2
    ip link add t4 type geneve id 7 remote 10.0.0.2
    ip link add t5 type sit local 10.0.0.1 remote 10.0.0.2
  ]],
  ["a module for security contexts"] = "iptables-legacy -t mangle -A OUTPUT -p udp -j SECMARK --selctx unconfined",
}

local missing = {}

-- The reason why it cannot be had, or false.
local function reason(name)
  if missing[name] == nil then
    local has, output = pcall(netns.run, "set -e\n" .. probes[name])
    -- Behind the exit status is what the probe said.
    local said = not has and output:match "\n([^\n]+)"
    missing[name] = not has and "this kernel lacks " .. name .. (said and ": " .. said or "")
  end
  return missing[name]
end

--- describe(), for a kernel that has all of these features.
---@param needed string[]
function M.describe(name, needed, body)
  local busted = getfenv(2) -- busted's words are in the environment of a spec's file
  busted.describe(name, function()
    for _, one in ipairs(needed) do
      local why = reason(one)
      if why then
        return busted.it("needs " .. one, function()
          if os.getenv "IPQ_GUEST" then error(why) end
          busted.pending(why)
        end)
      end
    end
    body()
  end)
end

return M
