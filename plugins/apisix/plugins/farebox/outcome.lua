-- What became of a request, from what nginx knows when it is over.

local byte     = string.byte
local floor    = math.floor
local gmatch   = string.gmatch
local tonumber = tonumber

-- What the gateway itself answered, without an upstream: by plugins of APISIX, or because there was none to ask.
local ANSWERED_HERE = {
    [401] = "unauthorized", [403] = "forbidden", [429] = "rate_limited",
    [502] = "upstream_error", [503] = "upstream_error", [504] = "upstream_error",
}

local _M = {}


-- Whether the last upstream tried sent the head of an answer. `header_times` is nginx's
-- `$upstream_header_time`: a number or `-` for each attempt.
function _M.answered(header_times)
    local last = header_times and byte(header_times, -1)
    return last ~= nil and last >= 48 and last <= 57
end


-- The sum of nginx's `$upstream_response_time`, seconds for each attempt, in whole microseconds.
function _M.microseconds(seconds)
    local sum = seconds and tonumber(seconds)
    if sum then
        return floor(sum * 1000000 + 0.5)
    end
    sum = 0
    for number in gmatch(seconds or "", "%d+%.?%d*") do
        sum = sum + tonumber(number)
    end
    return floor(sum * 1000000 + 0.5)
end


-- Whether an answer to this method with this status has a body at all.
function _M.has_body(method, status)
    return method ~= "HEAD" and status ~= 204 and status ~= 304
end


-- `facts`: `refusal` (an outcome that a plugin of ours decided), `status`, `answered`, and of an answered one
-- `ended` (the body's last byte passed) and `complete` (nginx's `$request_completion` is OK). nginx gives up an
-- answer whose client has gone as incomplete; one that its upstream broke off it ends in good order, but without
-- an end of the body.
function _M.of(facts)
    local status = facts.status
    if facts.refusal then
        return facts.refusal
    end
    if status == 499 then
        return "client_closed"
    end
    if not facts.answered then
        return ANSWERED_HERE[status] or "served"
    end
    if status == 101 then
        return "served"
    elseif not facts.complete then
        return "client_closed"
    end
    return facts.ended and "served" or "upstream_error"
end


return _M
