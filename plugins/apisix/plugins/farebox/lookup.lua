-- Whose key a text is: one direct look-up by what the text names, or by its digest where it names nobody (an imported
-- key). Every text that is no valid key gives nothing, whatever the reason.

local digest        = require("apisix.plugins.farebox.digest")
local imported_keys = require("apisix.plugins.farebox.imported_keys")
local keys          = require("apisix.plugins.farebox.keys")
local request       = require("apisix.plugins.farebox.request")

local PLUGIN = "farebox-auth"

local _M = {}


-- Returns the credential's configuration, the organization's consumer, and the public ids of organization and key.
-- Of a text that is no valid key: nil, and whether that is only because the consumers have not arrived yet.
function _M.find(text, prefix)
    local organization, key, environment = keys.parse(text, prefix)
    if not organization and not imported_keys.importable(text) then
        return nil
    end
    local hash = digest.sha256(text)
    local holder_name = organization or imported_keys.CONSUMER
    local holder = request.consumer(holder_name)
    local credential = holder and request.consumer(holder_name .. "/credentials/" .. (key or hash))
    if not holder and not request.knows_consumers() then
        return nil, true
    end
    local found = credential and credential.value.plugins and credential.value.plugins[PLUGIN]
    if not digest.equal(hash, found and found.digest or digest.NOBODY) then
        return nil
    end
    if organization then
        if found.environment ~= environment or found.organization then
            return nil
        end
        return found, holder, organization, key
    end
    local owner = found.organization and request.consumer(found.organization)
    if not owner then
        return nil
    end
    return found, owner, found.organization, found.key
end


return _M
