-- Tells APISIX, and by headers the upstream, whose request this is.

local pairs      = pairs
local set_header = ngx.req.set_header

local AUTH  = "farebox-auth"
local LIMIT = "farebox-limit"

local _M = {}


local function brings_more(plugins)
    for name in pairs(plugins or {}) do
        if name ~= AUTH and name ~= LIMIT then
            return true
        end
    end
    return false
end


-- Makes the consumer known to APISIX. APISIX merges the plugins of consumer and group into a copy of the route,
-- which costs a deep copy for each request past 512 consumers. Ours read them by themselves, so unless there are
-- others to merge, or the route lacks `farebox-limit`, APISIX learns of the consumer only after it would merge
-- (in `access`).
function _M.consumer(ctx, consumer, group, key)
    local value = consumer.value
    local known = {
        id = value.id, username = value.username, consumer_name = value.id, credential_id = key,
        group_id = value.group_id, labels = value.labels, desc = value.desc, plugins = value.plugins,
        custom_id = value.labels and value.labels.custom_id, modifiedIndex = consumer.modifiedIndex,
    }
    ctx.consumer_name = value.id
    ctx.consumer_group_id = value.group_id
    ctx.consumer_ver = consumer.modifiedIndex
    local on_route = ctx.matched_route.value.plugins
    if not on_route[LIMIT] or brings_more(value.plugins) or group and brings_more(group.value.plugins) then
        ctx.consumer = known
    else
        ctx.farebox.consumer = known
    end
    -- Not by `core.request`: what the client sent of these is gone, so there is nothing in its caches to correct.
    set_header("X-Consumer-Username", value.username)
    set_header("X-Credential-Identifier", key)
    if value.group_id then
        set_header("X-Consumer-Group-Id", value.group_id)
    end
    if known.custom_id then
        set_header("X-Consumer-Custom-Id", known.custom_id)
    end
end


return _M
