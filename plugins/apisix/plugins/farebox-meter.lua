-- `farebox-meter`: what a request weighs, and the usage line of every answered request.
--
-- As a global rule it runs for all requests; on a route it says the route's weight and runs there instead. The line
-- goes into `$fbx_line` in the log phase, and nginx appends it to the usage log right after (`config.yaml`), in the
-- order in which numbers were given out. Refusals that nginx and APISIX make themselves get the API's error shape.

local core       = require("apisix.core")
local plugin     = require("apisix.plugin")
local addresses  = require("apisix.plugins.farebox.addresses")
local apisix_view = require("apisix.plugins.farebox.apisix_view")
local modules    = require("apisix.plugins.farebox.modules")
local node_status = require("apisix.plugins.farebox.node_status")
local problems   = require("apisix.plugins.farebox.problems")
local request    = require("apisix.plugins.farebox.request")
local schemas    = require("apisix.plugins.farebox.schemas").meter
local usage_line = require("apisix.plugins.farebox.usage_line")

local ngx         = ngx
local floor       = math.floor
local get_headers = ngx.req.get_headers
local ipairs      = ipairs
local tonumber    = tonumber
local tostring    = tostring
local type        = type

local plugin_name  = "farebox-meter"
local AUTH         = "farebox-auth"
local UNITS_HEADER = "X-Farebox-Units"
local MAX_UNITS    = 10 ^ 12

local _M = {
    version    = 1,
    priority   = 2550,
    name       = plugin_name,
    schema     = schemas.route,
    run_policy = "prefer_route",
}

local node, boot, worker, status
local sequence = 0


function _M.check_schema(conf)
    return core.schema.check(schemas.route, conf)
end


function _M.init()
    local attr = plugin.plugin_attr(plugin_name)
    local name = attr and attr.node
    name = name ~= nil and name ~= "" and tostring(name) or core.utils.gethostname()
    node = name:gsub("[^%w_.-]", "-"):sub(1, 128)
    boot = usage_line.boot()
    worker = ngx.worker.id() or 0
    status = node_status.new(apisix_view.source(function() return node, boot, worker, sequence end))
    status:start()
end


-- What this node enforces, for the control plane: on the control API's port, with the Admin API's key.
function _M.control_api()
    return {
        {
            methods = { "GET", "POST" },
            uris = { "/v1/plugin/" .. plugin_name .. "/node" },
            handler = function() return status:handle() end,
        },
    }
end


function _M.destroy()
    if status then
        status:stop()
    end
    modules.forget()
end


-- Whether `farebox-auth` is certain to run on this route after the global rule, and to strip identities itself.
local function auth_follows(ctx)
    local route = ctx.matched_route
    local conf = route and route.value.plugins and route.value.plugins[AUTH]
    return conf and not conf._meta and plugin.get(AUTH) ~= nil
end


function _M.rewrite(conf, ctx)
    local record = request.of(ctx)
    -- As it was asked: a plugin may give the upstream another method.
    record.method = ngx.req.get_method()
    record.units = conf.units or 1
    record.rule = conf.rule
    if not record.tier and not ctx.consumer_name and not auth_follows(ctx) then
        request.strip_identity(ctx, get_headers(0))
    end
end


local function upstream_units(record)
    local value = ngx.header[UNITS_HEADER]
    if not value then
        return
    end
    ngx.header[UNITS_HEADER] = nil
    for _, text in ipairs(type(value) == "table" and value or { value }) do
        if #text <= 13 and text:find("^%d+$") and tonumber(text) <= MAX_UNITS then
            record.units = tonumber(text)
        end
    end
end


local function failure(ctx)
    local status = ngx.status
    if status == 404 and not ctx.matched_route then
        return problems.NO_ROUTE, "No route of this API matches this path and method."
    end
    if ctx._apisix_proxied and (status == 502 or status == 504) and not request.upstream_answered() then
        if status == 504 then
            return problems.UPSTREAM_TIMEOUT, "The service behind this API did not answer in time."
        end
        return problems.UPSTREAM_FAILED, "The service behind this API could not be reached or broke off."
    end
end


function _M.header_filter(conf, ctx)
    local record = request.of(ctx)
    if conf.upstream_units then
        upstream_units(record)
    end
    if ngx.status >= 404 and not record.answered_here then
        local code, message = failure(ctx)
        if code then
            local body = problems.body(code, message, ngx.var.request_id)
            record.body = body
            ngx.header["Content-Type"] = "application/json"
            ngx.header["Content-Length"] = #body
        end
    end
end


function _M.body_filter(_, ctx)
    local record = request.of(ctx)
    if record.body then
        ngx.arg[1] = record.ended and "" or record.body
        ngx.arg[2] = true
    end
    record.ended = ngx.arg[2] or record.ended
end


function _M.log(_, ctx)
    local record, var = request.of(ctx), ngx.var
    local facts = request.facts(ctx)
    local started = ngx.req.start_time()
    local line = usage_line.encode({
        ts = floor(started * 1000 + 0.5), node = node, boot = boot, worker = worker, seq = sequence + 1,
        rid = request.id(record),
        env = record.environment, org = record.organization, key = record.key,
        sub = record.subscription, group = record.group, route = ctx.route_id,
        method = record.method or ngx.req.get_method(), target = ctx.var.real_request_uri or var.request_uri,
        status = facts.status, outcome = facts.outcome, units = record.units,
        ["in"] = tonumber(var.request_length), out = tonumber(var.bytes_sent),
        us = floor((ngx.now() - started) * 1000000 + 0.5), up_us = facts.up_us,
        ip = addresses.shown(var.remote_addr), ua = var.http_user_agent or "",
    })
    -- A number is used up only by a line: if making it failed, nginx writes one without a stream.
    sequence = sequence + 1
    var.fbx_line = line
end


return _M
