-- Prints the most memory that the process has had, when it stops.
return {
  filter = function(pkt) pkt.ip.ttl = 9 end,
  stop = function()
    for line in io.lines "/proc/self/status" do
      if line:match "^VmHWM" then print(line) end
    end
  end,
}
