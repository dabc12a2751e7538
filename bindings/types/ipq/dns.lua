---@meta ipq.dns

---A question of a DNS message.
---@class ipq.DnsQuestion
---@field name string in small letters: "www.example.org", "." for the root
---@field type string "A", or "TYPE999" where it has no name
---@field class integer 1

---A record of a DNS message.
---@class ipq.DnsRecord
---@field name string whose it is
---@field type? string|integer "A"
---@field class? integer 1
---@field ttl? integer seconds; 300 where a record is built
---@field data string|string[]|ipq.DnsService what it says: text as zone files have it; a list of strings for TXT, where there are several; a table for SVCB and HTTPS; else bytes

---What a record of SVCB or HTTPS says; other parameters are bytes by names such as key999.
---@class ipq.DnsService
---@field priority? integer 1
---@field target? string "."
---@field mandatory? string[]
---@field alpn? string[]
---@field port? integer
---@field ipv4hint? string[]
---@field ipv6hint? string[]
---@field ech? string
---@field dohpath? string

---What EDNS says.
---@class ipq.DnsEdns
---@field size? integer that is taken over UDP; 1232 where it is built
---@field version? integer 0
---@field rcode? integer the upper bits of rcode
---@field dnssec_ok? boolean the DO bit
---@field options? { code: integer, data: string }[]

---A DNS message, good until another one is parsed.
---@class ipq.DnsMessage
---@field id integer
---@field flags integer the 16 bits behind the id
---@field qr boolean whether it is an answer
---@field aa boolean
---@field tc boolean
---@field rd boolean
---@field ra boolean
---@field ad boolean
---@field cd boolean
---@field opcode integer
---@field rcode string|integer "noerror", "nxdomain", ...; with the bits that EDNS has of it
---@field name string? of the first question, in small letters
---@field type string? of the first question
---@field class integer? of the first question
---@field questions ipq.DnsQuestion[]? nil where it is malformed; this and the others are made anew each time
---@field answers ipq.DnsRecord[]?
---@field authorities ipq.DnsRecord[]?
---@field additional ipq.DnsRecord[]? all but EDNS
---@field edns ipq.DnsEdns?
---@field malformed string? why its sections cannot be read
---@field bytes string

---What a message is made of.
---@class ipq.DnsFields
---@field id? integer 1
---@field qr? boolean an answer; true where there are answers
---@field aa? boolean
---@field tc? boolean
---@field rd? boolean true
---@field ra? boolean
---@field ad? boolean
---@field cd? boolean
---@field opcode? integer 0
---@field rcode? string|integer "noerror"
---@field name? string of the one question, "example.org"
---@field type? string|integer "A"
---@field questions? ipq.DnsQuestion[]
---@field answers? ipq.DnsRecord[]
---@field authorities? ipq.DnsRecord[]
---@field additional? ipq.DnsRecord[]
---@field edns? ipq.DnsEdns

---What a query is answered.
---@class ipq.DnsAnswer
---@field rcode? string|integer "noerror"
---@field A? string|string[] for who asks for such addresses
---@field AAAA? string|string[]
---@field ttl? integer seconds of these, 60
---@field answers? ipq.DnsRecord[]
---@field authorities? ipq.DnsRecord[]
---@field additional? ipq.DnsRecord[]
---@field aa? boolean
---@field tcp? boolean of any size, behind its length

---@class ipq.Dns
local dns = {}

---Reads a message: what a packet carries in UDP, whatever its ports, or bytes.
---@param what ipq.Packet|ipq.OwnPacket|ipq.Buffer|string
---@return ipq.DnsMessage? message
---@return string? why
function dns.parse(what) end

---Answers a query: its id, its questions letter by letter, and EDNS with its DO bit. An answer larger than who asks takes
---is empty, with tc. Raises where a field is wrong.
---@param query ipq.DnsMessage|ipq.Packet|ipq.OwnPacket|ipq.Buffer|string
---@param fields ipq.DnsAnswer
---@return string? bytes nil where it is no query
---@return string? why
function dns.answer(query, fields) end

---A message with other fields; what is not given stays, and so do the questions. edns = false takes that out. Raises where
---a field is wrong.
---@param original ipq.DnsMessage|ipq.Packet|ipq.OwnPacket|ipq.Buffer|string
---@param fields ipq.DnsFields
---@return string? bytes nil where it is malformed
---@return string? why
function dns.rewrite(original, fields) end

---A message of these fields. Raises where one is wrong.
---@param fields? ipq.DnsFields
---@return string? bytes nil where they are more than a message has
---@return string? why
function dns.build(fields) end

---The next message of a stream, which is held.
---@param stream ipq.Stream
---@return ipq.DnsMessage? message nil at the end of the stream, and where it is none
---@return integer|string? size with its length, in bytes; or why it is none, which is nil at the end
---@return integer? size of what is none, where it can be skipped
function dns.peek(stream) end

---What a script's table has as stream, so that DNS over TCP is answered and changed as that over UDP.
---@param fields { answer?: (fun(query: ipq.DnsMessage, flow: ipq.Flow): ipq.DnsAnswer?), rewrite?: (fun(message: ipq.DnsMessage, flow: ipq.Flow): ipq.DnsFields?), port?: integer|integer[], select?: fun(flow: ipq.Flow): boolean }
---@return ipq.StreamOptions
function dns.stream(fields) end

---A message as it goes over TCP: behind its length.
---@param bytes string
---@return string
function dns.with_length(bytes) end

return dns
