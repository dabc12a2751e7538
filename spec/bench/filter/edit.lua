-- A byte more each 1,000 bytes, behind what iperf3 says of itself.
return {
  stream = {
    edit = true, port = 5201, hold = 10,
    client = function(stream)
      stream:skip(100000)
      while stream:peek(1) do
        assert(stream:insert "x")
        stream:skip(1000)
      end
    end,
  },
}
