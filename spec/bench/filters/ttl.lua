-- Changes a field of every packet.
return function(pkt)
  if pkt.ip then pkt.ip.ttl = 33 end
end
