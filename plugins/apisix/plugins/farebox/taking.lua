-- How a limit is taken, refused and shown in a request, the same for an account's plan and for callers without a key.
-- Who made the list of wants (`terms`) is not its business.

local counters = require("apisix.plugins.farebox.counters")
local problems = require("apisix.plugins.farebox.problems")
local request  = require("apisix.plugins.farebox.request")
local terms    = require("apisix.plugins.farebox.terms")

local ngx  = ngx
local ceil = math.ceil

local _M = {}


local function unavailable(ctx)
    ngx.header["Retry-After"] = "1"
    return request.refuse(ctx, 503, nil, problems.body(problems.LIMITS_UNAVAILABLE,
        "The limits of this plan cannot be checked now. Try again.", ngx.var.request_id))
end


local function refuse(ctx, record, wants, want, used, now)
    local retry
    record.limit_headers, retry = terms.show_refused(wants, want, used, now)
    local details = {
        limit = want.name, allowed = want.limit, retry_after = retry, reset = ceil(want.ends / 1000),
    }
    if want.is_quota then
        return request.refuse(ctx, 429, "quota_exceeded", problems.body(problems.QUOTA_EXCEEDED,
            ("The quota of %.0f units of this billing period is used up."):format(want.limit),
            ngx.var.request_id, details))
    end
    return request.refuse(ctx, 429, "rate_limited", problems.body(problems.RATE_LIMITED,
        ("The limit of %.0f requests (%s) is reached. Try again in %.0f s."):format(want.limit, want.name, retry),
        ngx.var.request_id, details))
end


-- Takes all of `wants` or refuses: `return taking.take(…)` from a phase of a plugin. `fallback` (`open`, `closed`) is
-- what holds while the counters cannot be asked. Without any store (`farebox-limit` is not loaded) nothing passes.
function _M.take(ctx, owner, wants, fallback, now)
    if #wants == 0 then
        return
    end
    local store = counters.current()
    if not store then
        return unavailable(ctx)
    end
    local record = request.of(ctx)
    local refused, used = store:take(owner, wants)
    if refused then
        return refuse(ctx, record, wants, wants[refused], used, now)
    end
    if not used then
        if fallback == "closed" then
            return unavailable(ctx)
        end
        return
    end
    record.limit_headers = terms.show_taken(wants, used, now)
    local last = wants[#wants]
    if last.is_quota then
        record.quota = last
    end
end


-- Puts what was found out into the answer's headers.
function _M.show(ctx)
    local shown = ctx.farebox and ctx.farebox.limit_headers
    if not shown then
        return
    end
    local header = ngx.header
    header["X-RateLimit-Limit"] = shown.limit
    header["X-RateLimit-Remaining"] = shown.remaining
    header["X-RateLimit-Reset"] = shown.reset
    header["RateLimit"] = shown.rate_limit
    header["RateLimit-Policy"] = shown.policy
    if shown.retry_after then
        header["Retry-After"] = shown.retry_after
    end
end


return _M
