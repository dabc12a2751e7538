-- Live specs: real packets in a network namespace that is gone afterwards.
local M = {}

local build = os.getenv "IPQ_BUILD" or "build"

--- How many times as long as elsewhere things may take here.
M.slow = tonumber(os.getenv "IPQ_SLOW" or 1)

--- What "sh" prints (both outputs) and its exit status.
local function shell(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1; echo \"[status $?]\"", "r"))
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.*)%[status (%d+)%]\n$"
  return output, tonumber(status)
end

local refusals = {}

local probes = { ["user namespaces"] = "unshare -Ur true", mounts = "unshare -m true" }
-- AF_NETLINK, SOCK_RAW, and NETLINK_USERSOCK or NETLINK_NETFILTER
probes["netlink sockets"] = [[luajit -e '
  local ffi = require "ffi"
  ffi.cdef "int socket(int domain, int type, int protocol); char *strerror(int error);"
  if ffi.C.socket(16, 3, 2) >= 0 and ffi.C.socket(16, 3, 12) >= 0 then os.exit(0) end
  print(ffi.string(ffi.C.strerror(ffi.errno())))
  os.exit(1)']]

--- Why what is needed cannot be had here, nil where it can: "user namespaces", which are not permitted in a chroot,
--- "mounts", which are not in a container without CAP_SYS_ADMIN, or "netlink sockets", which are not where QEMU runs
--- the programs of another architecture.
function M.lacks(needed)
  local probe = probes[needed]
  if refusals[needed] == nil then
    local output, status = shell(probe)
    refusals[needed] = status ~= 0 and ("%s are not permitted here: %s"):format(needed, output:match "[^\n]*")
  end
  return refusals[needed] or nil
end

local available
--- Whether this system can queue packets in a namespace of ours. Root alone can read what the kernel
--- tells of its queues, which the specs wait for.
function M.available()
  if available == nil then
    local _, status = shell [[spec/support/nfqueue.sh && unshare -n sh -c '
      XTABLES_LOCKFILE=/tmp/.ipq_xtables.$$ iptables-legacy -A OUTPUT -p icmp -j NFQUEUE; s=$?
      rm -f /tmp/.ipq_xtables.$$; exit $s']]
    available = status == 0
  end
  return available
end

--- describe(), with its specs pending where the kernel cannot do it. IPQ_NEED_KERNEL makes that a
--- failure: for machines that are known to have what it takes.
function M.describe(name, body)
  local busted = getfenv(2) -- busted's words are in the environment of a spec's file
  if M.available() then return busted.describe(name, body) end
  busted.describe(name, function()
    busted.it("needs root, NFQUEUE and iptables-legacy", function()
      if os.getenv "IPQ_NEED_KERNEL" then error "not available, but IPQ_NEED_KERNEL is set" end
      busted.pending "root, NFQUEUE or iptables-legacy is missing"
    end)
  end)
end

--- Runs a shell script after spec/support/netns.sh in a new namespace; raises with its output unless it
--- succeeds. $DIR is a folder that is removed afterwards.
---@param seconds? integer when it is given up, 300; IPQ_SLOW times as many on a machine that needs more
---@param unshared? string what else is not shared, as unshare(1)'s options
---@return string output
function M.run(script, seconds, unshared)
  local dir = shell "mktemp -d":match "%S+"
  local path = dir .. "/spec.sh"
  local file = assert(io.open(path, "w"))
  file:write(". spec/support/netns.sh\n", script)
  file:close()
  local output, status = shell(("DIR=%s IPQ_BUILD=%s timeout %d unshare -n %s sh %s"):format(dir, build,
    (seconds or 300) * M.slow, unshared or "", path))
  shell("rm -rf " .. dir)
  if status ~= 0 then error(("exit %d\n%s"):format(status, output), 2) end
  return output
end

--- Runs a command without a namespace. Gives its output and exit status.
M.shell = shell
M.program = build .. "/ipq-lua"

return M
