-- The classic library as a file and as headers, and its calls without packets.
local netns = require "spec.support.netns"
local support = require "spec.support.libipq"

local root = support.must("pwd"):gsub("\n", "")
local shared = support.build .. "/libipq.so.0.0.0"

local symbols = {
  "ipq_create_handle", "ipq_ctl", "ipq_destroy_handle", "ipq_errmap", "ipq_errstr",
  "ipq_get_msgerr", "ipq_get_packet", "ipq_message_type", "ipq_perror", "ipq_read",
  "ipq_set_mode", "ipq_set_verdict",
}

-- What compiled programs have built in, on 64-bit machines: offset and size of fields.
local layout = [[
sizeof(ipq_packet_msg_t) 96
alignof(ipq_packet_msg_t) 8
ipq_packet_msg_t.packet_id 0 8
ipq_packet_msg_t.mark 8 8
ipq_packet_msg_t.timestamp_sec 16 8
ipq_packet_msg_t.timestamp_usec 24 8
ipq_packet_msg_t.hook 32 4
ipq_packet_msg_t.indev_name 36 16
ipq_packet_msg_t.outdev_name 52 16
ipq_packet_msg_t.hw_protocol 68 2
ipq_packet_msg_t.hw_type 70 2
ipq_packet_msg_t.hw_addrlen 72 1
ipq_packet_msg_t.hw_addr 73 8
ipq_packet_msg_t.data_len 88 8
ipq_packet_msg_t.payload 96 0
sizeof(ipq_mode_msg_t) 16
ipq_mode_msg_t.value 0 1
ipq_mode_msg_t.range 8 8
sizeof(ipq_verdict_msg_t) 24
ipq_verdict_msg_t.value 0 4
ipq_verdict_msg_t.id 8 8
ipq_verdict_msg_t.data_len 16 8
ipq_verdict_msg_t.payload 24 0
sizeof(ipq_peer_msg_t) 24
ipq_peer_msg_t.msg.verdict 0 24
ipq_peer_msg_t.msg.mode 0 16
sizeof(ipq_handle) 32
ipq_handle.fd 0 4
ipq_handle.blocking 4 1
ipq_handle.local 8 12
ipq_handle.peer 20 12
sizeof(ipq_id_t) 8
IPQ_COPY_NONE 0
IPQ_COPY_META 1
IPQ_COPY_PACKET 2
IPQ_COPY_MAX 2
IPQM_BASE 16
IPQM_MODE 17
IPQM_VERDICT 18
IPQM_PACKET 19
IPQM_MAX 20
MSG_TRUNC 32
]]

describe("libipq's ABI", function()
  it("has the sizes, offsets and constants that programs have built in", function()
    assert.equal(layout, support.must(support.program("abi")))
  end)

  it("exports the 12 symbols and nothing else, without versions", function()
    local found = {}
    for name in support.must("nm -D --defined-only " .. shared):gmatch("%S+ %a (%S+)") do
      found[#found + 1] = name
    end
    assert.same(symbols, found)
  end)

  it("has an error table of the original's size, which old programs may hold a copy of", function()
    local size = support.must("nm -D -S " .. shared):match("%x+ (%x+) D ipq_errmap")
    assert.equal(17 * 16, tonumber(size, 16))
  end)

  it("has the original's soname and needs libc alone", function()
    local headers = support.must("objdump -p " .. shared)
    assert.equal("libipq.so.0", headers:match("SONAME%s+(%S+)"))
    local needed = {}
    for name in headers:gmatch("NEEDED%s+(%S+)") do
      -- A sanitizer's, and the loader, which on arm64 has the stack protector's value.
      if not name:find("san%.so") and not name:find("^ld%-linux") then needed[#needed + 1] = name end
    end
    assert.same({ "libc.so.6" }, needed)
  end)

  it("is one static object with no other global names", function()
    local found = {}
    local listing = support.must("nm -g --defined-only " .. support.build .. "/libipq.a")
    for name in listing:gmatch("%x+ %a (%S+)") do found[#found + 1] = name end
    assert.same(symbols, found)
  end)
end)

describe("an installed libipq", function()
  local dir, prefix

  setup(function()
    dir = support.directory()
    prefix = dir .. "/usr"
    support.install(dir)
  end)
  teardown(function() os.execute("rm -rf " .. dir) end)

  -- Compiles text against what is installed, with warnings as errors.
  local function compile(text, command)
    local path = dir .. "/source"
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    return support.run(("%s -Werror -Wall -isystem /nonexistent -I%s/include -c -o %s.o %s")
      :format(command, prefix, path, path))
  end

  local uses = [[
    int use(void);
    int use(void)
    {
      unsigned char buf[2048];
      struct ipq_handle *h = ipq_create_handle(0, PF_INET);
      if (!h || errno == EINTR || ipq_read(h, buf, sizeof(buf), 0) < 0
          || ipq_message_type(buf) == NLMSG_ERROR)
        ipq_perror(ipq_errstr());
      LDEBUG("nothing %d", 1);
      ipq_packet_msg_t *m = ipq_get_packet(buf);
      return ipq_set_verdict(h, m->packet_id, 1, m->data_len, m->payload) + close(h->fd) + IFNAMSIZ;
    }
  ]]

  for _, header in ipairs { "libipq.h", "libipq/libipq.h" } do
    for _, command in ipairs { "cc -std=gnu89 -xc", "cc -std=gnu17 -xc", "cc -DDEBUG_LIBIPQ -xc",
      "c++ -xc++", "c++ -std=gnu++98 -xc++" } do
      it(("compiles: <%s> with %s"):format(header, command), function()
        local output, ok = compile(("#include <%s>\n#include <%s>\n%s"):format(header, header, uses),
          command)
        assert.is_true(ok, output)
      end)
    end
  end

  it("compiles inside a C++ program's own extern \"C\"", function()
    local output, ok = compile('extern "C" {\n#include "libipq.h"\n}\n' .. uses, "c++ -xc++")
    assert.is_true(ok, output)
  end)

  it("brings the kernel's header, which some programs include alone", function()
    local output, ok = compile("#include <linux/netfilter_ipv4/ip_queue.h>\n"
      .. "ipq_packet_msg_t msg; int mode = IPQ_COPY_PACKET, size = IFNAMSIZ;\n", "cc -xc")
    assert.is_true(ok, output)
  end)

  it("keeps the guards that tell a program whether it is there", function()
    local output, ok = compile("#include <libipq.h>\n#if !defined(_LIBIPQ_H) || !defined(_IP_QUEUE_H)\n"
      .. "#error\n#endif\n#if !defined(IPQ_COPY_MAX) || !defined(IPQM_MAX)\n#error\n#endif\n", "cc -xc")
    assert.is_true(ok, output)
  end)

  it("links with -lipq alone, by both names of the library", function()
    support.must(("cc -Wall -Werror -I%s/include -o %s/passer lib/libipq/examples/passer.c -L%s/lib -lipq")
      :format(prefix, dir, prefix))
    assert.matches("libipq.so.0\n", support.must("objdump -p " .. dir .. "/passer | grep NEEDED"))
    assert.equal("libipq.so.0.0.0\n", support.must(("readlink %s/lib/libipq.so"):format(prefix)))
    assert.equal("libipq.so.0.0.0\n", support.must(("readlink %s/lib/libipq.so.0"):format(prefix)))
  end)

  it("links statically into a program that has names of its own like its inner ones", function()
    if support.sanitizer then pending("the archive was built with sanitizers") end
    local path = dir .. "/clash.c"
    local file = assert(io.open(path, "w"))
    file:write("#include <libipq.h>\nint ipq_attr_parse; int ipq_verdict_encode;\n"
      .. "int main(void) { return ipq_destroy_handle(ipq_create_handle(0, PF_INET)); }\n")
    file:close()
    support.must(("cc -I%s/include -o %s/clash %s %s/lib/libipq.a && %s/clash")
      :format(prefix, dir, path, prefix, dir))
  end)

  it("is known to pkg-config", function()
    local pc = ("PKG_CONFIG_PATH=%s/lib/pkgconfig pkg-config "):format(prefix)
    assert.matches("-lipq", support.must(pc .. "--libs libipq"))
    -- A static program needs no more.
    assert.equal(support.must(pc .. "--libs libipq"), support.must(pc .. "--libs --static libipq"))
    assert.equal("/usr/include\n", support.must(pc .. "--variable=includedir libipq"))
    support.must(pc .. "--modversion libipq")
  end)

  it("goes again, all of it", function()
    local other = support.directory()
    for _, target in ipairs { "install-libipq", "uninstall-libipq" } do
      support.must(("make -C %s %s DESTDIR=%s PREFIX=/opt BUILD=%s")
        :format(root, target, other, support.build))
    end
    assert.equal("", support.must("find " .. other .. " ! -type d"))
    os.execute("rm -rf " .. other)
  end)
end)

describe("libipq's manual pages", function()
  local pages = support.lines(support.must("ls lib/libipq/man/*.3"))

  it("are there for the library and each of its functions", function()
    local names = {}
    for _, path in ipairs(pages) do names[path:match("([^/]+)%.3$")] = true end
    assert.is_true(names.libipq)
    for _, symbol in ipairs(symbols) do
      if symbol ~= "ipq_errmap" then assert.is_true(names[symbol], symbol) end
    end
  end)

  it("have an example that compiles as it stands", function()
    local source = support.must("mktemp --suffix=.c"):gsub("\n", "")
    support.write_example(source)
    local output, ok = support.run("cc -Wall -Wextra -Werror -Ilib/libipq -fsyntax-only " .. source)
    os.remove(source)
    assert.is_true(ok, output)
  end)

  for _, path in ipairs(pages) do
    it("raise no warning: " .. path, function()
      assert.equal("", support.must("LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l -Tutf8 " .. path
        .. " 2>&1 >/dev/null"))
      if select(2, support.run("command -v mandoc")) then
        -- The pages refer to each other before they are installed.
        assert.equal("", (support.run("mandoc -T lint " .. path
          .. " 2>/dev/null | grep -v 'referenced manual not found'")))
      end
    end)
  end
end)

describe("libipq's calls", function()
  for number, sentence in ipairs(support.cases("calls")) do
    it(sentence, function()
      if netns.lacks "netlink sockets" then return pending(netns.lacks "netlink sockets") end
      support.case("calls", number)
    end)
  end

  it("touch no memory that is not theirs, and lose none", function()
    if not select(2, support.run("command -v valgrind")) then pending("valgrind is not there") end
    if support.sanitizer then pending("the sanitizers see to it") end
    if netns.lacks "netlink sockets" then return pending(netns.lacks "netlink sockets") end
    support.must("FUZZ_ROUNDS=2000 timeout 600 valgrind -q --leak-check=full --error-exitcode=99 "
      .. support.program("calls") .. " all")
  end)
end)
