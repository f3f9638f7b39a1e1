-- What a request wants of which counters, and how a limit is shown to the caller: arithmetic over the plan's and
-- the organization's configuration, without any store.
--
-- The counters' names are `farebox_contract/counters.py`'s: they hold neither a limit's value nor a plan's
-- version, so an edited plan goes on counting.

local ceil   = math.ceil
local format = string.format
local ipairs = ipairs
local max    = math.max

local QUOTA_KEPT_MS  = 7 * 24 * 3600 * 1000
local WINDOW_KEPT_MS = 5000

local policies = setmetatable({}, { __mode = "k" })

local _M = { QUOTA = "quota" }


-- Whether the limits in a configuration make sense together; else false and the reason.
function _M.check(conf)
    local names = {}
    for _, limit in ipairs(conf.limits or {}) do
        if names[limit.name] then
            return false, 'property "limits" validation failed: two limits have the same name'
        end
        names[limit.name] = true
    end
    return true
end


-- The period of an instant: the last that has begun, and the first if none has. Past the end of the last known
-- period that one goes on: a control plane that is late must not refuse.
function _M.period(periods, now)
    local current
    for i = 1, #periods do
        local one = periods[i]
        if not current
            or current.start > now and one.start < current.start
            or one.start <= now and one.start > current.start
        then
            current = one
        end
    end
    return current
end


-- Start and end (excluded) of the window that holds `now`, aligned to the Unix epoch; all in milliseconds.
function _M.window(now, seconds)
    local length = seconds * 1000
    local start = now - now % length
    return start, start + length
end


-- The list of what a request takes: one of each window, `units` of the quota. `own` and `plan` are the confs of
-- `farebox-limit` on the consumer and on its group; either may be nil. `kept` is until when (Unix milliseconds)
-- a counter must live. A `limit` of nil counts without refusing (a soft quota).
function _M.wants(organization, own, plan, environment, units, now)
    local wants = {}
    local windows = own and own.limits or plan and plan.limits
    for i = 1, windows and #windows or 0 do
        local one = windows[i]
        local start, ends = _M.window(now, one.window)
        wants[i] = {
            name = one.name, key = format("farebox:window:%s:%s:%.0f", organization, one.name, start),
            start = start, ends = ends, kept = max(ends, now) + WINDOW_KEPT_MS, limit = one.requests, units = 1,
            window = one,
        }
    end
    local quota = own and own.quota or plan and plan.quota
    if quota and own and environment ~= "test" then
        local period = _M.period(own.periods, now)
        wants[#wants + 1] = {
            name = _M.QUOTA, key = format("farebox:quota:%s:%.0f", own.subscription, period.start),
            start = period.start, ends = period["end"], kept = max(period["end"], now) + QUOTA_KEPT_MS,
            limit = quota.kind == "hard" and quota.units or nil, units = units, is_quota = true,
        }
    end
    return wants
end


local function tier_want(route, who, shown, one, now)
    local start, ends = _M.window(now, one.window)
    return {
        name = shown, key = format("farebox:tier:%s:%s:%.0f:%s", route, one.name, start, who),
        start = start, ends = ends, kept = max(ends, now) + WINDOW_KEPT_MS, limit = one.requests, units = 1,
    }
end


-- What a request without a key takes, of the `limits` of its tier on its route. An anonymous caller is counted by
-- address; a polite one by contact, and all contacts of one address together by the same numbers. `contact` and
-- `address` are named as in counters; `contact` is nil of an anonymous caller.
function _M.tier_wants(route, limits, contact, address, now)
    local wants = {}
    for i = 1, #limits do
        local one = limits[i]
        if contact then
            wants[#wants + 1] = tier_want(route, "contact:" .. contact, one.name, one, now)
            wants[#wants + 1] = tier_want(route, "polite:" .. address, one.name .. "-address", one, now)
        else
            wants[#wants + 1] = tier_want(route, "anonymous:" .. address, one.name, one, now)
        end
    end
    return wants
end


local function policy_of(want)
    return format('"%s";q=%.0f;w=%.0f', want.name, want.limit, (want.ends - want.start) / 1000)
end


-- The text for a window is always the same, and there are few of them: one for each limit of each plan.
local function policy(wants)
    local texts = ""
    for i = 1, #wants do
        local want = wants[i]
        local text = want.window and policies[want.window]
        if not text and want.limit then
            text = policy_of(want)
            if want.window then
                policies[want.window] = text
            end
        end
        if text then
            texts = texts == "" and text or texts .. ", " .. text
        end
    end
    return texts
end


local function shown(wants, want, left, seconds)
    return {
        limit = format("%.0f", want.limit),
        remaining = format("%.0f", left),
        reset = format("%.0f", ceil(want.ends / 1000)),
        rate_limit = format('"%s";r=%.0f;t=%.0f', want.name, left, seconds),
        policy = policy(wants),
    }
end


-- What the headers say when all was taken: the limit that is nearest to its end. `used[i]` is what stands on the
-- counter of `wants[i]`. Nil when nothing here refuses.
function _M.show_taken(wants, used, now)
    local nearest, left
    for i = 1, #wants do
        local want = wants[i]
        if want.limit and (not nearest or want.limit - used[i] < left) then
            nearest, left = want, want.limit - used[i]
        end
    end
    if not nearest then
        return nil
    end
    return shown(wants, nearest, max(0, left), max(0, ceil((nearest.ends - now) / 1000)))
end


-- What the headers say when `want` refused; also the seconds after which to try again.
function _M.show_refused(wants, want, used, now)
    local retry = max(1, ceil((want.ends - now) / 1000))
    local headers = shown(wants, want, max(0, want.limit - used), retry)
    headers.retry_after = format("%.0f", retry)
    return headers, retry
end


return _M
