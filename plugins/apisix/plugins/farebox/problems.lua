-- The shape and the stable codes of every refusal, as `farebox_contract/problems.py` has them.

local json = require("cjson.safe")

local _M = {
    BAD_REQUEST        = "bad_request",
    MISSING_KEY        = "missing_api_key",
    INVALID_KEY        = "invalid_api_key",
    KEY_NOT_ALLOWED    = "api_key_not_allowed",
    ACCOUNT_SUSPENDED  = "account_suspended",
    RATE_LIMITED       = "rate_limit_exceeded",
    QUOTA_EXCEEDED     = "quota_exceeded",
    LIMITS_UNAVAILABLE = "limits_unavailable",
    HTTPS_REQUIRED     = "https_required",
    NO_ROUTE           = "route_not_found",
    UPSTREAM_FAILED    = "upstream_failed",
    UPSTREAM_TIMEOUT   = "upstream_timeout",
}


-- The body of a refusal. `details` is a table with names, or nil when there is nothing to add.
function _M.body(code, message, request_id, details)
    return '{"success":false,"error":{"code":"' .. code .. '","message":' .. json.encode(message)
        .. ',"details":' .. (details and json.encode(details) or "{}")
        .. ',"request_id":"' .. request_id .. '"}}'
end


return _M
