-- What our plugins know of one request, shared between them in the request's context, and what they tell nobody
-- else: whose it is, what was refused, what it weighs.

local core    = require("apisix.core")
local outcome = require("apisix.plugins.farebox.outcome")

local ngx      = ngx
local match    = string.match
local pairs    = pairs

local _M = {}


-- The record of a request: `organization`, `key`, `environment`, `group`, `subscription`, `tier` and `contact` (of
-- who was let in), `refusal` (the outcome of a refusal), `units`, `rule`. All but `units` may be missing.
function _M.of(ctx)
    local record = ctx.farebox
    if not record then
        record = { units = 1 }
        ctx.farebox = record
    end
    return record
end


-- nginx's id of the request.
function _M.id(record)
    local id = record.id
    if not id then
        id = ngx.var.request_id
        record.id = id
    end
    return id
end


-- The start of the request in milliseconds since the Unix epoch.
function _M.started()
    return math.floor(ngx.req.start_time() * 1000 + 0.5)
end


-- The table of all consumers and credentials, found by name in constant time. `consumer.find_consumer` would
-- build an index over all of them after every change.
function _M.consumer(name)
    local consumers = core.config.fetch_created_obj("/consumers")
    local item = consumers and consumers:get(name)
    return item and item.value and item or nil
end


-- The path that the upstream will see, as it will stand on the wire; known once every plugin has rewritten it.
function _M.upstream_path(ctx)
    local target = ctx.var.upstream_uri
    if not target or target == "" then
        target = ctx.var.real_request_uri or ctx.var.request_uri
    end
    return match(target, "^[^?]*")
end


-- Whether the upstream sent the head of an answer.
function _M.upstream_answered()
    return outcome.answered(ngx.var.upstream_header_time)
end


-- What became of the request, found out once; for the log phase. `outcome` and `status`, and with them what the
-- upstream did: `answered`, `up_us`.
function _M.facts(ctx)
    local record = _M.of(ctx)
    local facts = record.facts
    if facts then
        return facts
    end
    local var = ngx.var
    facts = { status = ngx.status, refusal = record.refusal }
    if ctx._apisix_proxied and _M.upstream_answered() then
        facts.answered = true
        facts.up_us = outcome.microseconds(var.upstream_response_time)
        facts.complete = var.request_completion == "OK"
        facts.ended = record.ended or not outcome.has_body(ngx.req.get_method(), facts.status)
    end
    facts.outcome = outcome.of(facts)
    record.facts = facts
    return facts
end


-- Whether this worker knows the consumers yet: not in the moment after it was started.
function _M.knows_consumers()
    local consumers = core.config.fetch_created_obj("/consumers")
    return consumers ~= nil and consumers.values_hash ~= nil
end


-- Refuses a request from a phase of a plugin: `return request.refuse(…)`. `refusal` is the outcome, if it is one of
-- its own.
function _M.refuse(ctx, status, refusal, body)
    local record = _M.of(ctx)
    record.refusal = refusal
    record.answered_here = true
    local header = ngx.header
    header["Content-Type"] = "application/json"
    header["Content-Length"] = #body
    return status, body
end


-- Takes away what a client may have sent to be taken for somebody else: upstreams trust these headers. Names with
-- underscores are the same to many upstreams.
function _M.strip_identity(ctx, headers)
    for name in pairs(headers) do
        if name:byte(1) == 120 and (name:byte(2) == 45 or name:byte(2) == 95) then
            local plain = name:gsub("_", "-")
            if plain == "x-consumer-username" or plain == "x-credential-identifier"
                or plain == "x-consumer-group-id" or plain == "x-consumer-custom-id"
                or plain:sub(1, 10) == "x-farebox-"
            then
                core.request.set_header(ctx, name, nil)
            end
        end
    end
end


return _M
