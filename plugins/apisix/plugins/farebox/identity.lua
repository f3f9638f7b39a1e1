-- What the gateway tells an upstream about a request, signed, as `farebox_contract/identity.py` has it; both run the
-- vectors beside that file. The names of the headers are there too.

local digest = require("apisix.plugins.farebox.digest")

local concat = table.concat
local format = string.format
local gmatch = string.gmatch
local match  = string.match

local MIN_SECRET = 32

local _M = {}


-- Reads one or two secrets, separated by a comma; empty: none. Returns a list, or nil and the reason.
function _M.read_secrets(text)
    local secrets = {}
    for part in gmatch(text, "[^,]+") do
        local secret = match(part, "^%s*(.-)%s*$")
        if secret ~= "" then
            secrets[#secrets + 1] = secret
            if #secret < MIN_SECRET then
                return nil, "an identity secret needs " .. MIN_SECRET .. " characters: `openssl rand -hex 32`"
            end
        end
    end
    if #secrets > 2 then
        return nil, "give one identity secret, or two separated by a comma while they are changed"
    end
    return secrets
end


-- The text that is signed. `identity`: `time` (Unix milliseconds), `request_id`, `method`, `path`, `tier`, and of a
-- caller with a key `organization`, `key`, `environment`, perhaps `group`.
function _M.canonical(identity)
    return concat({
        "farebox-identity-v1", format("%.0f", identity.time), identity.request_id, identity.method, identity.path,
        identity.organization or "", identity.key or "", identity.environment or "", identity.group or "",
        identity.tier,
    }, "\n")
end


-- The signature header: `v1=` and 64 hexadecimal digits for each secret, separated by commas.
function _M.sign(identity, secrets)
    local text, signatures = _M.canonical(identity), {}
    for i = 1, #secrets do
        signatures[i] = "v1=" .. digest.hmac(secrets[i], text)
    end
    return concat(signatures, ",")
end


return _M
