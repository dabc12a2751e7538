-- Accepts everything.
return function() end
