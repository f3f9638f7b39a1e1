-- Whether an address stands in one of the networks of an allow-list: IPv4, IPv6, and IPv4 mapped into IPv6.

local ffi = require("ffi")
local bit = require("bit")

local byte  = string.byte
local find  = string.find
local floor = math.floor
local format = string.format
local match = string.match
local sub   = string.sub
local tonumber = tonumber

ffi.cdef[[
int inet_pton(int family, const char *text, void *address);
]]

local AF_INET  = 2
local AF_INET6 = ffi.os == "Linux" and 10 or 30
local MAPPED   = ("\0"):rep(10) .. "\255\255"
local KEPT_NETWORKS = 8192

local buffer = ffi.new("unsigned char[16]")
local networks, kept = {}, 0

local _M = {}


-- The 4 or 16 bytes of an address, or nil.
local function parse(text)
    if find(text, "%z") then
        return nil
    end
    if find(text, ":", 1, true) then
        return ffi.C.inet_pton(AF_INET6, text, buffer) == 1 and ffi.string(buffer, 16) or nil
    end
    return ffi.C.inet_pton(AF_INET, text, buffer) == 1 and ffi.string(buffer, 4) or nil
end


-- The 4 or 16 bytes of an address, of an IPv4 address mapped into IPv6 the 4; nil for what is no address.
function _M.bytes(text)
    local found = parse(text)
    if found and #found == 16 and sub(found, 1, 12) == MAPPED then
        return sub(found, 13)
    end
    return found
end


-- An address as it is shown and logged: an IPv4 address mapped into IPv6 is the IPv4 address.
function _M.shown(text)
    if sub(text, 1, 2) ~= "::" then
        return text
    end
    local bytes = _M.bytes(text)
    return bytes and #bytes == 4 and format("%d.%d.%d.%d", byte(bytes, 1, 4)) or text
end


-- Reads `address` or `address/bits`; bits of the host may be set, they are ignored. Returns nil and the reason.
function _M.network(text)
    local address, bits = match(text, "^([^/]+)/(%d%d?%d?)$")
    local bytes = parse(address or text)
    if not bytes then
        return nil, "'" .. text .. "' is no IPv4 or IPv6 network"
    end
    bits = bits and tonumber(bits) or #bytes * 8
    if bits > #bytes * 8 then
        return nil, "'" .. text .. "' has a prefix longer than the address"
    end
    return { bytes = bytes, bits = bits }
end


local function holds(network, address)
    if #network.bytes ~= #address then
        return false
    end
    local whole = floor(network.bits / 8)
    if sub(network.bytes, 1, whole) ~= sub(address, 1, whole) then
        return false
    end
    local rest = network.bits % 8
    if rest == 0 then
        return true
    end
    local different = bit.bxor(byte(network.bytes, whole + 1), byte(address, whole + 1))
    return bit.rshift(different, 8 - rest) == 0
end


local function remembered(text)
    local network = networks[text]
    if network == nil then
        network = _M.network(text) or false
        if kept >= KEPT_NETWORKS then
            networks, kept = {}, 0
        end
        networks[text] = network
        kept = kept + 1
    end
    return network
end


-- Whether `remote` stands in one of the networks in the list `cidrs`.
function _M.within(remote, cidrs)
    local address = parse(remote)
    if not address then
        return false
    end
    local mapped = #address == 16 and sub(address, 1, 12) == MAPPED and sub(address, 13) or nil
    for i = 1, #cidrs do
        local network = remembered(cidrs[i])
        if network and (holds(network, address) or mapped and holds(network, mapped)) then
            return true
        end
    end
    return false
end


return _M
