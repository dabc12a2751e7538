-- Looks at the first byte that each client says.
return { stream = { port = 80, client = function(stream) stream:peek(1) end } }
