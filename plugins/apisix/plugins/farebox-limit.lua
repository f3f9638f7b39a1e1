-- `farebox-limit`: a plan's short windows and its quota, one decision for all of them.
--
-- All are checked, then all are taken: a refused request burns nothing. The quota counts what is billable: a
-- request that is not (the upstream failed, say) gives its units back when it is logged, by the rule by which
-- invoices are made. The plan's configuration is read from the consumer group directly, the organization's from
-- the consumer; what APISIX merges into the route is not looked at.

local core           = require("apisix.core")
local consumer_group = require("apisix.consumer_group")
local plugin         = require("apisix.plugin")
local billable       = require("apisix.plugins.farebox.billable")
local counters       = require("apisix.plugins.farebox.counters")
local modules        = require("apisix.plugins.farebox.modules")
local request        = require("apisix.plugins.farebox.request")
local schemas        = require("apisix.plugins.farebox.schemas").limit
local taking         = require("apisix.plugins.farebox.taking")
local terms          = require("apisix.plugins.farebox.terms")
local kept_wants     = require("apisix.plugins.farebox.kept_wants")

local ngx    = ngx
local ipairs = ipairs
local match  = string.match

local plugin_name = "farebox-limit"

local _M = {
    version  = 1,
    priority = 1002,
    name     = plugin_name,
    schema   = schemas.route,
    consumer_schema = schemas.consumer,
}

local store


-- On a route and on a consumer group APISIX checks by the same schema type. The Admin API's path tells which it is;
-- elsewhere (what comes from etcd) a conf without limits is a route's.
local function schema_for(conf, schema_type)
    if schema_type == core.schema.TYPE_CONSUMER then
        return schemas.consumer
    end
    local place = ngx.get_phase() == "content" and match(ngx.var.uri, "/admin/.-(%l+_?%l+s)%f[/%z]")
    if place == "routes" or place == "consumer_groups" then
        return place == "routes" and schemas.route or schemas.consumer_group
    end
    return conf.limits and schemas.consumer_group or schemas.route
end


function _M.check_schema(conf, schema_type)
    local ok, err = core.schema.check(schema_for(conf, schema_type), conf)
    if not ok then
        return false, err
    end
    ok, err = terms.check(conf)
    if not ok then
        return false, err
    end
    for _, period in ipairs(conf.periods or {}) do
        if period.start >= period["end"] then
            return false, 'property "periods" validation failed: a period must end after it starts'
        end
    end
    return true
end


function _M.init()
    store = counters.open(plugin.plugin_attr(plugin_name) or {})
    if ngx.worker.id() then
        store:start()
    end
end


function _M.destroy()
    if store then
        store:stop(ngx.get_phase() == "exit_worker")
    end
    modules.forget()
end


local function conf_of(item)
    return item and item.value.plugins and item.value.plugins[plugin_name]
end


function _M.access(_, ctx)
    local organization = ctx.consumer_name
    if not organization then
        return
    end
    local record = request.of(ctx)
    local own = conf_of(request.consumer(organization))
    local plan = ctx.consumer_group_id and conf_of(consumer_group.get(ctx.consumer_group_id))
    if own then
        record.subscription = own.subscription
    end
    local now = request.started()
    local wants = kept_wants.wants(organization, own, plan, record.environment, record.units, now)
    return taking.take(ctx, organization, wants, plan and plan.without_counter, now)
end


function _M.header_filter(_, ctx)
    taking.show(ctx)
end


-- Brings the quota to what is billable after all. Shared memory only: there are no sockets in this phase.
function _M.log(_, ctx)
    local record = ctx.farebox
    local want = record and record.quota
    if not want then
        return
    end
    local facts = request.facts(ctx)
    local is_billable = billable[record.rule or "served_v1"]
    local due = is_billable(record.environment, facts.outcome, facts.status) and record.units or 0
    if due ~= want.units then
        store:settle(want, due - want.units)
    end
end


return _M
