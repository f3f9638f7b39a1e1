-- Who calls without a key, as `farebox_contract/tiers.py` has it; both run the vectors beside that file. A polite
-- caller names a mail address in its User-Agent, an anonymous one is known by its address alone.

local addresses = require("apisix.plugins.farebox.addresses")
local digest    = require("apisix.plugins.farebox.digest")

local byte   = string.byte
local find   = string.find
local format = string.format
local gmatch = string.gmatch
local gsub   = string.gsub
local lower  = string.lower
local match  = string.match
local sub    = string.sub

local MAX_AGENT   = 512
local MAX_CONTACT = 254
local MAX_LOCAL   = 64
local MAX_LABEL   = 63

local _M = {}


local function is_domain(domain)
    local labels, last = 0, nil
    for label in gmatch(domain .. ".", "([^.]*)%.") do
        if #label > MAX_LABEL or not find(label, "^%w[%w-]*$") or sub(label, -1) == "-" then
            return false
        end
        labels, last = labels + 1, label
    end
    return labels >= 2 and #last >= 2 and not find(last, "%A")
end


-- The first mail address in a User-Agent, in lower case, or nil.
function _M.contact(agent)
    local at = find(agent, "@", 1, true)
    if not at then
        return nil
    end
    agent = sub(agent, 1, MAX_AGENT)
    while at and at <= #agent do
        local name = match(sub(agent, 1, at - 1), "[%w._%%+-]+$")
        local domain = gsub(match(agent, "^[%w.-]*", at + 1), "[.-]+$", "")
        if name and #name <= MAX_LOCAL and byte(name) ~= 46 and byte(name, -1) ~= 46
            and #name + 1 + #domain <= MAX_CONTACT and is_domain(domain)
        then
            return lower(name .. "@" .. domain)
        end
        at = find(agent, "@", at + 1, true)
    end
    return nil
end


-- What a contact is called in counters: no mail address stands in Redis.
function _M.contact_name(contact)
    return sub(digest.sha256(contact), 1, 32)
end


-- What an address is called in counters: IPv4 as it is, of IPv6 the /64 in hexadecimal; `-` for what is none.
function _M.address_name(remote)
    local bytes = addresses.bytes(remote)
    if not bytes then
        return "-"
    end
    if #bytes == 4 then
        return format("%d.%d.%d.%d", byte(bytes, 1, 4))
    end
    return (gsub(sub(bytes, 1, 8), ".", function(one) return format("%02x", byte(one)) end))
end


return _M
