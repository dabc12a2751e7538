--- What spec/c/stream.c tells of the packets that it sent through a queue, against what the program tells of them.
local assert = require "luassert"

--- Raises unless each packet of a stream was received once, but for those that the full queue has turned away, and
--- those that got the error verdict as their filter's time was over: that happens where the machine has other work, and
--- the program tells of them. output has the lines of both. The count of a queue lasts as long as the queue does: the
--- last line is the one that counts.
---@param output string
return function(output)
  local sent, received, twice = output:match "sent (%d+) received (%d+) lost %-?%d+ twice (%d+)"
  local turned_away
  for count in output:gmatch "errors, (%d+) lost unseen" do turned_away = count end
  local late = select(2, output:gsub("error: packet %d+ of queue 0: takes longer than the time limit", ""))
  assert.equal(tonumber(sent), received + turned_away + late, output)
  assert.equal("0", twice, output)
  assert.is_true(tonumber(sent) >= 100, output)
end
