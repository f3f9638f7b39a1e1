-- `redis://[[user]:password@]host[:port][/database]`, and `rediss://` for TLS.

local match = string.match
local tonumber = tonumber
local unescape = ngx.unescape_uri

local _M = {}


-- Returns a table of host, port, database, user, password and tls, or nil and the reason.
function _M.parse(url)
    local scheme, rest = match(url, "^(rediss?)://(.+)$")
    if not scheme then
        return nil, "the URL of Redis must begin with redis:// or rediss://"
    end
    rest = match(rest, "^[^?]*")
    local credentials, address = match(rest, "^(.*)@([^@]*)$")
    address = address or rest
    local authority, database = match(address, "^([^/]*)/?(%d*)$")
    local host, port = match(authority or "", "^%[?([^%]]-)%]?:?(%d*)$")
    if not host or host == "" then
        return nil, "the URL of Redis names no host, or its database is no number"
    end
    local user, password
    if credentials then
        user, password = match(credentials, "^([^:]*):?(.*)$")
        user, password = unescape(user), unescape(password)
    end
    return {
        host = host,
        port = tonumber(port) or 6379,
        database = tonumber(database) or 0,
        user = user ~= "" and user or nil,
        password = password ~= "" and password or nil,
        tls = scheme == "rediss",
    }
end


return _M
