local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"

-- The headers that C is compiled from and that LuaJIT reads. A C program prints what the compiler makes of their
-- layouts; LuaJIT must make the same of them.
local headers = { "lib/ipq_abi.h", "lib/packet/packet.h", "lib/netset/netset.h", "lib/names/domainset.h",
  "lib/names/dns.h", "lib/names/hello.h", "lib/names/http.h", "lib/names/quic.h", "lib/send/send.h",
  "lib/flow/flow.h", "lib/flow/shared.h", "lib/stream/stream.h", "lib/queue/queue.h", "bindings/core_calls.h" }

local structs = {
  ipq_packet = { "data", "data_len", "len", "packet_id", "verdict", "set", "mark", "priority",
    "present", "skb_info", "indev", "outdev", "physindev", "physoutdev", "uid", "gid", "queue_num",
    "hw_protocol", "hook", "family", "hw_addrlen", "hw_addr", "vlan_proto", "vlan_tci", "ct_info",
    "timestamp_sec", "timestamp_usec",
    "parsed", "ip_version", "protocol",
    "fragment", "l3", "upper", "l4", "body", "end", "ah", "dirty", "fix", "held",
    "decided", "reject", "malformed", "unready", "inner", "l4_delta", "udp_len", "l4_wrong", "came_len", "spare", "ct",
    "secctx", "l2hdr", "ct_len", "secctx_len", "l2hdr_len", "l2hdr_room", "link", "cut", "came", "came_data_len", "why",
    "prefix", "prefix_len", "at", "depth", "part", "own", "outer",
    "flow_number", "flow_direction", "flow_bits" },
  ipq_inside = { "levels" },
  ipq_conntrack = { "has", "id", "mark", "status", "timeout", "zone", "original", "reply" },
  ipq_tuple = { "ip_version", "protocol", "sport", "dport", "saddr", "daddr" },
  ipq_counters = { "batches", "packets", "bytes", "accepted", "dropped", "queued", "repeated", "stopped",
    "marked", "errors", "oversized", "settled", "malformed", "refused", "overruns", "last_refusal", "rejected", "sent",
    "own", "unsent", "streams" },
  ipq_sent = { "data", "len", "mark", "device", "cause", "cause_id", "behind", "time_us", "answers", "has_cause",
    "is_taken", "is_told" },
  ipq_outbox = { "sent", "count", "used", "told", "bytes", "batch", "mark", "reject_rate", "reject_tokens", "reject_us",
    "timer_us", "is_live", "shows_own", "own", "is_broadcast", "flush", "way" },
  ipq_flow_key = { "addresses", "ports", "zone", "protocol", "ip_version" },
  ipq_flow_seq = { "edge", "ack" },
  ipq_flow = { "key", "seq", "last_ms", "state", "bits", "decision", "high", "fields", "bytes", "packets",
    "generation", "first_ms" },
  ipq_flow_ended = { "flow", "number", "reason" },
  ipq_flow_seen = { "key", "hash", "is_ready", "has_key", "side", "is_related" },
  ipq_flows = { "records", "buckets", "ring", "head", "entries", "bucket_count", "limit", "timeout_ms", "wants_ended",
    "now_us", "sweep", "victim", "victim_hash", "key", "packets", "seen" },
  ipq_hello_part = { "at", "len" },
  ipq_hello = { "len", "need", "name_hash", "version", "name_len", "sni_error", "has_sni", "has_ech", "is_quic",
    "ciphers", "extensions", "versions", "alpn", "groups", "formats", "signatures", "name", "types", "body" },
  ipq_batch = { "packets", "count", "capacity", "default_verdict", "error_verdict",
    "default_reject", "error_reject", "current", "unanswered", "unknown",
    "loses",
    "slot_size", "spares", "slots", "held", "held_count", "held_limit", "in_timer", "wake_ns", "counters",
    "timed_each", "filter_ns", "script_counters", "inherited" },
  ipq_histogram = { "count", "sum", "buckets" },
  ipq_counter = { "name", "value" },
  ipq_scripted = { "counters", "inherited" },
  ipq_live = { "packet", "handle", "newest" },
  ipq_device = { "index", "type", "mtu", "name", "until_ms" },
  ipq_devices = { "fd", "slots" },
  ipq_driver = { "source", "batch", "outbox", "flows", "streams", "now_us", "bypass_mark", "times_packets",
    "interrupt", "woken", "idle_turns", "look_at", "handed_ns", "kept_count",
    "kept", "kept_counters" },
  ipq_due = { "due", "number", "slot" },
  ipq_heap = { "dues", "places", "count" },
  ipq_source = { "receive", "commit", "commit_held", "flush", "stop", "close" },
  ipq_http_field = { "at", "name_len", "value", "value_len", "end", "is_folded" },
  ipq_http_head = { "length", "at", "scanned", "count", "end_len", "first", "text_len", "target", "target_len",
    "status", "minor", "kind", "bits", "framing", "unused", "fields" },
  ipq_shared_key = { "bytes", "text", "len", "kind" },
  ipq_shared_value = { "number", "text", "len", "kind" },
  ipq_shared_figures = { "size", "used", "tables", "damaged" },
    ipq_stream_edit = { "at", "out", "removed", "added", "text" },
    ipq_stream_half = { "seen", "done", "una", "acked", "sent", "edge", "fin", "base", "isn", "alive", "ring", "mss",
    "scale", "bits", "last" },
  ipq_stream = { "half", "flow", "generation", "state", "key", "origin", "is_over", "unused" },
  ipq_streams = { "head", "records", "chunks", "connections", "chunk_count", "chunks_free", "free_chunk",
    "free_record", "outbox", "hold", "commit", "owner", "devices", "mtu_of", "now_us", "hold_us", "peek_most",
    "buffer_most", "headroom", "ports", "edits", "shows", "on_limit", "on_error", "counts", "own_counts", "flows",
    "of_flow", "flow_count", "talks", "scratch", "spare", "holding", "looked", "shown", "last_shown" },
  ipq_dns = { "serial", "len", "slot", "id", "flags", "counts", "type", "class", "name_len", "name", "bytes" },
  ipq_dns_record = { "ttl", "type", "class", "data", "data_len", "name_len", "name" },
  ipq_dns_writer = { "len", "is_full", "count", "at", "size", "bytes" },
  ipq_queue_options = { "queue_num", "copy_mode", "copy_range", "maxlen", "rcvbuf", "flags" },
  ipq_procfs_queue = { "portid", "waiting", "copy_mode", "copy_range", "dropped", "user_dropped" },
}

local function compiled()
  local source, program = os.tmpname(), os.tmpname()
  local file = assert(io.open(source, "w"))
  file:write "#include <stdio.h>\n"
  for _, header in ipairs(headers) do file:write(('#include "%s"\n'):format(header)) end
  file:write "int main(void){\n"
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

local function text_of(header)
  local file = assert(io.open(header))
  local text = file:read "*a":gsub("/%*.-%*/", "")
  file:close()
  return text
end

describe("the headers that C and LuaJIT share", function()
  local c = compiled()
  local text = ""
  for _, header in ipairs(headers) do text = text .. text_of(header) end

  for name, fields in pairs(structs) do
    it("have the same struct " .. name .. " in C and in LuaJIT", function()
      assert.equal(c[name], ffi.sizeof("struct " .. name))
      for _, field in ipairs(fields) do
        assert.equal(c[name .. "." .. field], ffi.offsetof("struct " .. name, field), field)
      end
    end)
  end

  it("have all their structs and fields named here", function()
    local found = 0
    for name, body in text:gmatch "struct (ipq_[%w_]+) (%b{})" do
      found = found + 1
      assert.truthy(structs[name], "struct " .. name)
      local count = select(2, body:gsub(";", ""))
      assert.equal(#structs[name], count, "fields of " .. name)
    end
    local listed = 0
    for _ in pairs(structs) do listed = listed + 1 end
    assert.equal(listed, found)
  end)

  it("are what LuaJIT has read", function()
    for _, header in ipairs(headers) do
      local file = assert(io.open(header))
      assert.truthy(core.abi:find(file:read "*a", 1, true), header)
      file:close()
    end
  end)

  it("declare no function that Lua could not call", function()
    local count = 0
    for name in text:gmatch "\n[%w_ ]+[ *](ipq_[%w_]+)%(" do
      assert.truthy(abi.C[name], name)
      count = count + 1
    end
    assert.is_true(count > 50)
  end)

  it("declare each function once, and nobody else does", function()
    local seen = {}
    for path in io.popen "ls lib/*.h lib/*/*.h bindings/*.h bindings/*/*.h":lines() do
      for name in text_of(path):gmatch "\n[%w_ ]+[ *](ipq_[%w_]+)%(" do
        assert.is_nil(seen[name], name)
        seen[name] = path
      end
    end
  end)

  it("have of the preprocessor's lines only what C needs to read them", function()
    for _, header in ipairs(headers) do
      for line in io.lines(header) do
        if line:match "^%s*#" then
          assert.truthy(line:match "^#include [<\"][%w_/.]+[>\"]$" or line:match "^#ifndef IPQ_[%w_]+_H$"
            or line:match "^#define IPQ_[%w_]+_H$" or line == "#endif", line)
        end
      end
    end
  end)

  it("keep the hot part of a packet in its first cache line", function()
    assert.is_true(ffi.offsetof("struct ipq_packet", "present") < 64)
  end)
end)
