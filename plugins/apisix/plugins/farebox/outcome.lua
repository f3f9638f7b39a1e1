-- What became of a request, from what nginx knows when it is over.

local find     = string.find
local floor    = math.floor
local gmatch   = string.gmatch
local tonumber = tonumber

local GATEWAY_FAILED = { [502] = true, [503] = true, [504] = true }

local _M = {}


-- Whether the last upstream tried sent the head of an answer. `header_times` is nginx's
-- `$upstream_header_time`: a number or `-` for each attempt.
function _M.answered(header_times)
    return header_times ~= nil and find(header_times, "%d$") ~= nil
end


-- The sum of a list of numbers, one for each attempt, as nginx's `$upstream_…` variables give it.
function _M.total(texts)
    local sum = 0
    for number in gmatch(texts or "", "%d+%.?%d*") do
        sum = sum + tonumber(number)
    end
    return sum
end


-- The same of seconds, in whole microseconds.
function _M.microseconds(texts)
    return floor(_M.total(texts) * 1000000 + 0.5)
end


-- `facts`: `refusal` (an outcome that a plugin of ours decided), `status`, `answered`, and of an answered one
-- `complete` (nginx's `$request_completion` is OK), `received` and `sent`: bytes of the body from the upstream
-- and to the client.
--
-- nginx does not say which side broke off an answer. If the client was sent all that the upstream gave, it was
-- the upstream. (A client that left while the upstream was silent counts as such too: it is not billed.)
function _M.of(facts)
    local status = facts.status
    if facts.refusal then
        return facts.refusal
    end
    if status == 499 then
        return "client_closed"
    end
    if not facts.answered then
        return GATEWAY_FAILED[status] and "upstream_error" or "served"
    end
    if facts.complete or status == 101 then
        return "served"
    end
    return facts.sent >= facts.received and "upstream_error" or "client_closed"
end


return _M
