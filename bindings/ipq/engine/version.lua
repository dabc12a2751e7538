--- The version that a script needs.
local core = require "ipq.core"
local tonumber, type = tonumber, type -- a script may overwrite globals

local M = {}

--- "0.2" or "0.2.1" as three numbers; nil where it is no version.
local function parse(text)
  local major, minor, patch = text:match "^(%d+)%.(%d+)$"
  if not major then major, minor, patch = text:match "^(%d+)%.(%d+)%.(%d+)$" end
  if major then return { tonumber(major), tonumber(minor), tonumber(patch or 0) } end
end

local function is_older(version, other)
  for i = 1, 3 do
    if version[i] ~= other[i] then return version[i] < other[i] end
  end
  return false
end

local function described(value)
  if type(value) == "string" then return (("%q"):format(value)) end
  if type(value) == "number" then return "the number " .. value end
  return "a " .. type(value)
end

--- Why this program will not do for a script that says so; nil where it will.
---@param needs any what the script says: "0.2"
---@param own? string this program's version
---@return string?
function M.refusal(needs, own)
  own = own or core.version
  local version = type(needs) == "string" and parse(needs)
  if not version then
    return "the script's field 'needs' must be a version in text, as \"0.2\" or \"0.2.1\", not " .. described(needs)
  end
  if is_older(parse(own), version) then
    return (("the script needs ipq-lua %s, this is %s"):format(needs, own))
  end
end

return M
