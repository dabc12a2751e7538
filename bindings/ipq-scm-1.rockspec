-- The Lua module by itself: "luarocks make bindings/ipq-scm-1.rockspec" in a clone.
rockspec_format = "3.0"
package = "ipq"
version = "scm-1"
source = { url = "git+file://." }
description = {
  summary = "Judge the packets that Linux's Netfilter queues",
  detailed = [[
    Packets of an NFQUEUE, or of a capture file, with their headers as fields that can be read and assigned;
    and a test kit for filters, which needs no root and no network. LuaJIT alone has what it is built on.]],
  license = "GPL-2.0-or-later",
}
supported_platforms = { "linux" }
dependencies = { "lua == 5.1" }
external_dependencies = {
  MNL = { header = "libmnl/libmnl.h" },
  NETTLE = { header = "nettle/gcm.h" },
  PCAP = { header = "pcap/pcap.h" },
}
build = {
  type = "make",
  build_target = "module",
  install_target = "install-module",
  build_variables = { CFLAGS = "$(CFLAGS)" },
  install_variables = { LUA_LMOD = "$(LUADIR)", LUA_CMOD = "$(LIBDIR)" },
}
