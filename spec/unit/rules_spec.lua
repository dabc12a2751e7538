-- Rules as text: what is refused, and what is made of the rest. Nothing is put in place.
local netns = require "spec.support.netns"

local function ipq_lua(arguments)
  return netns.shell("LD_PRELOAD= ASAN_OPTIONS= " .. netns.program .. " " .. arguments)
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function printed(rule, more)
  local output, status = ipq_lua(("--rule %s --print-rules iptables %s"):format(quoted(rule), more or ""))
  assert.equal(0, status, output)
  return output
end

describe("--rule", function()
  local commands = { "-F", "-D OUTPUT 1", "OUTPUT -F", "OUTPUT -D OUTPUT", "OUTPUT -X", "OUTPUT -P DROP",
    "OUTPUT -j ACCEPT", "OUTPUT -p icmp -j DROP", "OUTPUT -g other", "OUTPUT -t nat", "OUTPUT -I INPUT",
    "OUTPUT -R 1", "OUTPUT -N new", "OUTPUT -E a b", "OUTPUT -Z", "OUTPUT -L", "OUTPUT -S", "OUTPUT -C", "OUTPUT -A x",
    "OUTPUT -h", "OUTPUT -V", "OUTPUT -vF", "OUTPUT -w 1", "OUTPUT -c 1 1", "OUTPUT --flush", "OUTPUT --flu",
    "OUTPUT --delete OUTPUT", "OUTPUT --del", "OUTPUT --jump ACCEPT", "OUTPUT --jump=ACCEPT", "OUTPUT --goto x",
    "OUTPUT --policy ACCEPT", "OUTPUT --delete-chain", "OUTPUT --modprobe=/bin/true", "OUTPUT --mod /bin/true",
    "OUTPUT --table nat", "OUTPUT --append INPUT", "OUTPUT --insert INPUT", "OUTPUT --zero", "OUTPUT --new-chain x",
    "OUTPUT --rename-chain a", "OUTPUT --", "OUTPUT -p icmp \"-F\"", "OUTPUT -M /bin/true" }
  for _, rule in ipairs(commands) do
    it("refuses " .. rule, function()
      local output, status = ipq_lua("--rule " .. quoted(rule) .. " /nonexistent.lua")
      assert.matches("^ipq%-lua: error: %-%-rule '.*': .*\n$", output)
      assert.truthy(output:find("has no place in it: a rule is a chain", 1, true)
        or output:find("must begin with the name of a chain", 1, true), output)
      assert.equal(64, status)
    end)
  end

  local wrong = {
    [""] = "must begin with the name of a chain",
    ["   "] = "must begin with the name of a chain",
    ["-p icmp"] = "must begin with the name of a chain",
    ["! OUTPUT"] = "must begin with the name of a chain",
    ["-t mangle"] = "must begin with the name of a chain",
    ["-4"] = "must begin with the name of a chain",
    ["-6 -p tcp"] = "must begin with the name of a chain",
    ["-t mangle -t raw OUTPUT"] = "must begin with the name of a chain",
    ["-t -4 OUTPUT"] = "must begin with the name of a chain",
    ["-4 -6 OUTPUT"] = "something of IPv4 and something of IPv6",
    ["-t mangle -p tcp"] = "must begin with the name of a chain",
    ["OUTPUT -m comment --comment 'x"] = "a quote is not closed",
    ["OUTPUT -m comment --comment \"x'"] = "a quote is not closed",
    ["OUTPUT -ptcp"] = "write \"-p tcp\" for \"-ptcp\"",
    ["OUTPUT -s 10.0.0.1 -d ::1"] = "something of IPv4 and something of IPv6",
    ["OUTPUT -4 -6"] = "something of IPv4 and something of IPv6",
    [("OUTPUT" .. (" -p tcp"):rep(40))] = "too long",
    ["OUTPUT " .. ("x"):rep(3000)] = "too long",
  }
  for rule, message in pairs(wrong) do
    it("refuses " .. rule:sub(1, 40), function()
      local output, status = ipq_lua("--rule " .. quoted(rule) .. " /nonexistent.lua")
      assert.truthy(output:find(message, 1, true), output)
      assert.equal(64, status)
    end)
  end

  it("refuses a seventeenth, and to be without a live queue", function()
    local output, status = ipq_lua((" --rule OUTPUT"):rep(17) .. " x.lua")
    assert.matches("%-%-rule: 16 of them are the most", output)
    assert.equal(64, status)
    for arguments, message in pairs {
      ["--queue-bypass x.lua"] = "--queue-bypass and --print-rules go with --rule",
      ["--print-rules nft x.lua"] = "--queue-bypass and --print-rules go with --rule",
      ["--rule OUTPUT --print-rules pf"] = "--print-rules pf: must be iptables or nft",
    } do
      output, status = ipq_lua(arguments)
      assert.truthy(output:find(message, 1, true), output)
      assert.equal(64, status)
    end
  end)

  local guard = "-m mark '!' --mark 0x20000000/0x20000000 "

  it("is a rule of iptables, and one of ip6tables, with the queue behind it", function()
    assert.equal("iptables -t filter -A INPUT -p tcp --dport 80 -j NFQUEUE --queue-num 0\n"
      .. "ip6tables -t filter -A INPUT -p tcp --dport 80 -j NFQUEUE --queue-num 0\n", printed "INPUT -p tcp --dport 80")
    assert.equal("iptables -t mangle -A FORWARD -j NFQUEUE --queue-balance 3:5 --queue-bypass\n"
      .. "ip6tables -t mangle -A FORWARD -j NFQUEUE --queue-balance 3:5 --queue-bypass\n",
      printed("-t mangle FORWARD", "-q 3:5 --queue-bypass"))
  end)

  it("does not queue what the filter sends itself", function()
    for _, chain in ipairs { "OUTPUT", "POSTROUTING" } do
      assert.truthy(printed("-t mangle " .. chain):find(chain .. " " .. guard, 1, true))
    end
    assert.is_nil(printed "FORWARD":find("mark", 1, true))
    assert.equal(0x20000000, require "ipq".SENT_MARK)
  end)

  it("goes by the mark of --mark-bits", function()
    assert.equal("iptables -t filter -A OUTPUT -m mark '!' --mark 0x2/0x2 -j NFQUEUE --queue-num 0\n"
      .. "ip6tables -t filter -A OUTPUT -m mark '!' --mark 0x2/0x2 -j NFQUEUE --queue-num 0\n",
      printed("OUTPUT", "--mark-bits 1,0x2"))
    assert.truthy(printed("OUTPUT", "--mark-bits 0x1,0X80000000"):find("--mark 0x80000000/0x80000000 ", 1, true))
  end)

  it("names ICMP as each of them does", function()
    assert.equal("iptables -t filter -A INPUT -p icmp -j NFQUEUE --queue-num 0\n"
      .. "ip6tables -t filter -A INPUT -p ipv6-icmp -j NFQUEUE --queue-num 0\n", printed "INPUT -p icmp")
    assert.matches("\nip6tables %-t filter %-A INPUT %-p ipv6%-icmp %-m icmp6 %-%-icmpv6%-type echo%-request %-j",
      printed "INPUT -p icmp -m icmp --icmp-type echo-request")
  end)

  local only = {
    iptables = { "INPUT -s 10.0.0.1", "INPUT -s 10.0.0.0/8,192.0.2.0/24", "INPUT ! -d 10.0.0.1", "INPUT -m ttl --ttl 3",
      "INPUT -f", "INPUT -4 -p tcp", "INPUT -p icmp --icmp-type redirect", "INPUT -p igmp",
      "-4 INPUT -p tcp", "-4 -t mangle INPUT", "-t mangle --ipv4 INPUT",
      "INPUT -m iprange --src-range 10.0.0.1-10.0.0.9" },
    ip6tables = { "INPUT -s ::1", "INPUT -d 2001:db8::/32", "INPUT -6 -p tcp", "INPUT -p ipv6-icmp", "INPUT -p icmpv6",
      "-6 INPUT -p tcp", "INPUT -m hl --hl-eq 3", "INPUT -m iprange --src-range 2001:db8::1-2001:db8::9" },
  }
  for program, rules in pairs(only) do
    for _, rule in ipairs(rules) do
      it("is one of " .. program .. " alone: " .. rule, function()
        local output = printed(rule)
        assert.matches("^" .. program .. " [^\n]+\n$", output)
        assert.is_nil(output:find " %-[46] ")
      end)
    end
  end

  for _, rule in ipairs { "INPUT -i ttl", "INPUT -p tcp --sport 1:1024", "INPUT -m mac --mac-source 02:00:00:00:00:01",
    "INPUT -m comment --comment icmp", "INPUT -m recent --set", "INPUT -m policy --dir in --pol ipsec" } do
    it("is one of each: " .. rule, function()
      assert.equal(2, select(2, printed(rule):gsub("\n", "")))
    end)
  end

  it("is taken apart as by a shell", function()
    assert.matches("INPUT %-m comment %-%-comment 'a \"b\"  c' %-m comment %-%-comment '%$x `y`' %-j ",
      printed [[  INPUT   -m comment --comment 'a "b"  c' -m comment --comment "\$x "\`y\` ]])
  end)

  it("is printed as a shell takes it", function()
    local rule = [[INPUT -m comment --comment "it's" -m comment --comment '' -m comment --comment '~a {b} #c $d']]
    local command = printed(rule):match "^iptables ([^\n]*)\n"
    local output = netns.shell("printf '<%s>' " .. command)
    assert.truthy(output:find("<--comment><it's><-m><comment><--comment><><-m><comment><--comment>"
      .. "<~a {b} #c $d><-j>", 1, true), output)
  end)

  it("is printed for nft, as iptables-translate does it", function()
    if netns.lacks "netlink sockets" then return pending(netns.lacks "netlink sockets") end
    local output, status = ipq_lua([[--rule 'OUTPUT -p icmp' --rule '-t mangle FORWARD -s 10.0.0.1' -q 0:3 \
      --print-rules nft]])
    assert.equal(0, status)
    for _, line in ipairs { "add table ip filter", "add chain ip filter OUTPUT { type filter hook output priority 0; }",
      "add table ip6 filter", "add chain ip mangle FORWARD { type filter hook forward priority -150; }" } do
      assert.truthy(("\n" .. output):find("\n" .. line .. "\n", 1, true), output)
    end
    assert.matches("\nadd rule ip filter OUTPUT [^\n]*0x20000000 [^\n]*queue [^\n]*0%-3", output)
    assert.matches("\nadd rule ip6 filter OUTPUT [^\n]*ipv6%-icmp [^\n]*queue ", output)
    assert.matches("\nadd rule ip mangle FORWARD ip saddr 10.0.0.1 [^\n]*queue ", output)
  end)

  it("is not printed for nft where iptables does not know it", function()
    if netns.lacks "netlink sockets" then return pending(netns.lacks "netlink sockets") end
    local output, status = ipq_lua "--rule 'OUTPUT --nonsense' --print-rules nft"
    assert.matches("error: %-%-rule 'OUTPUT %-%-nonsense': .*unknown option", output)
    assert.equal(64, status)
  end)
end)
