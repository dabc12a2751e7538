-- Each line that a client says loses its first four bytes.
return { stream = { edit = true, port = 80, hold = 10,
  client = function(stream)
    while true do
      local line = stream:peek_line()
      if not line then return end
      assert(stream:erase(4))
      stream:skip(#line - 4)
    end
  end } }
