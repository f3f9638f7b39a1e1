-- Which store the counters stand in, from the attributes of `farebox-limit` in config.yaml.

local core           = require("apisix.core")
local counters_local = require("apisix.plugins.farebox.counters_local")
local counters_redis = require("apisix.plugins.farebox.counters_redis")
local redis_link     = require("apisix.plugins.farebox.redis_link")
local redis_url      = require("apisix.plugins.farebox.redis_url")

local ngx = ngx

local DICT = "farebox-counters"

local _M = {}

local opened


-- A store that is never there: what then holds is each plan's choice.
local function unavailable(reason)
    core.log.error("farebox-limit: no counters: ", reason)
    local store = {}
    function store.take() return nil, nil, reason end
    function store.settle() end
    function store.start() end
    function store.stop() end
    function store.status() return { kind = "none", available = false } end
    return store
end


local function new(attr)
    local dict = ngx.shared[DICT]
    if not dict then
        return unavailable("config.yaml has no lua_shared_dict " .. DICT)
    end
    local url = attr.redis_url
    if not url or url == "" then
        return counters_local.new(dict)
    end
    local server, err = redis_url.parse(url)
    if not server then
        return unavailable(err)
    end
    local timeout = attr.redis_timeout or 0.1
    return counters_redis.new(dict, redis_link.new(server, timeout), {
        require_generation = attr.require_generation ~= false,
        lease_seconds = attr.lease_seconds or 2,
        longest_wait = 3 * timeout,
    })
end


-- `attr`: `redis_url` (absent or empty: local counters), `redis_timeout` (seconds, 0.1), `lease_seconds` (2),
-- `require_generation` (true).
function _M.open(attr)
    opened = new(attr)
    return opened
end


-- The store that `farebox-limit` has opened in this worker; nil if that plugin is not loaded.
function _M.current()
    return opened
end


return _M
