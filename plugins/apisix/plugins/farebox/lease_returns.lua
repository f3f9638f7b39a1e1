-- How what a node holds of the counters in Redis goes back: leases that lie idle, debts, and what settlements still
-- owe. Pure bookkeeping over the state that `counters_redis` keeps; who calls Redis, and when, is its business.

local scripts = require("apisix.plugins.farebox.redis_scripts")

local ngx_now  = ngx.now
local pairs    = pairs
local sleep    = ngx.sleep
local tonumber = tonumber

local BATCH       = 500
local PAUSE_AFTER = 200
local OWED        = "owed"

local _M = {}


-- What a lease is called in shared memory: a lease of counters that are gone is never found.
local function lease_of(self, key)
    return "lease:" .. self.generation .. ":" .. key
end
_M.lease_of = lease_of


local function owe(self, generation, key, units)
    self.dict:rpush(OWED, generation .. " " .. units .. " " .. key)
end


-- Notes units that a settlement adds to (or takes off) a counter of which nothing is held.
function _M.owe(self, key, units)
    owe(self, self.generation, key, units)
end


-- Takes out of a lease all that is left, or the whole debt. Another worker may spend meanwhile; the sum stays right.
local function empty(dict, lease)
    local left = dict:get(lease) or 0
    local after = left ~= 0 and dict:incr(lease, -left)
    if not after then
        return 0
    end
    if left > 0 and after < 0 then
        dict:incr(lease, -after)
        return left + after
    end
    return left
end


local function add(amounts, key, units)
    amounts[key] = (amounts[key] or 0) + units
end


-- What is owed by settlements, of this generation.
local function owed(self, amounts)
    for _ = 1, self.dict:llen(OWED) or 0 do
        local text = self.dict:lpop(OWED)
        if not text then
            return
        end
        local generation, units, key = text:match("^(%S*) (%S+) (.+)$")
        if generation == self.generation then
            add(amounts, key, tonumber(units))
        end
    end
end


-- Leases below zero.
local function debts(self, amounts)
    local indebted = self.indebted
    self.indebted = {}
    for key in pairs(indebted) do
        local lease = lease_of(self, key)
        if (self.dict:get(lease) or 0) < 0 then
            add(amounts, key, -empty(self.dict, lease))
        end
    end
end


-- What lies idle: leases whose value has not changed for `lease_seconds`, or (`all`) every lease. There may be many,
-- so it lets requests come between.
local function idle(self, amounts, all)
    local queue, looked_at = self.queue, 0
    while self.first <= self.last and queue == self.queue do
        local one, now = queue[self.first], ngx_now()
        if not all and now - one.since < self.lease_seconds then
            return
        end
        queue[self.first] = nil
        self.first = self.first + 1
        local left = self.dict:get(one.lease)
        if not all and left and left ~= one.seen and one.ends > now * 1000 then
            one.seen, one.since = left, now
            self.last = self.last + 1
            queue[self.last] = one
        else
            self.held[one.key] = nil
            if left and one.ends > now * 1000 then
                add(amounts, one.key, -empty(self.dict, one.lease))
            end
        end
        looked_at = looked_at + 1
        if not all and looked_at % PAUSE_AFTER == 0 then
            sleep(0)
        end
    end
end


-- What is to be corrected now, units by counter; `all`: also what is not idle.
function _M.collect(self, all)
    local amounts = {}
    owed(self, amounts)
    debts(self, amounts)
    idle(self, amounts, all)
    return amounts
end


-- Sends corrections of a generation in batches by `call(script, count, arguments)`. If the fate of one is
-- uncertain, what was to be brought back counts as used, and what is owed is tried again.
function _M.send(self, amounts, generation, call)
    local keys, arguments, units_of = { scripts.GENERATION_KEY }, {}, {}
    local function send()
        local count = #keys
        for i = 1, #arguments do
            keys[count + i] = arguments[i]
        end
        if not call(scripts.CORRECT, count, keys) then
            for key, units in pairs(units_of) do
                if units > 0 then
                    owe(self, generation, key, units)
                end
            end
        end
        keys, arguments, units_of = { scripts.GENERATION_KEY }, {}, {}
    end
    for key, units in pairs(amounts) do
        if units ~= 0 then
            keys[#keys + 1] = key
            arguments[#arguments + 1] = generation
            arguments[#arguments + 1] = ("%.0f"):format(units)
            units_of[key] = units
            if #keys > BATCH then
                send()
            end
        end
    end
    if #keys > 1 then
        send()
    end
end


return _M
