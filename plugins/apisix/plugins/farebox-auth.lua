-- `farebox-auth`: who sends this request, and what the upstream is told about it.
--
-- The check of the key is verified before any look-up, the digest is compared in constant time, and every refusal
-- of a key that is not valid reads the same, so that nothing can be learnt by trying. No index over consumers is
-- used, so a change of one key costs the same among ten and among a hundred thousand. Who sends no key at all may be
-- let in by the route's tiers; who sends a wrong one never is.

local core           = require("apisix.core")
local consumer_group = require("apisix.consumer_group")
local plugin         = require("apisix.plugin")
local addresses      = require("apisix.plugins.farebox.addresses")
local attach         = require("apisix.plugins.farebox.attach")
local compaction     = require("apisix.plugins.farebox.compaction")
local identity       = require("apisix.plugins.farebox.identity")
local lookup         = require("apisix.plugins.farebox.lookup")
local mask           = require("apisix.plugins.farebox.mask")
local modules        = require("apisix.plugins.farebox.modules")
local problems       = require("apisix.plugins.farebox.problems")
local request        = require("apisix.plugins.farebox.request")
local request_key    = require("apisix.plugins.farebox.request_key")
local schemas        = require("apisix.plugins.farebox.schemas").auth
local scopes         = require("apisix.plugins.farebox.scopes")
local taking         = require("apisix.plugins.farebox.taking")
local terms          = require("apisix.plugins.farebox.terms")
local tiers          = require("apisix.plugins.farebox.tiers")

local ngx         = ngx
local get_headers = ngx.req.get_headers
local set_header  = ngx.req.set_header
local pairs       = pairs
local ipairs      = ipairs
local floor       = math.floor
local type        = type

local plugin_name       = "farebox-auth"
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


local secrets = {}
local tidying


local function check_route(conf)
    local ok, err = core.schema.check(schemas.route, conf)
    for _, tier in pairs(ok and conf.tiers or {}) do
        if ok and tier.limits then
            ok, err = terms.check(tier)
        end
    end
    return ok, err
end


-- On a consumer and on its credentials APISIX checks by the same schema type; `state` tells them apart.
function _M.check_schema(conf, schema_type)
    if schema_type ~= core.schema.TYPE_CONSUMER then
        return check_route(conf)
    end
    local ok, err = core.schema.check(conf.state ~= nil and schemas.consumer or schemas.credential, conf)
    if not ok then
        return false, err
    end
    if (conf.organization == nil) ~= (conf.key == nil) then
        return false, 'properties "organization" and "key" go together'
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


-- A secret that cannot be used signs nothing: upstreams that check then refuse, rather than a plugin that does not
-- load letting everybody in.
function _M.init()
    local attr = plugin.plugin_attr(plugin_name)
    local given, err = attr and attr.identity_secrets or "", nil
    if type(given) == "string" then
        given, err = identity.read_secrets(given)
    else
        given, err = nil, "a secret must hold a letter"
    end
    if not given then
        core.log.error("farebox-auth: nothing is signed for upstreams: ", err)
    end
    secrets = given or {}
    tidying = compaction.new(function() return core.config.fetch_created_obj("/consumers") end)
    tidying:start()
end


function _M.destroy()
    if tidying then
        tidying:stop()
    end
    modules.forget()
end


local function default_prefix()
    local attr = plugin.plugin_attr(plugin_name)
    return attr and attr.key_prefix or "fbx"
end


-- The key in a request, if any, every place where one may stand being emptied for the upstream; and whether there
-- was such a place, even an empty one.
local function take_key(conf, ctx, headers)
    local found, tried
    local authorization = headers["authorization"]
    if authorization then
        local token, bearer, kept = request_key.from_authorization(authorization)
        if bearer then
            core.request.set_header(ctx, "Authorization", #kept > 0 and kept or nil)
        end
        found, tried = token, bearer
    end
    local header = headers["x-api-key"]
    if header then
        core.request.set_header(ctx, "X-API-Key", nil)
        found, tried = found or request_key.from_header(header), true
    end
    if conf.query_parameter and ctx.var.args then
        local token, rest, texts = request_key.from_query(ctx.var.args, conf.query_parameter)
        if texts then
            mask.query(ctx, texts)
            local query = rest ~= "" and "?" .. rest or ""
            core.request.set_uri_args(ctx, rest)
            ctx.var.args = rest
            ctx.var.request_uri = ctx.var.uri .. query
            -- nginx would send its own reading of the path once the query was changed.
            ctx.var.upstream_uri = request.upstream_path(ctx) .. query
            tried = true
        end
        found = found or token
    end
    return found, tried
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
                         { reason = "address", address = addresses.shown(ctx.var.remote_addr) })
    end
    if conf.scopes then
        local method = ngx.req.get_method()
        if not scopes.allow(conf.scopes, method, ctx.route_id) then
            return forbidden(ctx, problems.KEY_NOT_ALLOWED, "This API key's scopes do not include this request.",
                             { reason = "scope", needed = method .. " " .. ctx.route_id })
        end
    end
end


-- Lets in who sends no key, if the route has a tier for it.
local function without_key(conf, ctx, record, headers)
    local polite, anonymous = conf.tiers and conf.tiers.polite, conf.tiers and conf.tiers.anonymous
    local agent = polite and headers["user-agent"]
    local contact = agent and tiers.contact(agent)
    if contact then
        record.tier, record.contact = "polite", contact
    elseif anonymous then
        record.tier = "anonymous"
    else
        return unauthorized(ctx, problems.MISSING_KEY,
            "Send your API key as `Authorization: Bearer <key>` or in the X-API-Key header.", CHALLENGE)
    end
end


function _M.rewrite(conf, ctx)
    local record = request.of(ctx)
    local headers = get_headers(0)
    request.strip_identity(ctx, headers)
    if type(headers["authorization"]) == "table" or type(headers["user-agent"]) == "table" then
        return request.refuse(ctx, 400, nil, problems.body(problems.BAD_REQUEST,
            "This is not a valid HTTP request.", ngx.var.request_id))
    end
    local text, tried = take_key(conf, ctx, headers)
    if not text then
        return without_key(tried and {} or conf, ctx, record, headers)
    end
    local found, consumer, organization, key = lookup.find(text, conf.key_prefix or default_prefix())
    if not found then
        if consumer then
            return unavailable(ctx, "The gateway is starting. Try again.")
        end
        return invalid(ctx)
    end
    if found.expires_at and request.started() >= found.expires_at then
        return invalid(ctx)
    end
    record.organization, record.key, record.environment = organization, key, found.environment
    record.tier = "keyed"
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
    attach.consumer(ctx, consumer, group, key)
end


-- Tells the upstream who calls. What the client sent under these names is gone.
local function introduce(ctx, record)
    local now, id = floor(ngx.now() * 1000 + 0.5), request.id(record)
    set_header("X-Farebox-Tier", record.tier)
    set_header("X-Farebox-Time", ("%.0f"):format(now))
    set_header("X-Farebox-Request-Id", id)
    if record.environment then
        set_header("X-Farebox-Environment", record.environment)
    end
    if #secrets > 0 then
        set_header("X-Farebox-Signature", identity.sign({
            time = now, request_id = id, method = ngx.req.get_method(), path = request.upstream_path(ctx),
            organization = record.organization, key = record.key, environment = record.environment,
            group = record.group, tier = record.tier,
        }, secrets))
    end
end


-- Now every plugin has rewritten what the upstream will see. Who has no key is counted here, because a route need
-- not have `farebox-limit`.
function _M.access(conf, ctx)
    local record = request.of(ctx)
    if record.consumer then
        ctx.consumer = record.consumer
    end
    if not record.tier then
        return
    end
    introduce(ctx, record)
    local tier = conf.tiers and conf.tiers[record.tier]
    if tier then
        local address = tiers.address_name(ctx.var.remote_addr)
        local contact = record.contact and tiers.contact_name(record.contact)
        local now = request.started()
        local wants = terms.tier_wants(ctx.route_id, tier.limits, contact, address, now)
        return taking.take(ctx, ctx.route_id .. ":" .. record.tier .. ":" .. address, wants,
                           tier.without_counter, now)
    end
end


function _M.header_filter(_, ctx)
    if ctx.farebox and ctx.farebox.tier ~= "keyed" then
        taking.show(ctx)
    end
end


return _M
