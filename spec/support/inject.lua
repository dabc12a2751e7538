-- Sends the packets of a capture as they are, past all that a kernel would put right: run as a program, by live specs.
--
--   luajit spec/support/inject.lua link DEVICE MAC FILE   as frames on a link
--   luajit spec/support/inject.lua raw ADDRESS FILE       by a raw socket to that address, IPv4 or IPv6
--
-- Prints how many were sent. What the system refuses to send is left out.
local capture = require "spec.support.capture"
local ffi = require "ffi"

local C = ffi.C

ffi.cdef [[
  struct sockaddr_ll { uint16_t family, protocol; int ifindex; uint16_t hatype; uint8_t pkttype, halen, addr[8]; };
  struct sockaddr_in { uint16_t family, port; uint8_t addr[4], zero[8]; };
  struct sockaddr_in6 { uint16_t family, port; uint32_t flowinfo; uint8_t addr[16]; uint32_t scope_id; };
  int socket(int domain, int type, int protocol);
  int setsockopt(int fd, int level, int name, const void *value, uint32_t len);
  long sendto(int fd, const void *bytes, size_t len, int flags, const void *address, uint32_t address_len);
  unsigned int if_nametoindex(const char *name);
  int inet_pton(int family, const char *text, void *address);
]]

local AF_INET, AF_INET6, AF_PACKET, SOCK_RAW, IPPROTO_RAW = 2, 10, 17, 3, 255
local SOL_SOCKET, SO_SNDBUFFORCE, ROOM = 1, 32, 64 * 2 ^ 20

local function open(family, protocol)
  local fd = C.socket(family, SOCK_RAW, protocol)
  assert(fd >= 0, "no raw socket: root alone has them")
  C.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, ffi.new("int[1]", ROOM), 4)
  return fd
end

local roads = {}

--- Gives a socket, its destination, and what is to be sent for a packet.
function roads.link(device, mac)
  local to = ffi.new("struct sockaddr_ll", { family = AF_PACKET, ifindex = C.if_nametoindex(device), halen = 6 })
  local address = mac:gsub("(%x%x):?", function(digits) return string.char(tonumber(digits, 16)) end)
  -- The EtherType that fits; where none does, one of the two.
  local turn = 0
  return open(AF_PACKET, 0), to, function(packet)
    local version = math.floor((packet:byte(1) or 0) / 16)
    turn = turn + 1
    local is_v6 = version == 6 or version ~= 4 and turn % 2 == 0
    return address .. "\2\0\0\0\0\2" .. (is_v6 and "\134\221" or "\8\0") .. packet
  end
end

--- Everything goes, whatever its version.
function roads.raw(address)
  local is_v6 = address:find ":" ~= nil
  local to = is_v6 and ffi.new("struct sockaddr_in6", { family = AF_INET6 })
    or ffi.new("struct sockaddr_in", { family = AF_INET })
  assert(C.inet_pton(to.family, address, to.addr) == 1, address .. " is no address")
  return open(to.family, IPPROTO_RAW), to, function(packet) return packet end
end

local path = arg[#arg]
local fd, to, wrap = roads[arg[1]](arg[2], arg[3])
local sent = 0
for _, frame in ipairs(capture.read(path)) do
  local bytes = wrap(frame[1])
  if C.sendto(fd, bytes, #bytes, 0, to, ffi.sizeof(to)) >= 0 then sent = sent + 1 end
end
print("sent " .. sent)
