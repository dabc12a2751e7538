local ffi = require "ffi"
local lib = require "spec.support.lib"
local netns = require "spec.support.netns"

local C = lib.C

describe("ipq_device_get", function()
  it("keeps errno, and gives an empty name where there is no interface", function()
    local devices = ffi.new "struct ipq_devices"
    ffi.errno(77)
    local device = C.ipq_device_get(devices, 0x7fffffff)
    assert.equal(77, ffi.errno())
    assert.same({ "", 0 }, { ffi.string(device.name), device.type })
    C.ipq_devices_clear(devices)
  end)
end)

netns.describe("ipq_device_get", function()
  it("gives the new name of an interface soon after it was renamed", function()
    local output = netns.run [[
      ip link set lo down
      cat > "$DIR/names.lua" <<'END'
local ffi = require "ffi"
local C = require "spec.support.lib".C
local devices = ffi.new "struct ipq_devices"
local function name() return ffi.string(C.ipq_device_get(devices, 1).name) end
print(name())
os.execute "ip link set lo name other"
local give_up = os.time() + 20
repeat until name() == "other" or os.time() > give_up
print(name())
END
      runtime=
      [ "${IPQ_BUILD%sanitize}" = "$IPQ_BUILD" ] || runtime=$(cc -print-file-name=libasan.so)
      export IPQ_BUILD
      LD_PRELOAD=$runtime luajit "$DIR/names.lua"]]
    assert.equal("lo\nother\n", output)
  end)
end)
