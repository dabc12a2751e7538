-- One early insertion: whatever follows is translated, and read no more.
return {
  stream = {
    edit = true, port = 5201,
    client = function(stream)
      stream:skip(100000)
      if stream:peek(1) then assert(stream:insert "12345") end
    end,
  },
}
