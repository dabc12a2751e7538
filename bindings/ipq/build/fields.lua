--- The names of a packet's fields, in the order in which people read them.
local M = {}

--- What a packet came with beside its bytes; each may be given to a builder.
M.meta = {
  "packet_id", "queue_num", "family", "hw_protocol", "hook", "hook_name", "mark", "priority", "indev", "indev_name",
  "outdev", "outdev_name", "physindev", "physindev_name", "physoutdev", "physoutdev_name", "hw_type", "hw_addr",
  "uid", "gid", "secctx", "vlan", "vlan_proto", "vlan_tci", "l2hdr", "prefix", "timestamp", "timestamp_sec",
  "timestamp_usec", "gso", "csum_ready", "csum_verified", "ct", "len", "data_len",
}

--- What is read from the bytes, but for the headers.
M.derived = { "truncated", "malformed", "fragment", "payload", "saddr", "daddr", "protocol", "sport",
  "dport", "fix", "inner" }

local echo = { "type", "code", "checksum", "id", "sequence", "inner", "payload" }

--- The headers, and their fields in the order of the wire.
M.headers = { "ether", "arp", "ip", "ip6", "ah", "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre",
  "esp" }
M.of = {
  ether = { "daddr", "saddr", "type" },
  arp = { "htype", "ptype", "hlen", "plen", "operation", "saddr_ether", "saddr_ip", "daddr_ether", "daddr_ip" },
  ip = { "dscp", "ecn", "length", "id", "df", "mf", "frag_off", "ttl", "protocol", "checksum", "saddr", "daddr",
    "options" },
  ip6 = { "dscp", "ecn", "flowlabel", "length", "nexthdr", "hoplimit", "saddr", "daddr" },
  ah = { "nexthdr", "hdrlength", "spi", "sequence" },
  tcp = { "sport", "dport", "sequence", "ackseq", "doff", "flags", "cwr", "ece", "urg", "ack", "psh", "rst", "syn",
    "fin", "window", "checksum", "urgptr", "options", "payload" },
  udp = { "sport", "dport", "length", "checksum", "payload" },
  udplite = { "sport", "dport", "csumcov", "checksum", "payload" },
  icmp = echo,
  icmpv6 = echo,
  sctp = { "sport", "dport", "vtag", "checksum", "payload" },
  dccp = { "sport", "dport", "doff", "csumcov", "checksum", "type", "payload" },
  gre = { "flags", "version", "protocol", "key", "payload" },
  esp = { "spi", "sequence", "payload" },
}

return M
