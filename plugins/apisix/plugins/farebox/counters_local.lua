-- Counters of this node alone, in memory that its workers share. N nodes with local counters allow N times each
-- limit, and a restart of nginx (not a reload) forgets them: use Redis for more than one node, or to keep quotas.

local max = math.max
local now = ngx.now

local _M = {}
_M.__index = _M


function _M.new(dict)
    return setmetatable({ dict = dict }, _M)
end


-- Takes from all counters or from none. Returns the index of the one that refused (nil if none did) and what is
-- used: of each counter, or of the one that refused.
function _M:take(_, wants)
    local dict = self.dict
    for i = 1, #wants do
        local want = wants[i]
        local count = want.limit and dict:get(want.key) or 0
        if want.limit and count + want.units > want.limit then
            return i, count
        end
    end
    local used = {}
    for i = 1, #wants do
        local want = wants[i]
        local count, err = dict:incr(want.key, want.units, 0, max(1, want.kept / 1000 - now()))
        if not count then
            ngx.log(ngx.ERR, "farebox-limit: a counter cannot be kept: ", err)
            count = want.units
        end
        used[i] = count
        if want.limit and count > want.limit then
            -- Another worker took the last of it since it was looked at.
            for j = 1, i do
                dict:incr(wants[j].key, -wants[j].units)
            end
            return i, count - want.units
        end
    end
    return nil, used
end


-- Corrects what was taken, if the counter still stands.
function _M:settle(want, units)
    self.dict:incr(want.key, units)
end


function _M:status()
    return { kind = "local", available = true }
end


function _M.start()
end


function _M.stop()
end


return _M
