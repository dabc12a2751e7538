-- Each line that a client says gets "<end>" in front of its end.
return { stream = { edit = true, port = 80, hold = 10,
  client = function(stream)
    while true do
      local line = stream:peek_line()
      if not line then return end
      stream:skip(#line - 1)
      assert(stream:insert "<end>")
      stream:skip(1)
    end
  end } }
