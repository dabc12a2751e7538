--- What DNS's numbers are called.
local pairs, tonumber, type = pairs, tonumber, type -- a script may overwrite globals

local M = {}

-- RFC 1035, 3596, 2782, 3403, 6672, 6891, 4034, 5155, 7208, 6698, 9460, 8659; RFC 8482 of ANY.
M.types = {
  A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, MX = 15, TXT = 16, AAAA = 28, SRV = 33, NAPTR = 35, DNAME = 39,
  OPT = 41, DS = 43, RRSIG = 46, NSEC = 47, DNSKEY = 48, NSEC3 = 50, TLSA = 52, SVCB = 64, HTTPS = 65, AXFR = 252,
  ANY = 255, CAA = 257,
}

-- RFC 1035, 2136, 6891
M.rcodes = {
  noerror = 0, formerr = 1, servfail = 2, nxdomain = 3, notimp = 4, refused = 5, yxdomain = 6, yxrrset = 7, nxrrset = 8,
  notauth = 9, notzone = 10, badvers = 16,
}

-- RFC 9460 section 14.3.2
M.params = {
  mandatory = 0, alpn = 1, ["no-default-alpn"] = 2, port = 3, ipv4hint = 4, ech = 5, ipv6hint = 6, dohpath = 7,
}

local function turned(names)
  local turn = {}
  for name, number in pairs(names) do turn[number] = name end
  return turn
end

local type_names, rcode_names, param_names = turned(M.types), turned(M.rcodes), turned(M.params)

--- "AAAA", or as RFC 3597 calls those without a name: "TYPE999". They are kept, so that each is made once.
function M.type_name(number)
  local name = type_names[number]
  if not name then
    name = "TYPE" .. number
    type_names[number] = name
  end
  return name
end

--- "nxdomain", or the number where it has no name.
function M.rcode_name(number) return rcode_names[number] or number end

--- "alpn", or "key999".
function M.param_name(number) return param_names[number] or "key" .. number end

--- The number of a name, which may be one itself; nil where there is none.
local function number_of(names, prefix, value)
  local number = type(value) == "number" and value or names[value]
    or type(value) == "string" and tonumber(value:match("^" .. prefix .. "(%d+)$"))
  if number and number >= 0 and number <= 65535 and number % 1 == 0 then return number end
end

function M.type_number(value) return (number_of(M.types, "TYPE", value)) end
function M.rcode_number(value) return (number_of(M.rcodes, "RCODE", value)) end
function M.param_number(value) return (number_of(M.params, "key", value)) end

return M
