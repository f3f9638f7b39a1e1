-- Where a request may carry its key: `Authorization: Bearer`, `X-API-Key`, a query parameter.
--
-- Pure text; taking the places out of the request is `farebox-auth`'s.

local find  = string.find
local gmatch = string.gmatch
local ipairs = ipairs
local lower = string.lower
local match = string.match
local sub   = string.sub
local type  = type
local unescape = ngx.unescape_uri

local _M = {}


local function trim(text)
    return match(text, "^%s*(.-)%s*$")
end


local function each(value)
    return type(value) == "table" and value or { value }
end


-- Reads the values of `Authorization`. Returns the first token of the Bearer scheme, whether there was any of
-- that scheme, and the values of other schemes, which are not ours to take.
function _M.from_authorization(value)
    local token, bearer, kept = nil, false, {}
    for _, one in ipairs(each(value)) do
        local text = trim(one)
        local space = find(text, "[ \t]")
        if lower(space and sub(text, 1, space - 1) or text) == "bearer" then
            bearer = true
            local found = space and trim(sub(text, space + 1)) or ""
            token = token or found ~= "" and found or nil
        else
            kept[#kept + 1] = one
        end
    end
    return token, bearer, kept
end


-- Reads the values of `X-API-Key`: the first that is not empty.
function _M.from_header(value)
    for _, one in ipairs(each(value)) do
        local text = trim(one)
        if text ~= "" then
            return text
        end
    end
    return nil
end


-- Takes a parameter out of a query string. Returns its first value that is not empty, decoded, what is left of
-- the query, and the texts of all its values as they stood there (nil if the parameter was not there).
function _M.from_query(query, parameter)
    local found, rest, texts = nil, {}, nil
    for part in gmatch(query .. "&", "([^&]*)&") do
        local equals = find(part, "=", 1, true)
        if unescape(equals and sub(part, 1, equals - 1) or part) == parameter then
            local text = equals and sub(part, equals + 1) or ""
            texts = texts or {}
            texts[#texts + 1] = text
            local value = unescape(text)
            found = found or value ~= "" and value or nil
        else
            rest[#rest + 1] = part
        end
    end
    return found, table.concat(rest, "&"), texts
end


return _M
