-- Reads a byte of each million.
return {
  stream = {
    port = 5201,
    client = function(stream)
      while stream:read(1) do stream:skip(1e6) end
    end,
  },
}
