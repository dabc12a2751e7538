---@meta ipq.test
-- What the module ipq.test has, for the Lua language server: see ipq.lua beside this folder.

---A packet of the kit: it stays as it is, and has all fields that a filter's packet has. Its Buffers are good for as
---long as they are kept, are read as a filter's are (u8 to u64, string, find, starts, hex, #, tostring), and cannot be
---written to. One is equal to a string of the same bytes; what takes strings alone, as assert.matches does, gets
---tostring(payload).
---@class ipq.test.Packet: ipq.Packet
---@field bytes string the whole packet, IP or ARP
local Packet = {}

---A copy with other fields, as a filter that assigned them would leave it: lengths and checksums follow, but
---those that are given. Raises for a field that there is not.
---@param changes ipq.test.Fields
---@return ipq.test.Packet
function Packet:with(changes) end

---The bytes in hexadecimal digits.
---@return string
function Packet:hex() end

---Fields by name: those of the builder's own header, of the IP header, and metadata. Where both headers have a
---field (checksum, length, id, options), the IP header's is given in a table of its own. What is left out has a
---value that works. Lengths and checksums are computed unless they are given.
---@class ipq.test.Fields
---@field [string] any any field of the headers
---@field ip? table fields of the IPv4 header
---@field ip6? table fields of the IPv6 header
---@field exthdrs? {nexthdr: integer, data?: string}[] IPv6 extension headers; data is what follows their length
---@field saddr? string the packet is IPv6 where an address is
---@field daddr? string
---@field payload? string|ipq.Buffer
---@field data_len? integer bytes copied: cuts the packet off, as a copy range does
---@field len? integer bytes on the wire, where that is not what the packet has
---@field packet_id? integer 1
---@field queue_num? integer 0
---@field hook? integer|"prerouting"|"input"|"forward"|"output"|"postrouting" "input"
---@field family? "ip"|"ip6"|"bridge"|"arp"
---@field ether? {saddr?: string, daddr?: string} gives it an Ethernet header, as a capture has it; a bridge's, where that is the family, cannot be changed
---@field vlan? ipq.Tag[] the same, with these tags
---@field mark? integer
---@field priority? integer
---@field indev_name? string also outdev_name, physindev_name, physoutdev_name; no such interface is needed
---@field hw_addr? string "aa:bb:cc:dd:ee:ff"
---@field prefix? string what the rule says that logged the packet
---@field timestamp? number seconds since 1970: what ipq.now() gives
---@field gso? boolean
---@field csum_ready? boolean
---@field uid? integer
---@field gid? integer
---@field ct? {id?: integer, mark?: integer, status?: integer, zone?: integer, timeout?: integer, state?: string, direction?: "original"|"reply"}

---A script under test.
---@class ipq.test.Filter
---@field filter fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@field queue {copy?: "packet"|"meta", range?: integer} what the script asks of its queue; packets are cut by it
---@field send boolean whether the script sends packets of its own
---@field args table<string, any>
local Filter = {}

---Calls the script's stop(). Raises where that does. What the filter still holds gets the default verdict then.
---@param reason? "reload"|"exit" "exit" where it is left out
---@return ipq.test.Packet[] sent what was sent meanwhile
function Filter:stop(reason) end

---Calls the script's save(). Raises where that does, and where what it returns cannot be saved.
---@return any saved what the restore() of a script that takes its place would get
function Filter:save() end

---@class ipq.test.Result
---@field verdict string "accept", "drop", "reject", "reject tcp-reset" and so on, "repeat", "stop", "queue 3", "queue 3 bypass"; "hold" until a packet that is held has its verdict, which then is in this Result
---@field value ipq.verdict? the same as a number; nil while the packet is held
---@field judged ipq.test.Packet what the filter was given
---@field packet ipq.test.Packet? what goes on; nil where it was dropped, or is held
---@field sent ipq.test.Packet[] what the filter has sent, in its order; what its reject tells is the last of it
---@field changed boolean whether the packet's bytes were changed, or its link header's
---@field error string? why the filter's own verdict could not be taken: the error that it raised
---@field log string[] what was logged meanwhile: "level: text"
---@field events table[] what ipq.event() was given meanwhile: copies, made then

---@class ipq.test.Record
---@field number integer of the frame in the file, from 1
---@field time string seconds with microseconds
---@field verdict string
---@field mark integer
---@field changed boolean
---@field packet string one line: as it goes on, and as it came where it was dropped or its change was refused
---@field error string?

---@class ipq.test.Replay
---@field frames integer read
---@field unjudged integer passed on as they are: no IP
---@field packets integer judged
---@field accepted integer
---@field dropped integer
---@field queued integer
---@field repeated integer
---@field stopped integer
---@field marked integer
---@field changed integer
---@field errors integer
---@field rejected integer those whose sender was told
---@field sent integer packets that the filter has sent, those of rejects among them
---@field damage string? what is wrong with the files; what could be read was judged
---@field records ipq.test.Record[] one a packet, in the order of verdicts
---@field log string[]
---@field events table[] what ipq.event() was given: copies, made then

---@class ipq.test
local test = {}

---Loads a script as the program does, and calls its start(). Raises where the script is no filter, and where its
---start() raises. Options: the verdicts default and on_error, which may reject where the script sends; restore, what
---its restore() gets.
---@param path string a relative one begins in the current directory, as io.open()'s
---@param args? table<string, any> the script's arguments: { limit = 500 }
---@param options? {default?: ipq.verdict, on_error?: ipq.verdict, restore?: any}
---@return ipq.test.Filter
function test.load(path, args, options) end

---Judges a packet. What the filter raises is in the result.
---@param filter ipq.test.Filter|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param packet ipq.test.Packet
---@return ipq.test.Result
function test.run(filter, packet) end

---Judges all packets of a capture file (pcap or pcapng), as ipq-lua -r does. Raises where a file cannot be opened, and
---where a timer raised, when all packets are judged. Timers that a function makes, which is no script, end with it.
---@param path string
---@param filter ipq.test.Filter|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param options? {write?: string, select?: string, arp?: boolean} select is a pcap-filter(7) expression; arp has ARP come to a function, a script says that itself
---@return ipq.test.Replay
function test.replay(path, filter, options) end

---What came of a connection between two ends, through a filter.
---@class ipq.test.Connection
---@field client string what the client got
---@field server string what the server got
---@field is_closed boolean whether both have said and heard all
---@field is_reset boolean whether an end was reset
---@field packets integer that the filter has judged
---@field faults string[] what no correct end would have sent the other one: empty where all is well
---@field log string[]

---Lets two ends speak TCP with each other through a filter, and a network between them that may lose packets, double them
---and exchange their order, on either side of the filter. client and server are what each says, text or a list of texts of
---which each begins a segment; loss, order and twice are shares; the same seed has the same course.
---@param filter ipq.test.Filter|fun(pkt: ipq.Packet): ipq.verdict?
---@param options? {client?: string|string[], server?: string|string[], loss?: number, order?: number, twice?: number, seed?: integer, mss?: integer, window?: integer, isn?: integer, sack?: boolean, saddr?: string, daddr?: string, sport?: integer, dport?: integer, seconds?: number}
---@return ipq.test.Connection
function test.connection(filter, options) end

---The packets of a capture file, with their link headers where these are Ethernet's; frames that are no IP are left out,
---and ARP unless the options ask for it. Raises where it cannot be opened.
---@param path string
---@param options? string|{select?: string, arp?: boolean} select, or a string alone, is a pcap-filter(7) expression
---@return ipq.test.Packet[] packets
---@return string? damage what is wrong with the file behind the last of them
function test.read(path, options) end

---An IPv4 packet whose payload is taken as it is; protocol says what it is.
---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.ip(fields) end

---An IPv6 packet whose payload is taken as it is; nexthdr says what it is.
---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.ip6(fields) end

---A TCP segment; without any flag given, ack is set.
---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.tcp(fields) end

---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.udp(fields) end

---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.udplite(fields) end

---ICMP, over IPv4, or IPv6 where that header is given, ip6 = {}: an echo request.
---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.icmp(fields) end

---ICMPv6, over IPv6 alone: an echo request.
---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.icmpv6(fields) end

---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.sctp(fields) end

---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.dccp(fields) end

---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.gre(fields) end

---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.esp(fields) end

---ARP over Ethernet between IPv4 addresses, fields of pkt.arp: a request, unless operation says otherwise.
---@param fields? ipq.test.Fields
---@return ipq.test.Packet
function test.arp(fields) end

---@class ipq.test.DNSQuestion
---@field name string
---@field type? string|integer "A"
---@field class? integer 1

---@class ipq.test.DNSRecord: ipq.test.DNSQuestion
---@field ttl? integer seconds, 300
---@field data string as people write it ("192.0.2.1", "10 mail.example"), or bytes for a type without such a form

---@class ipq.test.DNSFields: ipq.test.Fields
---@field name? string of the one question, "example.org"
---@field type? string|integer "A"
---@field questions? ipq.test.DNSQuestion[]
---@field answers? ipq.test.DNSRecord[]
---@field authorities? ipq.test.DNSRecord[]
---@field additional? ipq.test.DNSRecord[]
---@field id? integer 1
---@field qr? boolean an answer; true where there are answers
---@field aa? boolean
---@field tc? boolean
---@field rd? boolean true
---@field ra? boolean
---@field ad? boolean
---@field cd? boolean
---@field opcode? integer 0
---@field rcode? string|integer "noerror", "nxdomain", ...
---@field edns? ipq.DnsEdns

---A DNS message over UDP, to port 53, or from it where it is an answer.
---@param fields? ipq.test.DNSFields
---@return ipq.test.Packet
function test.dns(fields) end

---A packet of those bytes, taken as they are: for what no builder would make.
---@param bytes string|ipq.Buffer
---@param meta? ipq.test.Fields metadata alone
---@return ipq.test.Packet
function test.packet(bytes, meta) end

---The fragments of a packet, each of at most mtu bytes.
---@param packet ipq.test.Packet
---@param mtu integer
---@param id? integer the identification of an IPv6 packet's fragments, 1
---@return ipq.test.Packet[]
function test.fragments(packet, mtu, id) end

---A packet's fields and bytes, for people: many lines.
---@param packet ipq.test.Packet
---@return string
function test.describe(packet) end

---Sets what ipq.now() gives in the filters of packets without a timestamp; 0 at first.
---@param seconds number since 1970
function test.set_time(seconds) end

---Lets time pass: moves what ipq.now() gives, as set_time() does, and runs the timers that are due meanwhile, of all
---filters, in the order of their times. Raises where one of them raised, with its error and traceback, when all have
---run: a spec that expects that says assert.error_matches(function() t.advance(1) end, "what it says").
---@param seconds number
---@return string[] log what was logged meanwhile: "level: text"
---@return table[] events what ipq.event() was given meanwhile: copies, made then
---@return ipq.test.Packet[] sent what was sent meanwhile
function test.advance(seconds) end

---The assertions, once ipq.test is required.
---@class luassert.internal
local assertions = {}

---The filter's verdict: "accept", "drop", "reject", "reject tcp-reset" and so on, "repeat", "stop", "queue 3", "queue 3 bypass", a number as ipq.DROP,
---"hold" for a packet that is held, or "error" for a filter that raises, which no other verdict stands for.
---@param expected string|ipq.verdict
---@param filter ipq.test.Filter|ipq.test.Result|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param packet? ipq.test.Packet left out behind a Result
---@return ipq.test.Result
function assertions.verdict(expected, filter, packet) end

---What the filter makes of the packet: that packet, those bytes, or the packet with these fields and no others
---changed.
---@param expected ipq.test.Packet|string|ipq.Buffer|ipq.test.Fields
---@param filter ipq.test.Filter|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param packet ipq.test.Packet
---@return ipq.test.Result
function assertions.rewritten(expected, filter, packet) end

---The filter lets the packet through as it is, mark included.
---@param filter ipq.test.Filter|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param packet ipq.test.Packet
---@return ipq.test.Result
function assertions.unchanged(filter, packet) end

---The filter sends these packets in this order, and no others; without any, it sends something.
---@param filter ipq.test.Filter|ipq.test.Result|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param packet? ipq.test.Packet left out behind a Result
---@param ... ipq.test.Packet|ipq.test.Fields a packet, or the fields that one has, those of headers in their tables
---@return ipq.test.Result
function assertions.sent(filter, packet, ...) end

---All lengths and checksums of the packet are right.
---@param packet ipq.test.Packet|ipq.test.Result
function assertions.valid_checksums(packet) end

---A replay gives what the file has: the packets that are accepted, as they are then (.pcap), or what became of each
---(.json). With IPQ_GOLDEN=update in the environment the file is written instead.
---@param file string
---@param capture string the capture to replay
---@param filter ipq.test.Filter|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
function assertions.golden(file, capture, filter) end

return test
