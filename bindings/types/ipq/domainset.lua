---@meta ipq.domainset

---A set of domain names; #set is how many there are. Each stands for all names below it, too.
---@class ipq.Domainset
---@operator len: integer
local Domainset = {}

---Whether a name is in the set, or is below one that is.
---@param name string|ipq.DnsMessage "www.ads.example"; of a message it is that of its first question
---@return boolean
function Domainset:has(name) end

---The longest name of the set that a name is, or is below; nil where there is none.
---@param name string|ipq.DnsMessage
---@return string? listed in small letters
function Domainset:match(name) end

---Adds a name, as lists have it. Raises where it is none.
---@param name string "ads.example", "*.ads.example", "||ads.example^"
---@return boolean added false where it was there
function Domainset:add(name) end

---Takes a name out, not those below it that were added. Raises where it is none.
---@param name string
---@return boolean removed false where it was not there
function Domainset:remove(name) end

---Reads the set's file again, if it has changed: the set has what is in it then, and nothing else.
---@return boolean? refreshed nil where the file cannot be read or has a bad line, which is told once
---@return string? why
function Domainset:refresh() end
