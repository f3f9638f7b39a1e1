-- Which requests take from the quota: the rule `served_v1` of `farebox_contract/billable.py`, by which invoices
-- are made too. A request that is not billed gives its units back.

local UNBILLED = {
    unauthorized   = true,
    forbidden      = true,
    rate_limited   = true,
    quota_exceeded = true,
    upstream_error = true,
}

local _M = {}


function _M.served_v1(environment, outcome, status)
    if environment ~= "live" or UNBILLED[outcome] then
        return false
    end
    if outcome == "client_closed" then
        return status ~= 0 and status ~= 499
    end
    return status < 500
end


return _M
