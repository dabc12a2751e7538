-- The C functions of lib, for specs that call them directly. Those that Lua calls are declared already (abi.lua).
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"

if not core.spec_declared then
  ffi.cdef [[
    struct iovec { void *iov_base; size_t iov_len; };
    struct ipq_verdict_buffer {
      uint8_t bytes[8192];
      struct iovec iov[130];
      size_t used, iovlen, total;
      uint32_t messages;
    };
    void ipq_batch_drop_last(struct ipq_batch *batch);
    int ipq_batch_hold(struct ipq_batch *batch, struct ipq_packet *packet);
    void ipq_batch_release(struct ipq_batch *batch, struct ipq_packet *packet);
    int ipq_attr_parse(struct ipq_packet *packet, const void *message, size_t len);
    int ipq_verdict_encode(struct ipq_verdict_buffer *buffer, const struct ipq_batch *batch,
                           uint32_t next, size_t limit);
    uint64_t ipq_histogram_least(uint32_t bucket);
    void ipq_histogram_add(struct ipq_histogram *histogram, uint64_t sum, uint32_t count);
    void ipq_histogram_subtract(struct ipq_histogram *histogram, const struct ipq_histogram *before);
    uint64_t ipq_histogram_quantile(const struct ipq_histogram *histogram, double quantile);
    int64_t spec_monotonic_ns(void);
    struct spec_source *spec_source_new(void);
    int spec_source_add(struct spec_source *s, const void *bytes, size_t len);
    void spec_source_plan(struct spec_source *s, const uint32_t *sizes, size_t size_count,
                          size_t batches);
    void spec_source_still(struct spec_source *s, bool still);
    void spec_source_keep(struct spec_source *s, int flush_error);
    uint64_t spec_source_committed_held(struct spec_source *s);
    const struct ipq_packet *spec_source_committed_held_packet(struct spec_source *s, uint64_t number);
    uint32_t spec_filter_accept(struct ipq_packet *packet);
    uint32_t spec_filter_dport(struct ipq_packet *packet);
    uint32_t spec_filter_dport_saddr(struct ipq_packet *packet);
    struct spec_kills { uint32_t kills, inside, rebuilt, lost, unsound; };
    int spec_flows_kill(struct spec_kills *kills, uint32_t count, uint64_t seed);
    int spec_stream_model(uint64_t seed, uint32_t steps);
    struct spec_stream_kills { uint32_t kills, checked, ahead, lost, unsound; };
    int spec_streams_kill(struct spec_stream_kills *kills, uint32_t count, uint64_t seed);
    int spec_filter_run(struct ipq_driver *driver, uint32_t (*filter)(struct ipq_packet *packet));
  ]]
  core.spec_declared = true
end

local M = {
  build = os.getenv "IPQ_BUILD" or "build",
  abi = abi,
}
M.C = ffi.load("./" .. M.build .. "/spec/lib.so")

-- errno.h
M.errno = { EINVAL = 22, EMSGSIZE = 90, EBADMSG = 74, ENOMSG = 42, ENOENT = 2, ENOSPC = 28, ETIME = 62 }

return M
