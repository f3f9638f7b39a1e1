-- Keeps APISIX from standing still after every hundredth deletion.
--
-- APISIX holds all consumers and credentials in one array. A deleted one leaves a hole, and with the hundredth hole it
-- builds the array and the table of names anew: with 100,000 organizations no request is served for half a second.
-- Here its count of holes (`sync_times`) is kept far below a hundred, and holes are filled with entries from the end of
-- the array instead, a few thousand places at a time between which requests are served, and only once they are many.
--
-- `sync_times` goes up by one with each deletion, as ever, and falls whenever entries were moved: who walks the array
-- in pieces (`node_index`) sees by that that it must begin again.

local max   = math.max
local ngx   = ngx
local sleep = ngx.sleep

local FLOOR = -2 ^ 50
local FALL  = 2 ^ 20
local LEAST = 1000
local SHARE = 0.1
local SLICE = 4000
local PAUSE = 0.002
local BEAT  = 0.5

local _M = {}
local mt = { __index = _M }


-- `fetch` returns the table of consumers as APISIX's `core.config` has it: `values`, `values_hash`, `sync_times`.
function _M.new(fetch)
    return setmetatable({ fetch = fetch, config = nil, since = FLOOR }, mt)
end


-- Takes over the counting of holes, of this table of consumers.
local function follow(self)
    local config = self.fetch()
    if config and config.sync_times and (config ~= self.config or config.sync_times >= 0) then
        config.sync_times = FLOOR
        self.config, self.since = config, FLOOR
    end
    return config and config.values and config.values_hash and config or nil
end


-- Fills the holes among so many places with entries from the end. Never yields. Returns whether any were moved, and
-- the table that it was given.
function _M.fill(config, first, last)
    local values, names = config.values, config.values_hash
    local moved, count = false, #values
    for place = first, last do
        if place > count then
            break
        end
        if not values[place] then
            while count > place and not values[count] do
                values[count] = nil
                count = count - 1
            end
            local item = values[count]
            values[count] = nil
            if count > place then
                values[place] = item
                names[item.value.id] = place
                moved = true
            end
            count = count - 1
        end
    end
    return moved, config
end


-- One look: fills holes if they are many. Returns whether it did.
function _M:look()
    local config = follow(self)
    if not config then
        return false
    end
    local values = config.values
    if config.sync_times - self.since < max(LEAST, SHARE * #values) then
        return false
    end
    self.since = config.sync_times
    local first = 1
    while config.values == values and first <= #values do
        if _M.fill(config, first, first + SLICE - 1) then
            config.sync_times = config.sync_times - FALL
            self.since = self.since - FALL
        end
        first = first + SLICE
        sleep(PAUSE)
    end
    return true
end


-- Twice a second, in this worker, until `stop`.
function _M:start()
    local function tick(premature)
        if premature or self.stopped then
            return
        end
        local ok, err = pcall(self.look, self)
        if not ok then
            ngx.log(ngx.ERR, "farebox-auth: deleted consumers were not tidied up: ", err)
        end
        ngx.timer.at(BEAT, tick)
    end
    ngx.timer.at(0, tick)
end


-- Gives the counting back to APISIX.
function _M:stop()
    self.stopped = true
    if self.config then
        self.config.sync_times = 0
    end
end


return _M
