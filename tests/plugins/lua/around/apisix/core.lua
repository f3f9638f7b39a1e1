-- What our plugins use of APISIX's core, with nginx's own functions behind it: no decision is made here. Configuration
-- checks are APISIX's business and pass; consumers come from the test.

local ngx = ngx

local consumers = { values_hash = {} }


function consumers.get(_, name)
    return STAGE.consumers[name]
end


return {
    schema = { TYPE_CONSUMER = 1, check = function() return true end },
    log = { error = function(...) ngx.log(ngx.ERR, ...) end },
    config = { fetch_created_obj = function() return consumers end },
    request = {
        set_header = function(_, name, value) ngx.req.set_header(name, value) end,
        set_uri_args = function(_, args) ngx.req.set_uri_args(args) end,
    },
}
