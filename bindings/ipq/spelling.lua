--- Words of messages: the name that was meant by a misspelt one, and the value that was given.
local abi = require "ipq.engine.abi"
local ffi = require "ffi"
-- A script may overwrite globals.
local ipairs, pairs, rawget, sort, tostring, type = ipairs, pairs, rawget, table.sort, tostring, type

local C = abi.C

local M = {}

-- What other programs and people call things. Of the names behind a word the first one counts that there is.
local synonyms = {
  saddr = "src src_ip src_addr source source_ip source_address sip ip_src srcip address",
  daddr = "dst dst_ip dst_addr dest destination destination_ip destination_address dip ip_dst dstip",
  sport = "src source src_port srcport source_port port",
  dport = "dst dest destination dst_port dstport dest_port destination_port port",
  protocol = "proto l4proto ip_proto nexthdr next_header",
  nexthdr = "nh next_header protocol proto",
  ttl = "hoplimit hop_limit hlim hops time_to_live",
  hoplimit = "ttl hop_limit hlim hops",
  dscp = "tos dsfield tclass traffic_class",
  flowlabel = "flow_label label flow",
  frag_off = "fragment fragment_offset frag_offset frag offset",
  id = "ident identification ip_id",
  length = "len tot_len total_length plen size",
  len = "length size tot_len total_length",
  checksum = "sum csum chksum cksum crc",
  payload = "data load body bytes raw",
  sequence = "seq seqno seq_no seq_num seqnum sequence_number",
  ackseq = "ack_seq ackno ack_no ack_num acknum ack_number acknowledgement acknowledgment",
  doff = "dataofs data_offset th_off offset header_length",
  window = "win window_size",
  urgptr = "urp urg_ptr urgent_pointer",
  csumcov = "coverage checksum_coverage",
  type = "icmp_type icmptype kind",
  code = "icmp_code icmpcode",
  vtag = "tag verification_tag",
  ip = "ipv4 ip4 iph", ip6 = "ipv6", icmpv6 = "icmp6",
  mark = "fwmark nfmark", ct = "conntrack ctinfo",
  packet_id = "id", queue_num = "queue queue_number num qnum",
  timestamp = "time ts",
  inner = "inside encap encapsulated tunneled embedded quoted quote original",
  ether = "eth ethernet", vlan = "vlan_id vid dot1q tags", operation = "opcode op oper",
  indev = "iif ifindex", outdev = "oif",
  indev_name = "iifname iface interface in_interface input_interface", outdev_name = "oifname out_interface",
  hw_addr = "mac src_mac mac_src hwaddr", uid = "user", gid = "group",
  copy = "mode copy_mode", range = "copy_range snaplen bytes len length size", maxlen = "queue_maxlen qlen len",
  filter = "handler callback run judge on_packet packet", start = "init setup begin open",
  stop = "exit finish close cleanup teardown", restore = "load", save = "store",
  args = "argv arguments arg", ACCEPT = "pass allow ok", DROP = "block deny", now = "time clock",
  after = "timer timeout delay", every = "interval", netset = "ipset set", takes = "params options",
  log = "print", event = "json",
}

-- The same by the words: each has a list of names, in order.
local meanings = {}
local sorted = {}
for name in pairs(synonyms) do sorted[#sorted + 1] = name end
sort(sorted)
for _, name in ipairs(sorted) do
  for word in synonyms[name]:gmatch "%S+" do
    meanings[word] = meanings[word] or {}
    meanings[word][#meanings[word] + 1] = name
  end
end

--- What the word means in the words of others: the first of its meanings that find(name) gives something for, and that.
local function translated(word, find)
  for _, name in ipairs(meanings[word:lower()] or {}) do
    local found = find(name)
    if found then return found end
  end
end

local function near(word, known)
  local names = {}
  for name in pairs(known) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  sort(names)
  local index = C.ipq_nearest(word, ffi.new("const char *[?]", #names, names), #names)
  if index >= 0 then return names[index + 1] end
end

--- The name that was meant by a word that is none. find_elsewhere(name) may know more names, whose text it gives: those
--- that a word is, or means, come before what looks like it.
---@param word any
---@param known table<string, any> its keys are the names
---@param find_elsewhere? fun(name: string): string?
---@return string?
function M.meant(word, known, find_elsewhere)
  if type(word) ~= "string" or rawget(known, word) ~= nil then return nil end
  local name = translated(word, function(meaning) return rawget(known, meaning) ~= nil and meaning or nil end)
  if not name and find_elsewhere then name = find_elsewhere(word) or translated(word, find_elsewhere) end
  return name or near(word, known)
end

--- The same as the end of a message: "; did you mean 'dport'?", "" where nothing is near.
---@return string
function M.hint(...)
  local name = M.meant(...)
  return name and ("; did you mean '%s'?"):format(name) or ""
end

--- A value that is none of those that there may be: text in quotes.
---@return string
function M.value(given)
  return type(given) == "string" and ("%q"):format(given) or tostring(given)
end

return M
