-- Makes a key in a query string unreadable where nginx itself keeps it: the request line, which every entry of the
-- error log and the stock access log repeat, and `$request_uri`. No variable can change those, so the bytes are
-- overwritten where they lie, in the request's own buffer.

local ffi  = require("ffi")
local base = require("resty.core.base")

local find = string.find

ffi.cdef[[
int ngx_http_lua_ffi_var_get(ngx_http_request_t *request, const char *name, size_t name_length,
    char *lowercase, int capture, char **value, size_t *value_length, char **error);
]]

local value  = ffi.new("char *[1]")
local length = ffi.new("size_t[1]")
local failed = ffi.new("char *[1]")
local lower  = ffi.new("char[32]")

local _M = {}


local function overwrite(name, texts)
    local code = ffi.C.ngx_http_lua_ffi_var_get(base.get_request(), name, #name, lower, 0, value, length, failed)
    if code ~= 0 then
        return
    end
    local line = ffi.string(value[0], length[0])
    local query = find(line, "?", 1, true)
    for i = 1, #texts do
        local text = texts[i]
        local from = query and text ~= "" and find(line, text, query + 1, true)
        while from do
            ffi.fill(value[0] + from - 1, #text, 42)
            from = find(line, text, from + #text, true)
        end
    end
end


-- `texts`: the values of the parameter as they stand in the query string.
function _M.query(ctx, texts)
    overwrite("request", texts)
    overwrite("request_uri", texts)
    ctx.var.request_line = ngx.var.request
    ctx.var.real_request_uri = ngx.var.request_uri
end


return _M
