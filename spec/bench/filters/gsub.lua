-- A payload's text with a word replaced, now and then.
return function(pkt)
  local tcp = pkt.tcp
  if not tcp or #tcp.payload == 0 then return end
  local text, count = tcp.payload:string():gsub("User%-Agent", "User-Agend")
  if count > 1 then tcp.payload:write(0, text) end
end
