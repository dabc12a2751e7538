-- Takes a tenth of a millisecond a packet.
return function()
  local stop = os.clock() + 1e-4
  while os.clock() < stop do end
end
