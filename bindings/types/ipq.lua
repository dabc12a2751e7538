---@meta ipq
-- What the module ipq has, for the Lua language server. Point workspace.library at this folder.

---@alias ipq.verdict integer ipq.ACCEPT, DROP, REPEAT, STOP, REJECT or the result of ipq.queue() or ipq.reject()

---What is wrong with a packet, to be told to its sender: nft's words.
---@alias ipq.reject "tcp-reset"|"port-unreachable"|"host-unreachable"|"net-unreachable"|"no-route"|"admin-prohibited"

---What a script returns, unless that is its filter alone.
---@class ipq.Script
---@field filter fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@field start? fun(args: table<string, any>) before the first packet, with all rights
---@field save? fun(): any at a reload: what the next process is to know
---@field restore? fun(saved: any) at a reload, in the sandbox: what save() gave
---@field stop? fun(reason: "reload"|"exit")
---@field queue? {copy?: "packet"|"meta", range?: integer, sent?: boolean} sent has what the script sends judged, too
---@field send? boolean whether it sends packets of its own: ipq.send(), ipq.REJECT, pkt:reset()
---@field flow? ipq.FlowOptions has the script follow flows: pkt.flow, ipq.flows()
---@field stream? ipq.StreamOptions has the script read connections, and edit them
---@field arp? boolean whether the ARP of a capture comes to the filter
---@field private? boolean whether what is written of a capture must tell nothing else of it
---@field needs? string the oldest version of the program that it takes

---What a script says of the flows that it follows.
---@class ipq.FlowOptions
---@field entries? integer how many there may be at a time, and their memory is taken at the start; as many as --flow-memory has room for where it is left out, and memory is taken as they come
---@field timeout? {tcp?: number, tcp_opening?: number, tcp_closing?: number, udp?: number, udp_stream?: number, icmp?: number, other?: number} seconds without a packet
---@field fields? string[] up to four names of numbers in each flow, 0 at first
---@field stop? fun(flow: ipq.Flow, reason: "closed"|"reset"|"timeout"|"evicted"|"exit")

---What a script says of the TCP connections that it reads. A handler is a coroutine over what one end says to the other.
---@class ipq.StreamOptions
---@field edit? boolean whether handlers may edit what they read; it has the script send, too
---@field port? integer|integer[] of the server: which connections are read
---@field select? fun(flow: ipq.Flow): boolean? whether one is read that begins, of those that port names
---@field client? fun(stream: ipq.Stream, flow: ipq.Flow) what the client says
---@field server? fun(stream: ipq.Stream, flow: ipq.Flow) what the server says
---@field hold? number seconds for which what a handler peeks at may be held; 0.25
---@field peek? integer bytes that a handler may peek at; 8192
---@field limit? integer bytes that it may read at once; 65536
---@field on_limit? "pass"|"reset" what becomes of a connection when packets were held for too long: it passes, unread from there on, or both ends are reset, and what handlers have heard takes the place of what is said there later
---@field on_error? "pass"|"reset" the same where a handler raises; as on_limit where it is left out
---@field headroom? integer bytes by which the MSS of edited connections is lowered; 64
---@field connections? integer how many there may be at a time; as many as --stream-memory has room for

---What one end of a connection says, as its handler reads it. All of it is for the handler alone, while it runs.
---@class ipq.Stream
---@field eof boolean whether its end has said all
local Stream = {}

---The next n bytes, held; fewer where the stream ends before, nil where it has ended.
---@param n integer at most stream.peek
---@return string?
function Stream:peek(n) end

---The next line with what ends it, held; its first max bytes where it is longer.
---@param max? integer at most stream.peek
---@return string?
function Stream:peek_line(max) end

---The next n bytes, passed as they came.
---@param n integer at most stream.limit
---@return string?
function Stream:read(n) end

---The next line with what ends it, passed as it came.
---@param max? integer at most stream.limit
---@return string?
function Stream:line(max) end

---Passes the next n bytes, whenever they come. It does not wait.
---@param n integer|"all"
function Stream:skip(n) end

---Inserts text in front of the byte that comes next: it goes out with that, or with the stream's end.
---@param text string
---@return boolean? inserted nil where there is no room for so much text
---@return string? why
function Stream:insert(text) end

---Removes the next n bytes, whenever they come.
---@param n integer
---@return boolean? erased
---@return string? why
function Stream:erase(n) end

---Puts text in the place of the next n bytes.
---@param n integer
---@param text string
---@return boolean? replaced
---@return string? why
function Stream:replace(n, text) end

---@class ipq
---@field version string
---@field args table<string, any> the script's key=value arguments: text, or what ipq.takes {} made of them
---@field ACCEPT ipq.verdict the packet goes on
---@field DROP ipq.verdict the packet is gone
---@field REPEAT ipq.verdict the packet goes through the hook again
---@field STOP ipq.verdict accepted, past all later chains of the hook
---@field REJECT ipq.verdict the packet is gone, and its sender is told: TCP by a reset, others by ICMP "port unreachable"
---@field BYPASS_MARK integer the bit of the mark that pkt:bypass() sets, 0x40000000; see --mark-bits
---@field SENT_MARK integer the bit of the mark of what is sent, and for SO_MARK of a script's own sockets: --rule does not queue it, 0x20000000; see --mark-bits
---@field queue_num integer? the number of the queue that this process judges; nil with a capture and in specs
---@field worker integer which of the program's workers this is, from 0 up
---@field log ipq.log
---@field build ipq.Build
---@field quic ipq.quic
---@field tls ipq.tls
---@field dns ipq.Dns DNS messages
---@field domainset fun(names: string[]|string): ipq.Domainset a set of domain names, of a list or of a file
---@field http ipq.http
local ipq = {}

---The verdict that hands a packet to queue n. Raises unless n is an integer from 0 to 65535.
---@param n integer
---@param bypass? boolean accept the packet where nobody listens to that queue
---@return ipq.verdict
function ipq.queue(n, bypass) end

---The verdict that drops a packet and tells its sender that; by ICMP, but for "tcp-reset". Raises for another word.
---@param kind ipq.reject
---@return ipq.verdict
function ipq.reject(kind) end

---The flows that there are, one after the other; each may be kept, and raises when it has ended. Raises without flow = {}
---in the script's table.
---@return fun(): ipq.Flow?
function ipq.flows() end

---How many flows there are. Raises without flow = {} in the script's table.
---@return integer
function ipq.flow_count() end

---Sends a packet behind the verdicts of the batch: a packet of the script's own, the packet whose filter runs, once more,
---or a whole IP packet. nil and why, where it is known at once that it cannot be sent. Raises without send = true in the
---script's table, and for a value of another kind.
---@param packet ipq.OwnPacket|ipq.Packet|string|ipq.Buffer
---@return boolean? sent
---@return string? message
function ipq.send(packet) end

---Seconds since 1970: in replay the time of the packet or of the timer that runs, live the clock's.
---@return number
function ipq.now() end

---Seconds by a clock that nobody sets (CLOCK_MONOTONIC); in replay and in specs what now() gives.
---@return number
function ipq.monotonic() end

---The Internet checksum (RFC 1071) of a string or a Buffer, as a field that holds it is read: 0 to 65535.
---@param bytes string|ipq.Buffer
---@return integer
function ipq.checksum(bytes) end

---Packets from tables of fields, by their names: those of the header that the function is called after, those of the IP
---header (where both have one, in a table of its own: { id = 7, ip = { id = 8 } }), and metadata, of which mark, priority,
---indev and outdev, or indev_name and outdev_name, are what a packet is sent by. IPv6 where an address, a field or family
---says so. Lengths and checksums are right unless they are given. nil and why where a field cannot be; no table raises.
---@class ipq.Build
---@field ip fun(fields?: table<string, any>): ipq.OwnPacket?, string? payload is what protocol says
---@field ip6 fun(fields?: table<string, any>): ipq.OwnPacket?, string? payload is what nexthdr says
---@field tcp fun(fields?: table<string, any>): ipq.OwnPacket?, string?
---@field udp fun(fields?: table<string, any>): ipq.OwnPacket?, string?
---@field udplite fun(fields?: table<string, any>): ipq.OwnPacket?, string?
---@field icmp fun(fields?: table<string, any>): ipq.OwnPacket?, string?
---@field icmpv6 fun(fields?: table<string, any>): ipq.OwnPacket?, string?
---@field sctp fun(fields?: table<string, any>): ipq.OwnPacket?, string?
---@field dccp fun(fields?: table<string, any>): ipq.OwnPacket?, string?
---@field gre fun(fields?: table<string, any>): ipq.OwnPacket?, string?
---@field esp fun(fields?: table<string, any>): ipq.OwnPacket?, string?
ipq.build = {}

---TCP's numbers, which go on from 2^32 - 1 to 0.
ipq.seq = {}

---The number n behind a, or before it where n is negative: 0 to 2^32 - 1.
---@param a integer
---@param n integer
---@return integer
function ipq.seq.add(a, n) end

---How far a is behind b, -2^31 to 2^31 - 1; negative where it is before it.
---@param a integer
---@param b integer
---@return integer
function ipq.seq.diff(a, b) end

---Calls fn(value) once, when so many seconds have passed: between packets, by the clock, or in replay by the packets' time.
---Where 100,000 have run between two packets of a capture, what else is due runs at the second one's time.
---An error in it is logged. Raises unless seconds is a number from 0 to 1e9.
---@param seconds number
---@param fn fun(value: any)
---@param value? any spares a closure a packet, which LuaJIT does not compile
---@return ipq.Timer
function ipq.after(seconds, fn, value) end

---Calls fn(value) every so many seconds. After a pause it is called once, and then goes on with the first multiple that is
---still to come.
---@param seconds number at least a microsecond
---@param fn fun(value: any)
---@param value? any
---@return ipq.Timer
function ipq.every(seconds, fn, value) end

---@class ipq.Timer
local Timer = {}

---Its function is not called any more. A second time does nothing.
function Timer:cancel() end

---@class ipq.OpenOptions
---@field queue_num? integer 0
---@field copy? "packet"|"meta" "packet"
---@field range? integer bytes of each packet, 65531
---@field maxlen? integer packets that may wait in the kernel, 1024
---@field rcvbuf? integer bytes; enough for maxlen
---@field fail_open? boolean accept what a full queue would drop
---@field gso? boolean take packets as large as they are, true
---@field send? boolean filters may send, false; that needs CAP_NET_RAW
---@field default? ipq.verdict ipq.ACCEPT
---@field on_error? ipq.verdict ipq.DROP; this and default may reject where send is true

---Opens a queue, for programs of one's own. Misuse raises.
---@param options? ipq.OpenOptions
---@return ipq.Queue? queue
---@return string? message what was tried, what the system answered, what to do
---@return "EPERM"|"EBUSY"|"ENOTSUP"|"ERANGE"|"EIO"|nil code
function ipq.open(options) end

---What an argument is: a default, which gives the type, or a table. A file has to be there, and its name is the value.
---@alias ipq.Argument string|number|boolean|{type: "string"|"number"|"boolean"|"ports"|"file", default?: string|number|boolean, required?: boolean}

---Says which arguments (key=value) the script knows, for a script to call once when it is loaded: their names alone, or
---a table of them. With a table ipq.args has values of their types then. Raises where an argument cannot be what it is,
---where a required one is missing, where there is another, or a word that is none: a misspelt one would else be taken
---without a word.
---@param ... string
---@overload fun(arguments: table<string, ipq.Argument>)
function ipq.takes(...) end

---A set of networks for has(), has_saddr() and has_daddr(), which find an address in C. Entries are
---"10.0.0.0/8", "2001:db8::/32" or single addresses; bits behind the prefix do not matter. A file has one
---a line, and comments behind "#" or ";". Raises where an entry or a line is wrong, and where the file
---cannot be read.
---@param networks string[]|string the list, or the file's path
---@return ipq.Netset
function ipq.netset(networks) end

---What a shared table is made with. Where several name different sizes, the largest hold.
---@class ipq.SharedOptions
---@field entries? integer so many have room, 10,000; beyond, what was used the longest time ago goes
---@field ttl? number seconds that an entry lives, where the call says nothing; 0: for ever
---@field value? integer bytes that a text has at most, 256

---A table that all workers share: it outlives a killed worker and a reload. Keys are text, of which an address is one
---key however it is written, and numbers; values are numbers, booleans and text. Raises where the memory for shared
---tables has no room for it.
---@param name string
---@param options? ipq.SharedOptions
---@return ipq.Shared
function ipq.shared(name, options) end

---Each method is there with _saddr and _daddr behind its name as well: with a packet in the place of the key, whose
---source or destination address is it. What cannot be done gives nil and why: "busy" where another process has kept the
---key locked for 100 microseconds, "the packet has no address".
---@class ipq.Shared
local Shared = {}

---@alias ipq.SharedValue number|boolean|string

---@param key string|number
---@return ipq.SharedValue? value
---@return string? why
function Shared:get(key) end

---Gives the key a value, or forgets it where that is nil.
---@param key string|number
---@param value ipq.SharedValue?
---@param ttl? number seconds; 0: for ever
---@return boolean? done
---@return string? why
function Shared:set(key, value, ttl) end

---The same where the key has none; else nil, "exists".
---@param key string|number
---@param value ipq.SharedValue
---@param ttl? number
---@return boolean? done
---@return string? why
function Shared:add(key, value, ttl) end

---The same where the key has one; else nil, "not found".
---@param key string|number
---@param value ipq.SharedValue
---@param ttl? number
---@return boolean? done
---@return string? why
function Shared:replace(key, value, ttl) end

---Adds to the key's number, which begins at initial with that ttl; without one: nil, "not found".
---@param key string|number
---@param n? number 1
---@param initial? number
---@param ttl? number
---@return number? sum
---@return string? why
function Shared:incr(key, n, initial, ttl) end

---Takes tokens from the key's bucket, which is full at first. A bucket is no value of the key's.
---@param key string|number
---@param per_second number tokens that come
---@param burst number tokens that it holds
---@param cost? number tokens that are taken, 1
---@return boolean? has whether it had them; nil where nobody knows
---@return string? why
function Shared:bucket(key, per_second, burst, cost) end

---Forgets the key's value and bucket.
---@param key string|number
---@return boolean? was whether there was one
---@return string? why
function Shared:delete(key) end

---@param key string|number
---@param ttl? number seconds from now on; 0: for ever
---@return boolean? done
---@return string? why
function Shared:expire(key, ttl) end

---@param key string|number
---@return number? seconds that its value has left; 0: for ever
---@return string? why
function Shared:ttl(key) end

---Keys in no order, addresses as text.
---@param most? integer 1,024; 0: all
---@return (string|number)[]
function Shared:keys(most) end

---@return boolean? done
---@return string? why
function Shared:clear() end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:get_saddr(pkt) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:get_daddr(pkt) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:set_saddr(pkt, value, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:set_daddr(pkt, value, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:add_saddr(pkt, value, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:add_daddr(pkt, value, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:replace_saddr(pkt, value, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:replace_daddr(pkt, value, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:incr_saddr(pkt, n, initial, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:incr_daddr(pkt, n, initial, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:bucket_saddr(pkt, per_second, burst, cost) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:bucket_daddr(pkt, per_second, burst, cost) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:delete_saddr(pkt) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:delete_daddr(pkt) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:expire_saddr(pkt, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:expire_daddr(pkt, ttl) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:ttl_saddr(pkt) end

---@param pkt ipq.Packet
---@return any
---@return string? why
function Shared:ttl_daddr(pkt) end

---Writes a table as a line of JSON on standard output, at once and whole; what is nil is left out. Raises for what JSON
---has not (functions, Buffers, NaN). Keys are in order, numbers have as many digits as they need, 64-bit integers are
---text beyond 2^53, and bytes that are no UTF-8 become \\xNN.
---@param fields table
function ipq.event(fields) end

---A counter of the script's own, which --stats, --top and --metrics show. It begins at 0; a worker that follows another
---goes on from where that one was. Raises for what is no name, and where there are 64 already.
---@param name string letters a to z, digits and "_", 63 at most, no digit first
---@return ipq.Counter
function ipq.counter(name) end

---@class ipq.Counter
local Counter = {}

---@param n? number 1
function Counter:inc(n) end

---@param value number
function Counter:set(value) end

---@return number
function Counter:get() end

---Messages on standard error; at most a hundred a second of each level are written while live packets come, and then how
---many were not. What is below --log-level costs next to nothing.
---@class ipq.log
---@field debug fun(text: any)
---@field info fun(text: any)
---@field warn fun(text: any)
---@field error fun(text: any)

---@class ipq.Queue
local Queue = {}

---Judges packets until the queue is stopped. What is held then gets the default verdict.
---@param filter fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@return boolean? ok
---@return string? message
---@return string? code
function Queue:run(filter) end

---Takes no new packets: run() judges what waits, then returns.
function Queue:stop() end

---Closes the queue; the kernel drops what still waits in it.
function Queue:close() end

---A packet that waits for its verdict: see pkt:hold().
---@class ipq.Held
local Held = {}

---Gives the packet its verdict, and where there are bytes makes it these, as a filter does that returns them. What the
---filter changed that held the packet goes out with it. Raises, at the caller's line, the second time, and for what is
---no verdict and no bytes. Bytes that cannot be sent cost the packet the error verdict, which is logged.
---@param verdict? ipq.verdict nil: the default verdict
---@param bytes? string|ipq.Buffer a whole IP packet
function Held:verdict(verdict, bytes) end

---A packet of the script's own, as the held one goes out by default. Raises where its filter has not returned yet, and
---when it has had its verdict.
---@return ipq.OwnPacket? packet
---@return string? message
function Held:clone() end

---What the receiver of the held packet says to its sender: as Packet:answer().
---@param fields table<string, any>
---@return ipq.OwnPacket? packet
---@return string? message
function Held:answer(fields) end

---A set of networks; #set is how many were given.
---@class ipq.Netset
---@operator len: integer
local Netset = {}

---Whether an address is in one of the networks. Raises where text is no address.
---@param text string "10.1.2.3", "2001:db8::1"
---@return boolean
function Netset:has(text) end

---Whether the packet's source address is in one of the networks; false where it has no IP header.
---@param pkt ipq.Packet
---@return boolean
function Netset:has_saddr(pkt) end

---Whether the packet's destination address is in one of the networks; false where it has no IP header.
---@param pkt ipq.Packet
---@return boolean
function Netset:has_daddr(pkt) end

---A packet, good until the filter returns.
---@class ipq.Packet
---@field packet_id integer
---@field queue_num integer
---@field hook integer 0 to 4
---@field hook_name "prerouting"|"input"|"forward"|"output"|"postrouting"|nil
---@field family "unspec"|"inet"|"ip"|"arp"|"netdev"|"bridge"|"ip6"|nil
---@field mark integer can be assigned; 0 where there is none; -2^31 to -1 are taken as LuaJIT's bit gives them, as by all fields of 32 bits
---@field priority integer? can be assigned; skb->priority, nil where it is 0
---@field timestamp number? seconds
---@field timestamp_sec integer?
---@field timestamp_usec integer?
---@field indev integer? interface index
---@field indev_name string?
---@field outdev integer?
---@field outdev_name string?
---@field physindev integer? the bridge port
---@field physindev_name string?
---@field physoutdev integer?
---@field physoutdev_name string?
---@field hw_protocol integer EtherType
---@field hw_type integer? ARPHRD_* of the input device
---@field hw_addr string? "aa:bb:cc:dd:ee:ff", the sender's
---@field uid integer? of the local socket
---@field gid integer?
---@field secctx string?
---@field vlan ipq.Tag[]? can be assigned with a capture; the VLAN tags, outermost first, a list of its own for each reading; nil where there are none
---@field vlan_proto integer? of the outermost tag
---@field vlan_tci integer?
---@field l2hdr string? the link header's bytes, of bridged packets and of a capture's
---@field prefix string? what the rule says that logged the packet: of an NFLOG capture's
---@field data_len integer bytes copied, or captured
---@field len integer? bytes on the wire; nil with copy = "meta"
---@field truncated boolean whether the copy, or the capture, lacks a part of the packet
---@field malformed string? why its headers cannot be told for sure; nil where they can
---@field fragment "first"|"later"|nil nil where the packet is no fragment
---@field gso boolean
---@field csum_ready boolean whether the bytes hold their checksums
---@field csum_verified boolean whether the checksums were found right; false of a capture's packets
---@field ct ipq.Conntrack? a table of its own for each reading
---@field flow ipq.Flow? with flow = {} in the script's table; nil: a later fragment, no IP, no ports
---@field payload ipq.Buffer? the IP packet; nil with copy = "meta"
---@field fix boolean can be assigned; false sends changed bytes as they are
---@field saddr string? can be assigned; of the IP header, whichever it is
---@field daddr string? can be assigned
---@field protocol integer? IPPROTO_*, behind all extension headers
---@field sport integer? can be assigned; of TCP, UDP, UDP-Lite, SCTP or DCCP
---@field dport integer? can be assigned
---@field ip ipq.IP? nil where there is none, or the copy cuts it off; so are all headers
---@field ip6 ipq.IP6?
---@field tcp ipq.TCP?
---@field udp ipq.UDP?
---@field udplite ipq.UDPLite?
---@field icmp ipq.ICMP?
---@field icmpv6 ipq.ICMPv6?
---@field sctp ipq.SCTP?
---@field dccp ipq.DCCP?
---@field gre ipq.GRE?
---@field esp ipq.ESP?
---@field ah ipq.AH?
---@field arp ipq.ARP? of a capture where the script says arp = true; of a bridge
---@field inner ipq.Inside? the packet that this one carries: in IPIP, 6in4, GRE, VXLAN, GENEVE, GTP-U
---@field ether ipq.Ether? of a bridge, and of a capture; nil where its link header has no Ethernet address
local Packet = {}

---A packet of the script's own: a clone, an answer, or what ipq.build makes. It outlives the filter, with its headers and
---Buffers, and has the fields of a packet, to read and to assign.
---@class ipq.OwnPacket : ipq.Packet
local OwnPacket = {}

---The whole IP packet, with right lengths and checksums; nil and why it cannot be sent as it was left.
---@return string? bytes
---@return string? message
function OwnPacket:bytes() end

---A packet inside of another one: what a tunnel carries, or what an ICMP error quotes. Checksums follow, its own and those
---around it; a change of its length, or of where its headers are, raises.
---@class ipq.Inside
---@field inner ipq.Inside? the packet that this one carries, at most 8 deep
---@field truncated boolean whether a part of it is not there: not quoted, or not copied
---@field malformed string? why its headers cannot be told for sure
---@field fragment "first"|"later"|nil
---@field payload ipq.Buffer the IP packet
---@field saddr string can be assigned
---@field daddr string can be assigned
---@field protocol integer IPPROTO_*, behind all extension headers
---@field sport integer? can be assigned; of TCP, UDP, UDP-Lite, SCTP or DCCP
---@field dport integer? can be assigned
---@field ip ipq.IP?
---@field ip6 ipq.IP6?
---@field tcp ipq.TCP? of what is quoted in part, fields behind that are nil
---@field udp ipq.UDP?
---@field udplite ipq.UDPLite?
---@field icmp ipq.ICMP?
---@field icmpv6 ipq.ICMPv6?
---@field sctp ipq.SCTP?
---@field dccp ipq.DCCP?
---@field gre ipq.GRE?
---@field esp ipq.ESP?
---@field ah ipq.AH?

---The packet's raw bytes as they are now: they outlive the call. A checksum that is not ready (csum_ready) is not in
---them, nor one that has yet to follow a change.
---@return string
function Packet:copy() end

---A packet of the script's own, as this one is now: whole, with right lengths and checksums, also those that a network
---card was to make. nil and why, where there can be none: of a packet that is cut off or malformed.
---@return ipq.OwnPacket? packet
---@return string? message
function Packet:clone() end

---What the receiver of this packet says to its sender, a packet of the script's own: addresses and ports are exchanged,
---TCP's numbers go on, an ICMP echo request becomes the reply. payload is its payload; other fields are given as to
---ipq.build. nil and why, where there is no such answer, or a field cannot be.
---@param fields table<string, any>
---@return ipq.OwnPacket? packet
---@return string? message
function Packet:answer(fields) end

---Resets both ends of the packet's TCP connection, behind the verdicts of its batch. The packet itself is to be dropped:
---return ipq.DROP. nil and why, where there is nothing to reset.
---@return boolean? sent
---@return string? message
function Packet:reset() end

---Asks the rules to queue no more of this packet's flow: sets ipq.BYPASS_MARK in the mark, beside what else
---is there. The packet gets its verdict as ever. README.md has the rules.
function Packet:bypass() end

---Holds the packet until its handle gets a verdict: from another packet's filter, from a timer, or from stop(). The
---filter is to return nothing then. Raises where half of --queue-maxlen packets are held, or 4096. A second time in the
---same filter gives the same handle.
---@return ipq.Held
function Packet:hold() end

---The link header. Its addresses can be assigned with a capture; live, the kernel takes no link header back.
---@class ipq.Ether
---@field saddr string can be assigned; "02:00:00:00:00:01"
---@field daddr string? can be assigned; nil in a Linux cooked capture
---@field type integer the EtherType behind all VLAN tags

---A VLAN tag, IEEE 802.1Q.
---@class ipq.Tag
---@field id integer 0 to 4095
---@field pcp? integer 0 to 7, the priority; 0 where it is left out
---@field dei? boolean whether it may be dropped first; false where it is left out
---@field proto? integer 0x8100, 0x88a8 or 0x9100; 0x8100 where it is left out

---RFC 826
---@class ipq.ARP
---@field htype integer can be assigned; ARPHRD_*
---@field ptype integer can be assigned; EtherType
---@field hlen integer can be assigned; bytes of a hardware address
---@field plen integer can be assigned; bytes of a protocol address
---@field operation integer can be assigned; 1 asks, 2 answers
---@field saddr_ether string? can be assigned; the sender's, nil unless hlen is 6
---@field saddr_ip string? can be assigned; nil unless plen is 4
---@field daddr_ether string? can be assigned; the target's, as saddr_ether
---@field daddr_ip string? can be assigned

---RFC 791
---@class ipq.IP
---@field saddr string can be assigned
---@field daddr string can be assigned
---@field ttl integer can be assigned
---@field protocol integer can be assigned
---@field dscp integer can be assigned
---@field ecn integer can be assigned
---@field id integer can be assigned
---@field length integer can be assigned
---@field frag_off integer can be assigned; in units of 8 bytes
---@field df boolean can be assigned
---@field mf boolean can be assigned
---@field checksum integer can be assigned
---@field options string can be assigned; the bytes, "" where there are none

---RFC 8200
---@class ipq.IP6
---@field saddr string can be assigned
---@field daddr string can be assigned
---@field hoplimit integer can be assigned
---@field nexthdr integer can be assigned
---@field flowlabel integer can be assigned
---@field dscp integer can be assigned
---@field ecn integer can be assigned
---@field length integer can be assigned
local IP6 = {}

---The bytes of the first extension header of that number (0, 43, 44, 51, 60 or 135).
---@param number integer
---@return string?
function IP6:exthdr(number) end

---@class ipq.TCPOption
---@field kind integer
---@field data? string "" where it is left out

---RFC 9293
---@class ipq.TCP
---@field sport integer can be assigned
---@field dport integer can be assigned
---@field sequence integer can be assigned
---@field ackseq integer can be assigned
---@field doff integer can be assigned
---@field flags integer can be assigned
---@field cwr boolean can be assigned
---@field ece boolean can be assigned
---@field urg boolean can be assigned
---@field ack boolean can be assigned
---@field psh boolean can be assigned
---@field rst boolean can be assigned
---@field syn boolean can be assigned
---@field fin boolean can be assigned
---@field window integer can be assigned
---@field checksum integer can be assigned
---@field urgptr integer can be assigned
---@field options ipq.TCPOption[] can be assigned, with no-operations ({ kind = 1 }) or as a string of bytes; read, it is without them
---@field payload ipq.Buffer
local TCP = {}

---The data of the first option of that kind: its bytes, a string.
---@param kind integer
---@return string?
function TCP:option(kind) end

---Gives the first option of that kind this data. As long as before, it is written in place; else the options are put
---together anew, with padding. One that is not there is added behind the others; nil puts no-operations in the place
---of all of that kind.
---@param kind integer 2 to 255
---@param data string? at most 38 bytes
function TCP:set_option(kind, data) end

---RFC 768
---@class ipq.UDP
---@field sport integer can be assigned
---@field dport integer can be assigned
---@field length integer can be assigned
---@field checksum integer can be assigned
---@field payload ipq.Buffer

---RFC 3828
---@class ipq.UDPLite
---@field sport integer can be assigned
---@field dport integer can be assigned
---@field csumcov integer can be assigned; bytes that the checksum covers, 0 for all
---@field checksum integer can be assigned
---@field payload ipq.Buffer

---RFC 792
---@class ipq.ICMP
---@field type integer can be assigned
---@field code integer can be assigned
---@field checksum integer can be assigned
---@field id integer can be assigned; of echo messages
---@field sequence integer can be assigned; of echo messages
---@field inner ipq.Inside? the packet that an error quotes
---@field payload ipq.Buffer

---RFC 4443
---@class ipq.ICMPv6
---@field type integer can be assigned
---@field code integer can be assigned
---@field checksum integer can be assigned
---@field id integer can be assigned; of echo messages
---@field sequence integer can be assigned; of echo messages
---@field inner ipq.Inside? the packet that an error quotes
---@field payload ipq.Buffer

---RFC 9260
---@class ipq.SCTP
---@field sport integer can be assigned
---@field dport integer can be assigned
---@field vtag integer can be assigned
---@field checksum integer can be assigned
---@field payload ipq.Buffer

---RFC 4340
---@class ipq.DCCP
---@field sport integer can be assigned
---@field dport integer can be assigned
---@field doff integer can be assigned
---@field csumcov integer can be assigned
---@field checksum integer can be assigned
---@field type integer can be assigned
---@field payload ipq.Buffer

---RFC 2784, RFC 2890
---@class ipq.GRE
---@field flags integer can be assigned
---@field version integer can be assigned
---@field protocol integer can be assigned; EtherType
---@field key integer? can be assigned where there is one
---@field payload ipq.Buffer

---RFC 4303
---@class ipq.ESP
---@field spi integer can be assigned
---@field sequence integer can be assigned
---@field payload ipq.Buffer

---RFC 4302
---@class ipq.AH
---@field nexthdr integer can be assigned
---@field hdrlength integer can be assigned
---@field spi integer can be assigned
---@field sequence integer can be assigned

---@class ipq.Conntrack
---@field id integer?
---@field mark integer?
---@field status integer? enum ip_conntrack_status
---@field state "new"|"established"|"related"|"untracked"|nil
---@field direction "original"|"reply"|nil
---@field zone integer?
---@field timeout integer? seconds
---@field original ipq.Tuple? as the connection's first packet came, before NAT
---@field reply ipq.Tuple? as its answers come, before NAT

---@class ipq.Tuple who speaks to whom
---@field saddr string
---@field daddr string
---@field protocol integer
---@field sport integer?
---@field dport integer?

---Who speaks with whom, and what was said so far. pkt.flow is good until the filter returns; one of ipq.flows() until
---the flow ends; what flow.stop() is told is a copy. What flow.fields declares are fields of it as well.
---@class ipq.Flow
---@field [string] number a declared field; can be assigned
---@field saddr string as the flow's first packet had it, and the others
---@field daddr string
---@field sport integer?
---@field dport integer?
---@field protocol integer
---@field icmp_id integer? the identifier of ICMP's requests and replies
---@field zone integer conntrack's; 0 where the kernel tells of none
---@field direction "original"|"reply"|nil of the packet; nil where there is none
---@field is_new boolean? whether the packet is the flow's first
---@field is_related boolean? whether the packet is an ICMP error that quotes the flow
---@field original ipq.FlowDirection
---@field reply ipq.FlowDirection
---@field first number when its first packet came, in seconds since 1970
---@field last number
---@field state string "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "closed", "midstream"; "new" or "stream" where it is no TCP
---@field id integer a number that no other flow of the table has
---@field hook string where its packets count: "forward", "input" and so on
---@field data table the script's own; gone with the flow, and with its process
local Flow = {}

---Drops this packet, if the filter says nothing else, and all of its flow that come after it, without the filter being
---asked.
function Flow:drop() end

---The same, and their senders are told: as ipq.REJECT, or as ipq.reject(kind). Raises without send = true in the script's
---table.
---@param kind? "tcp-reset"|"port-unreachable"|"host-unreachable"|"net-unreachable"|"no-route"|"admin-prohibited"
function Flow:reject(kind) end

---Accepts this packet, if the filter says nothing else, and all of its flow that come after it, without the filter being
---asked; these with ipq.BYPASS_MARK in their marks.
function Flow:bypass() end

---@class ipq.FlowDirection
---@field packets integer
---@field bytes integer from the IP header on

---Bytes of a packet. Offsets begin at 0; an access out of bounds raises.
---@class ipq.Buffer
---@operator len: integer
local Buffer = {}

---@param offset integer
---@return integer
function Buffer:u8(offset) end

---@param offset integer
---@return integer # from network order
function Buffer:u16(offset) end

---@param offset integer
---@return integer # from network order
function Buffer:u32(offset) end

---@param offset integer
---@return integer # a uint64_t, from network order
function Buffer:u64(offset) end

---@param offset? integer 0
---@param length? integer all that follow
---@return string
function Buffer:string(offset, length) end

---@param text string plain bytes, no pattern
---@param offset? integer 0
---@return integer? # the offset of its first occurrence
function Buffer:find(text, offset) end

---@param text string
---@return boolean
function Buffer:starts(text) end

---@return string
function Buffer:hex() end

---@param offset integer
---@param value integer
function Buffer:set_u8(offset, value) end

---@param offset integer
---@param value integer in network order
function Buffer:set_u16(offset, value) end

---@param offset integer
---@param value integer in network order; -2^31 to 2^32 - 1
function Buffer:set_u32(offset, value) end

---@param offset integer
---@param value integer in network order; a uint64_t or below 2^53
function Buffer:set_u64(offset, value) end

---Puts text over the bytes at offset.
---@param offset integer
---@param text string
function Buffer:write(offset, text) end

---Puts text in the place of length bytes at offset; the packet grows or shrinks.
---@param offset integer
---@param length integer
---@param text string
function Buffer:replace(offset, length, text) end

---Cuts the buffer to length bytes, or fills it up with zeros.
---@param length integer
function Buffer:resize(length) end

return ipq
