local bench = require "spec.bench.bench"

return function() print(bench.capture(bench.build .. "/bench/checksum")) end
