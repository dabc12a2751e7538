-- Inserts a header behind the first line that each client says.
return {
  stream = {
    edit = true,
    port = 80,
    client = function(stream, flow)
      local line = stream:peek_line()
      if not line then return end
      stream:skip(#line)
      stream:insert("X-Forwarded-For: " .. flow.saddr .. "\r\n")
    end,
  },
}
