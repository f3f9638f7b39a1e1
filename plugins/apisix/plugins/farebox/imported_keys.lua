-- Keys that were issued elsewhere, as `farebox_contract/imported_keys.py` has it: their text names nobody, so their
-- credential stands under one consumer with the text's SHA-256 as its id.

local keys = require("apisix.plugins.farebox.keys")

local find = string.find

local MIN_LENGTH = 16
local MAX_LENGTH = 128

local _M = { CONSUMER = "imported" }


-- Whether a text may be an imported key: 16 to 128 printable ASCII characters, and not of our own form.
function _M.importable(text)
    return #text >= MIN_LENGTH and #text <= MAX_LENGTH and not find(text, "[^!-~]") and not keys.has_our_form(text)
end


return _M
