-- What `node_status` needs to know of the APISIX around it.

local core   = require("apisix.core")
local plugin = require("apisix.plugin")

local ipairs = ipairs

local _M = {}


local function created(name)
    return function() return core.config.fetch_created_obj(name) end
end


-- Every plugin that this worker has loaded, not what is configured: one that failed to load is missing here.
local function plugins()
    local found = {}
    for _, name in ipairs(core.config.local_conf().plugins or {}) do
        local loaded = plugin.get(name)
        if loaded then
            found[name] = loaded.version
        end
    end
    return found
end


-- `status_key` of `farebox-meter` in config.yaml, for a node without an Admin API; else the Admin API's keys.
local function keys()
    local attr = plugin.plugin_attr("farebox-meter")
    if attr and attr.status_key and attr.status_key ~= "" then
        return { attr.status_key }
    end
    local admin = core.config.local_conf().deployment.admin or {}
    local found = {}
    for _, each in ipairs(admin.admin_key or {}) do
        found[#found + 1] = each.key
    end
    return found
end


function _M.source(stream)
    return {
        consumers = created("/consumers"), groups = created("/consumer_groups"), routes = created("/routes"),
        plugins = plugins, keys = keys, stream = stream,
    }
end


return _M
