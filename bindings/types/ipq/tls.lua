---@meta ipq.tls
-- What the module ipq.tls has, for the Lua language server: see ipq.lua beside this folder.

---What a client offers when it begins to talk TLS: its ClientHello. Good until the next hello is read; lists are made
---when they are read, in the client's order, without GREASE (RFC 8701).
---@class ipq.Hello
---@field sni string? the name of the server that it wants, in lower case; nil where it says none, or one of wrong form
---@field sni_error string? why the name that it says is none
---@field alpn string[] protocols (RFC 7301)
---@field versions integer[] of TLS: 0x0304 is 1.3
---@field ciphers integer[]
---@field extensions integer[] their types
---@field ech boolean whether it offers Encrypted Client Hello, so that sni is the name of who decrypts
---@field ja3 string JA3's fingerprint, 32 hexadecimal digits
---@field ja4 string JA4's fingerprint
local Hello = {}

---All fields in a table, which can be kept.
---@return table<string, any>
function Hello:copy() end

---@class ipq.tls
local tls = {}

---The hello that a client's bytes begin with. Of a stream it waits for the whole hello, holds it, and leaves the handler
---in front of it. nil where there is none, and why: "more" where the bytes end before the hello does, "not TLS", or
---another reason.
---@param source string|ipq.Buffer|ipq.Stream
---@return ipq.Hello? hello
---@return string? why
function tls.client_hello(source) end

return tls
