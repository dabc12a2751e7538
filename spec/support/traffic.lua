-- Mixed traffic as packets, for what has to be measured or compiled on more than one kind: DNS queries and answers, TCP
-- with its options and with data, pings, IPv6. The same packets each time.
local capture = require "spec.support.capture"
local m = require "spec.support.message"
local p = require "spec.support.packet"

local M = {}

local words = { "www", "mail", "ads", "cdn", "static", "images", "login", "api", "example", "shop", "news", "video" }
local SYN_OPTIONS = "\2\4\5\180\4\2\8\10" .. ("\0"):rep(8) .. "\1\3\3\7"

local function name(i)
  local text = ""
  for label = 1, 2 + i % 3 do
    local word = words[(i * 7 + label * 5) % #words + 1]
    text = text .. string.char(#word) .. word
  end
  return text .. "\7example\3com\0"
end

local function dns(i, flags)
  return m.be16(i % 65536) .. m.be16(flags) .. "\0\1\0\0\0\0\0\0" .. name(i) .. "\0\1\0\1"
end

local function http(i)
  return ("GET /page/%d HTTP/1.1\r\nHost: %s.example.com\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n")
    :format(i % 50, words[i % #words + 1])
end

local function client(i) return ("10.%d.%d.%d"):format(i % 4, i * 13 % 16, i * 31 % 250 + 1) end

local function query(i)
  return p.ip(17, p.udp(dns(i, 0x100), { sport = 1024 + i % 60000, dport = 53 }), { saddr = client(i) })
end

local function from_client(i, payload, fields)
  fields.sport, fields.dport = 1024 + i % 9000, fields.dport or 443
  return p.ip(6, p.tcp(payload, fields), { saddr = client(i) })
end

-- What comes in turn.
local kinds = {
  query,
  function(i) return from_client(i, "", { flags = 0x10 }) end,
  function(i)
    return p.ip(17, p.udp(dns(i, 0x8180), { sport = 53, dport = 1024 + i % 60000 }), { daddr = client(i) })
  end,
  function(i) return from_client(i, "", { flags = 2, options = SYN_OPTIONS }) end,
  function(i)
    return p.ip(6, p.tcp(("\23\3\3"):rep(60), { sport = 443, dport = 1024 + i % 9000 }), { daddr = client(i) })
  end,
  query,
  function(i) return p.ip6(6, p.tcp("", { sport = 1024 + i % 9000, dport = 443, flags = 0x10 })) end,
  function(i) return p.ip(1, "\8\0\0\0\0\1" .. m.be16(i % 65536) .. ("x"):rep(56), { saddr = client(i) }) end,
  query,
  function(i) return p.ip(17, p.udp(("q"):rep(40), { sport = 443, dport = 443 }), { daddr = client(i) }) end,
}

--- The bytes of packet i, from 1: one in twenty is a request of HTTP's.
function M.packet(i)
  if i % 20 == 10 then return (from_client(i, http(i), { dport = 80 })) end
  return (kinds[i % #kinds + 1](i))
end

local DISTINCT = 4000

--- Writes a capture of count packets, a thousand a second.
function M.write(path, count)
  local bytes = {}
  for i = 1, math.min(count, DISTINCT) do bytes[i] = M.packet(i) end
  capture.write(path, {})
  local frames = {}
  for i = 1, count do
    frames[#frames + 1] = { bytes[(i - 1) % DISTINCT + 1], sec = 1700000000 + math.floor(i / 1000),
      sub = i % 1000 * 1000 }
    if #frames == DISTINCT or i == count then
      capture.append(path, frames)
      frames = {}
    end
  end
end

return M
