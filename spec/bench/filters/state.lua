-- A table of connections with tables in it.
local flows = {}
return function(pkt)
  local tcp = pkt.tcp
  if not tcp then return end
  local key = pkt.saddr .. tcp.sport
  local flow = flows[key]
  if not flow then
    flow = { packets = 0, bytes = 0, flags = {} }
    flows[key] = flow
  end
  flow.packets, flow.bytes = flow.packets + 1, flow.bytes + pkt.len
  if tcp.fin then flow.flags.fin = true end
end
