-- `farebox-auth`: who sends this request, from the key's own text and one direct look-up.
--
-- The check of the key is verified before any look-up, the digest is compared in constant time, and every refusal
-- of a key that is not valid reads the same, so that nothing can be learnt by trying. No index over consumers is
-- used, so a change of one key costs the same among ten and among a hundred thousand.

local core           = require("apisix.core")
local consumer_group = require("apisix.consumer_group")
local plugin         = require("apisix.plugin")
local addresses      = require("apisix.plugins.farebox.addresses")
local digest         = require("apisix.plugins.farebox.digest")
local keys           = require("apisix.plugins.farebox.keys")
local mask           = require("apisix.plugins.farebox.mask")
local modules        = require("apisix.plugins.farebox.modules")
local problems       = require("apisix.plugins.farebox.problems")
local request        = require("apisix.plugins.farebox.request")
local request_key    = require("apisix.plugins.farebox.request_key")
local schemas        = require("apisix.plugins.farebox.schemas").auth
local scopes         = require("apisix.plugins.farebox.scopes")

local ngx         = ngx
local get_headers = ngx.req.get_headers
local set_header  = ngx.req.set_header
local pairs       = pairs
local ipairs      = ipairs

local plugin_name       = "farebox-auth"
local limit_name        = "farebox-limit"
local CHALLENGE         = 'Bearer realm="api"'
local INVALID_CHALLENGE = 'Bearer realm="api", error="invalid_token"'

local _M = {
    version  = 1,
    priority = 2600,
    type     = "auth",
    name     = plugin_name,
    schema   = schemas.route,
    consumer_schema = { anyOf = { schemas.credential, schemas.consumer } },
}


-- On a consumer and on its credentials APISIX checks by the same schema type; `state` tells them apart.
function _M.check_schema(conf, schema_type)
    if schema_type ~= core.schema.TYPE_CONSUMER then
        return core.schema.check(schemas.route, conf)
    end
    local ok, err = core.schema.check(conf.state ~= nil and schemas.consumer or schemas.credential, conf)
    if not ok then
        return false, err
    end
    for _, cidr in ipairs(conf.cidrs or {}) do
        ok, err = addresses.network(cidr)
        if not ok then
            return false, 'property "cidrs" validation failed: ' .. err
        end
    end
    for _, scope in ipairs(conf.scopes or {}) do
        if not scopes.valid(scope) then
            return false, 'property "scopes" validation failed: "' .. scope .. '" is not "METHOD route"'
        end
    end
    return true
end


function _M.destroy()
    modules.forget()
end


local function default_prefix()
    local attr = plugin.plugin_attr(plugin_name)
    return attr and attr.key_prefix or "fbx"
end


local function take_key(conf, ctx, headers)
    local found
    local authorization = headers["authorization"]
    if authorization then
        local token, bearer, kept = request_key.from_authorization(authorization)
        if bearer then
            core.request.set_header(ctx, "Authorization", #kept > 0 and kept or nil)
        end
        found = token
    end
    local header = headers["x-api-key"]
    if header then
        core.request.set_header(ctx, "X-API-Key", nil)
        found = found or request_key.from_header(header)
    end
    if conf.query_parameter and ctx.var.args then
        local token, rest, texts = request_key.from_query(ctx.var.args, conf.query_parameter)
        if texts then
            mask.query(ctx, texts)
            core.request.set_uri_args(ctx, rest)
            ctx.var.args = rest
            ctx.var.request_uri = ctx.var.uri .. (rest ~= "" and "?" .. rest or "")
        end
        found = found or token
    end
    return found
end


local function unauthorized(ctx, code, message, challenge)
    ngx.header["WWW-Authenticate"] = challenge
    return request.refuse(ctx, 401, "unauthorized", problems.body(code, message, ngx.var.request_id))
end


local function invalid(ctx)
    return unauthorized(ctx, problems.INVALID_KEY,
                        "This API key is not valid: it is mistyped, revoked or expired.", INVALID_CHALLENGE)
end


-- Not the caller's fault: what is needed to judge the request has not arrived here yet.
local function unavailable(ctx, message)
    ngx.header["Retry-After"] = "1"
    return request.refuse(ctx, 503, nil, problems.body(problems.LIMITS_UNAVAILABLE, message, ngx.var.request_id))
end


local function forbidden(ctx, code, message, details)
    return request.refuse(ctx, 403, "forbidden", problems.body(code, message, ngx.var.request_id, details))
end


-- What an authentic key may do here.
local function authorize(ctx, consumer, conf)
    local own = consumer.value.plugins and consumer.value.plugins[plugin_name]
    if own and own.state == "suspended" then
        return forbidden(ctx, problems.ACCOUNT_SUSPENDED,
                         "This account is suspended. Its owner finds the reason in the portal.")
    end
    if conf.cidrs and not addresses.within(ctx.var.remote_addr, conf.cidrs) then
        return forbidden(ctx, problems.KEY_NOT_ALLOWED, "This API key may not be used from this address.",
                         { reason = "address", address = ctx.var.remote_addr })
    end
    if conf.scopes then
        local method = ngx.req.get_method()
        if not scopes.allow(conf.scopes, method, ctx.route_id) then
            return forbidden(ctx, problems.KEY_NOT_ALLOWED, "This API key's scopes do not include this request.",
                             { reason = "scope", needed = method .. " " .. ctx.route_id })
        end
    end
end


local function brings_more(plugins)
    for name in pairs(plugins or {}) do
        if name ~= plugin_name and name ~= limit_name then
            return true
        end
    end
    return false
end


-- Makes the consumer known to APISIX. APISIX merges the plugins of consumer and group into a copy of the route,
-- which costs a deep copy for each request past 512 consumers. Ours read them by themselves, so unless there are
-- others to merge, or the route lacks `farebox-limit`, APISIX learns of the consumer only after it would merge
-- (in `access`).
local function attach(ctx, consumer, group, key)
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
    if not on_route[limit_name] or brings_more(value.plugins) or group and brings_more(group.value.plugins) then
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


function _M.rewrite(conf, ctx)
    local record = request.of(ctx)
    local headers = get_headers(0)
    request.strip_identity(ctx, headers)
    local text = take_key(conf, ctx, headers)
    if not text then
        return unauthorized(ctx, problems.MISSING_KEY,
            "Send your API key as `Authorization: Bearer <key>` or in the X-API-Key header.", CHALLENGE)
    end
    local organization, key, environment = keys.parse(text, conf.key_prefix or default_prefix())
    if not organization then
        return invalid(ctx)
    end
    local consumer = request.consumer(organization)
    local credential = consumer and request.consumer(organization .. "/credentials/" .. key)
    if not consumer and not request.knows_consumers() then
        return unavailable(ctx, "The gateway is starting. Try again.")
    end
    local found = credential and credential.value.plugins and credential.value.plugins[plugin_name]
    local matches = digest.equal(digest.sha256(text), found and found.digest or digest.NOBODY)
    if not matches or found.environment ~= environment
        or found.expires_at and request.started() >= found.expires_at
    then
        return invalid(ctx)
    end
    record.organization, record.key, record.environment = organization, key, environment
    local status, body = authorize(ctx, consumer, found)
    if status then
        return status, body
    end
    local group_id, group = consumer.value.group_id, nil
    if group_id then
        group = consumer_group.get(group_id)
        if not group then
            return unavailable(ctx, "The plan of this account is not known here yet. Try again.")
        end
        record.group = group_id
    end
    attach(ctx, consumer, group, key)
end


function _M.access(_, ctx)
    if ctx.farebox.consumer then
        ctx.consumer = ctx.farebox.consumer
    end
end


return _M
