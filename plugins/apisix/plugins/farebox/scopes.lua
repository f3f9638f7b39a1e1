-- `METHOD route` patterns: what a key may call. `*` is any method or route; a route may end in `*`.

local find  = string.find
local match = string.match
local sub   = string.sub

local _M = {}


local function parts(scope)
    return match(scope, "^(%S+) (%S+)$")
end


-- Whether a text is a scope that could match something.
function _M.valid(scope)
    local method, route = parts(scope)
    return method ~= nil
        and (method == "*" or #method <= 32 and not find(method, "[^A-Z]"))
        and (route == "*" or find(route, "^[a-zA-Z0-9_.-]+%*?$") ~= nil and #(route:gsub("%*$", "")) <= 64)
end


-- Whether one of the scopes allows this method on this route.
function _M.allow(scopes, method, route)
    for i = 1, #scopes do
        local verb, pattern = parts(scopes[i])
        if verb == "*" or verb == method then
            if sub(pattern, -1) == "*" then
                if sub(route, 1, #pattern - 1) == sub(pattern, 1, -2) then
                    return true
                end
            elseif pattern == route then
                return true
            end
        end
    end
    return false
end


return _M
