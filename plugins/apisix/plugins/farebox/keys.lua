-- The grammar of an API key, as `farebox_contract/keys.py` has it; both run the vectors beside that file.
--
-- The text of a key names its organization and itself, and carries a check: a mistyped or random text is
-- refused here, before anything is looked up. This module knows no storage.

local ffi = require("ffi")

local byte  = string.byte
local find  = string.find
local match = string.match
local sub   = string.sub
local crc32 = ngx.crc32_short
local floor = math.floor

local PUBLIC_ID_LENGTH = 10
local SECRET_LENGTH    = 32
local CHECK_LENGTH     = 6
local BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
-- `_` env `_` org `_` key `_` secret check
local LENGTH_BEHIND_PREFIX = 1 + 4 + 1 + 2 * (PUBLIC_ID_LENGTH + 1) + SECRET_LENGTH + CHECK_LENGTH

local digits = ffi.new("unsigned char[?]", CHECK_LENGTH)

local _M = {}


-- The 6 base-62 digits (0-9, A-Z, a-z) of the CRC-32 (IEEE 802.3) of `body`.
function _M.checksum(body)
    local number = crc32(body)
    for i = CHECK_LENGTH, 1, -1 do
        digits[i - 1] = byte(BASE62, number % 62 + 1)
        number = floor(number / 62)
    end
    return ffi.string(digits, CHECK_LENGTH)
end


-- Whether a text looks like a key of ours with any prefix, its check not looked at.
function _M.has_our_form(text)
    local prefix, environment, organization, key, rest = match(text, "^(%l[%l%d]*)_(%l+)_([%l%d]+)_([%l%d]+)_(%w+)$")
    return prefix ~= nil and #prefix <= 16 and (environment == "live" or environment == "test")
        and #organization == PUBLIC_ID_LENGTH and #key == PUBLIC_ID_LENGTH
        and #rest == SECRET_LENGTH + CHECK_LENGTH
end


-- Returns organization, key and environment that a text names, or nothing if it is no key with this prefix.
function _M.parse(text, prefix)
    local start = #prefix + 1
    if #text ~= #prefix + LENGTH_BEHIND_PREFIX or sub(text, 1, start) ~= prefix .. "_" then
        return nil
    end
    local environment = sub(text, start + 1, start + 4)
    local organization = sub(text, start + 6, start + 15)
    local key = sub(text, start + 17, start + 26)
    if environment ~= "live" and environment ~= "test"
        or byte(text, start + 5) ~= 95 or byte(text, start + 16) ~= 95 or byte(text, start + 27) ~= 95
        or find(organization, "[^a-z0-9]") or find(key, "[^a-z0-9]")
        or find(text, "[^0-9A-Za-z]", start + 28)
        or _M.checksum(sub(text, 1, -CHECK_LENGTH - 1)) ~= sub(text, -CHECK_LENGTH)
    then
        return nil
    end
    return organization, key, environment
end


return _M
