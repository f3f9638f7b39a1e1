-- The configuration schemas of the three plugins, one for each place where a configuration may stand. They equal
-- `farebox_contract/plugins.py`; a test compares them. (APISIX itself adds `_meta` to the schema on a route.)

local POSITIVE     = { type = "integer", minimum = 1, maximum = 10 ^ 12 }
local MILLISECONDS = { type = "integer", minimum = 0, maximum = 253402300799999 }
local NAME         = { type = "string", pattern = "^[a-zA-Z0-9_.-]{1,64}$" }
local PUBLIC_ID    = { type = "string", pattern = "^[a-z0-9]{10}$" }
local WITHOUT      = { enum = { "open", "closed" } }


local function object(properties, required)
    properties._meta = { type = "object" }
    return { type = "object", properties = properties, required = required, additionalProperties = false }
end


local function limits()
    return {
        type = "array",
        maxItems = 8,
        items = object({ name = NAME, requests = POSITIVE, window = POSITIVE }, { "name", "requests", "window" }),
    }
end


local function quota()
    return object({ units = POSITIVE, kind = { enum = { "hard", "soft" } } }, { "units", "kind" })
end


local function texts(longest)
    return { type = "array", maxItems = 64, items = { type = "string", maxLength = longest } }
end


local function tier()
    return object({ limits = limits(), without_counter = WITHOUT }, { "limits" })
end


local function on_route(properties)
    local schema = object(properties)
    properties._meta = nil
    return schema
end


return {
    auth = {
        route = on_route({
            query_parameter = { type = "string", minLength = 1, maxLength = 64 },
            key_prefix = { type = "string", pattern = "^[a-z][a-z0-9]{0,15}$" },
            tiers = object({ anonymous = tier(), polite = tier() }),
        }),
        consumer = object({ state = { enum = { "active", "suspended" } } }, { "state" }),
        credential = object({
            digest = { type = "string", pattern = "^[0-9a-f]{64}$" },
            environment = { enum = { "live", "test" } },
            expires_at = MILLISECONDS,
            cidrs = texts(64),
            scopes = texts(128),
            organization = PUBLIC_ID,
            key = PUBLIC_ID,
        }, { "digest", "environment" }),
    },
    limit = {
        route = on_route({}),
        consumer_group = object({
            limits = limits(),
            quota = quota(),
            without_counter = WITHOUT,
        }, { "limits" }),
        consumer = object({
            subscription = NAME,
            periods = {
                type = "array",
                minItems = 1,
                maxItems = 4,
                items = object({ start = MILLISECONDS, ["end"] = MILLISECONDS }, { "start", "end" }),
            },
            limits = limits(),
            quota = quota(),
        }, { "subscription", "periods" }),
    },
    meter = {
        route = on_route({
            units = { type = "integer", minimum = 0, maximum = 10 ^ 6 },
            upstream_units = { type = "boolean" },
            rule = { enum = { "served_v1" } },
        }),
    },
}
