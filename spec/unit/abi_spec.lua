local ffi = require "ffi"
local lib = require "spec.support.lib"

-- A C program prints what the compiler makes of lib/ipq_abi.h; LuaJIT must make the same of it.
local structs = {
  ipq_packet = { "data", "data_len", "len", "packet_id", "verdict", "set", "mark", "priority",
    "present", "skb_info", "indev", "outdev", "physindev", "physoutdev", "uid", "gid", "queue_num",
    "hw_protocol", "hook", "family", "hw_addrlen", "hw_addr", "vlan_proto", "vlan_tci", "ct_info",
    "timestamp_sec", "timestamp_usec",
    "parsed", "ip_version", "protocol",
    "fragment", "l3", "l4", "body", "end", "ah", "dirty", "as_is", "held", "l4_delta", "spare", "ct", "secctx",
    "l2hdr", "ct_len", "secctx_len", "l2hdr_len" },
  ipq_conntrack = { "has", "id", "mark", "status", "timeout", "zone" },
  ipq_counters = { "batches", "packets", "bytes", "accepted", "dropped", "queued", "repeated", "stopped",
    "marked", "errors", "settled", "malformed", "refused", "overruns", "last_refusal" },
  ipq_batch = { "packets", "count", "capacity", "default_verdict", "error_verdict", "current", "unanswered",
    "slot_size", "spares", "slots", "held", "held_count", "held_limit", "in_timer", "wake_ns", "counters",
    "timed_each", "filter_ns", "script_counters" },
  ipq_histogram = { "count", "sum", "buckets" },
  ipq_counter = { "name", "value" },
  ipq_scripted = { "counters" },
  ipq_live = { "packet", "handle", "newest" },
  ipq_device = { "index", "type", "name", "until_ms" },
  ipq_devices = { "fd", "slots" },
  ipq_driver = { "source", "batch", "interrupt", "woken", "handed_ns" },
  ipq_calls = { "driver_next", "driver_hold", "driver_release", "driver_settle", "conntrack_parse", "device_get",
    "devices", "now", "monotonic", "find", "memcmp",
    "header_parse", "rewrite_store", "rewrite_replace", "rewrite_set", "rewrite_finish", "rewrite_strerror",
    "inet_ntop",
    "address_parse", "netset_new", "netset_free", "netset_add_text", "netset_load", "netset_finish",
    "netset_has", "netset_has_saddr", "netset_has_daddr", "netset_count", "netset_strerror" },
}

local function compiled()
  local source, program = os.tmpname(), os.tmpname()
  local file = assert(io.open(source, "w"))
  file:write "#include <stdio.h>\n#include \"lib/ipq.h\"\nint main(void){\n"
  for name, fields in pairs(structs) do
    file:write(('printf("%s %%zu\\n", sizeof(struct %s));\n'):format(name, name))
    for _, field in ipairs(fields) do
      file:write(('printf("%s.%s %%zu\\n", offsetof(struct %s, %s));\n'):format(name, field, name, field))
    end
  end
  file:write "return 0;}\n"
  file:close()
  -- The sanitizers' runtime, preloaded for the specs, is not for the compiler.
  assert(os.execute(("LD_PRELOAD= cc -x c -I. -o %s %s"):format(program, source)) == 0)
  local result = {}
  local output = io.popen("LD_PRELOAD= " .. program)
  for line in output:lines() do
    local key, value = line:match "^(%S+) (%d+)$"
    result[key] = tonumber(value)
  end
  output:close()
  os.remove(source)
  os.remove(program)
  return result
end

describe("ipq_abi.h", function()
  local c = compiled()

  for name, fields in pairs(structs) do
    it("has the same struct " .. name .. " in C and in LuaJIT", function()
      assert.equal(c[name], ffi.sizeof("struct " .. name))
      for _, field in ipairs(fields) do
        assert.equal(c[name .. "." .. field], ffi.offsetof("struct " .. name, field), field)
      end
    end)
  end

  it("names every struct and every field here", function()
    local text = assert(io.open "lib/ipq_abi.h"):read "*a":gsub("/%*.-%*/", "")
    local found = 0
    for name, body in text:gmatch "struct (ipq_%w+) (%b{})" do
      found = found + 1
      assert.truthy(structs[name], "struct " .. name)
      local count = select(2, body:gsub(";", ""))
      assert.equal(#structs[name], count, "fields of " .. name)
    end
    local listed = 0
    for _ in pairs(structs) do listed = listed + 1 end
    assert.equal(listed, found)
  end)

  it("has no preprocessor lines", function()
    for line in io.lines "lib/ipq_abi.h" do assert.falsy(line:match "^%s*#", line) end
  end)

  it("keeps the hot part of a packet in its first cache line", function()
    assert.is_true(ffi.offsetof("struct ipq_packet", "present") < 64)
    assert.truthy(lib)
  end)
end)
