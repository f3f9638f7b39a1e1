-- APISIX reloads a plugin by forgetting its own module only. So that a reload never mixes old and new code, each of
-- our plugins forgets all shared modules when it goes; whoever loads next reads them anew.

local loaded = package.loaded

local _M = {}


function _M.forget()
    for name in pairs(loaded) do
        if name:sub(1, 23) == "apisix.plugins.farebox." then
            loaded[name] = nil
        end
    end
end


return _M
