-- Counters in Redis for all nodes together, with leases, so that most requests need no round trip.
--
-- Redis hands this node slices of what is left (`redis_scripts`), and the node's workers spend them from shared
-- memory: a lease outlives the worker that fetched it, a kill of it and a reload. The sum of what all nodes spend
-- never passes a limit. The price is in the other direction: while other nodes hold slices, a node may be refused
-- up to their unspent sum early. A slice untouched for `lease_seconds` goes back; so does what is held when nginx
-- stops. If the whole of nginx is killed, what it held counts as used.
--
-- What a request turns out to weigh more than was taken for it is taken from the lease, below zero if need be: such
-- a debt is part of what the next request asks for, and otherwise paid with the next beat.
--
-- Without Redis, or without its generation marker, leases that are held may still be spent; everything else is
-- unavailable at once.

local returns = require("apisix.plugins.farebox.lease_returns")
local scripts = require("apisix.plugins.farebox.redis_scripts")

local gmatch  = string.gmatch
local max     = math.max
local min     = math.min
local next    = next
local ngx_now = ngx.now
local pcall   = pcall
local sleep   = ngx.sleep
local tonumber = tonumber

local LARGEST_SLICE = 512
local REFUSAL_KEPT  = 0.25
local BEAT          = 0.5
local LEASE_KEPT    = 24 * 3600
local WAIT_STEP     = 0.001

local _M = {}
_M.__index = _M


local function let_go(self)
    self.held, self.queue, self.first, self.last, self.indebted = {}, {}, 1, 0, {}
end


function _M.new(dict, link, options)
    local self = setmetatable({
        dict = dict, link = link, generation = "", asking = {},
        require = options.require_generation and "1" or "0",
        lease_seconds = options.lease_seconds, longest_wait = options.longest_wait,
    }, _M)
    let_go(self)
    return self
end


local lease_of = returns.lease_of


-- What the lease of a want is called in shared memory, and where the count stood when it was handed out. Wants are
-- kept from request to request, so are these names.
local function names_of(self, want)
    if want.generation ~= self.generation then
        local lease = lease_of(self, want.key)
        want.generation, want.lease, want.counted = self.generation, lease, "used:" .. lease
    end
    return want.lease, want.counted
end


-- Takes `units` out of a lease if it has them all. Returns what is left, or nil.
local function spend(dict, lease, units)
    local left = dict:incr(lease, -units)
    if not left then
        return nil
    end
    if left < 0 then
        dict:incr(lease, units)
        return nil
    end
    return left
end


local function counted(self, want, left)
    local _, name = names_of(self, want)
    return (self.dict:get(name) or left) - left
end


local function put_back(self, wants, parts)
    for i = 1, #wants do
        if parts[i] > 0 then
            self.dict:incr((names_of(self, wants[i])), parts[i])
        end
    end
end


-- All from leases: nil if one has not enough, else what `take` returns, after `true`.
local function from_leases(self, wants)
    local dict, used = self.dict, {}
    for i = 1, #wants do
        local want = wants[i]
        local lease = names_of(self, want)
        local left = spend(dict, lease, want.units)
        if not left then
            for j = 1, i - 1 do
                dict:incr((names_of(self, wants[j])), wants[j].units)
            end
            local refused = want.limit and dict:get("refused:" .. lease .. ":" .. want.limit)
            if refused and refused + want.units > want.limit then
                return true, i, refused
            end
            return nil
        end
        used[i] = counted(self, want, left)
    end
    return true, nil, used
end


-- Voids what was handed out by counters that are gone: leases carry the generation in their names.
local function follow(self, generation)
    if generation == self.generation then
        return
    end
    if self.generation ~= "" and next(self.held) then
        ngx.log(ngx.WARN, "farebox-limit: the counters were flushed or seeded anew; leases are void")
    end
    self.generation = generation
    let_go(self)
end


-- Looks after a lease until it has gone back: it stands in the queue of those to look at, oldest first.
local function look_after(self, key, lease, left, ends)
    if self.held[key] then
        return
    end
    self.held[key] = true
    self.last = self.last + 1
    self.queue[self.last] = { key = key, lease = lease, seen = left, since = ngx_now(), ends = ends }
end


local function hold(self, want, slice, need, used)
    local dict, lease, name = self.dict, names_of(self, want)
    local kept = max(1, min(LEASE_KEPT, want.kept / 1000 - ngx_now()))
    dict:set(name, used, kept)
    local left = dict:incr(lease, slice - need, 0, kept)
    look_after(self, want.key, lease, left, want.kept)
    return counted(self, want, left or 0)
end


-- Puts aside what the leases have, fetches what they lack; on a refusal everything goes back.
local function ask(self, wants)
    local dict, parts, lacking = self.dict, {}, {}
    local keys, arguments = { scripts.GENERATION_KEY }, { self.require }
    for i = 1, #wants do
        local want = wants[i]
        local lease = names_of(self, want)
        local left = dict:get(lease) or 0
        local part = min(left, want.units)
        parts[i] = part > 0 and spend(dict, lease, part) and part or 0
        if parts[i] < want.units then
            lacking[#lacking + 1] = i
            keys[#keys + 1] = want.key
            local n = #arguments
            arguments[n + 1] = want.limit or -1
            arguments[n + 2] = want.units - parts[i] + max(0, -left)
            arguments[n + 3] = LARGEST_SLICE
            arguments[n + 4] = ("%.0f"):format(want.kept)
        end
    end
    local count = #keys
    for i = 1, #arguments do
        keys[count + i] = arguments[i]
    end
    local answer, err = self.link:call(scripts.TAKE, count, keys)
    if not answer then
        put_back(self, wants, parts)
        return nil, nil, err
    end
    local words = {}
    for word in gmatch(answer, "%S+") do
        words[#words + 1] = word
    end
    if words[1] ~= "taken" then
        put_back(self, wants, parts)
        if words[1] == "unseeded" then
            follow(self, "")
            return nil, nil, "the counters have not been seeded"
        end
        follow(self, words[2])
        local i, used = lacking[tonumber(words[3])], tonumber(words[4])
        dict:set("refused:" .. names_of(self, wants[i]) .. ":" .. wants[i].limit, used, REFUSAL_KEPT)
        return i, used
    end
    follow(self, words[2])
    local used = {}
    for n = 1, #lacking do
        local i = lacking[n]
        used[i] = hold(self, wants[i], tonumber(words[2 * n + 1]), wants[i].units - parts[i],
                       tonumber(words[2 * n + 2]))
    end
    for i = 1, #wants do
        if not used[i] then
            used[i] = counted(self, wants[i], dict:get((names_of(self, wants[i]))) or 0)
        end
    end
    return nil, used
end


-- Takes from all counters or from none. Returns the index of the one that refused (nil if none did) and what is
-- used: of each counter, or of the one that refused, as far as this node knows. Returns nil, nil and the reason
-- when the counters are not available.
function _M:take(owner, wants)
    local found, refused, used = from_leases(self, wants)
    if found then
        return refused, used
    end
    -- One request of an organization at a time asks, so that they do not all fetch slices at once.
    local asking = self.asking
    while (asking[owner] or 0) > ngx_now() do
        sleep(WAIT_STEP)
        found, refused, used = from_leases(self, wants)
        if found then
            return refused, used
        end
    end
    asking[owner] = ngx_now() + self.longest_wait
    local err
    refused, used, err = ask(self, wants)
    asking[owner] = nil
    return refused, used, err
end


-- Corrects what was taken, by more units or (below zero) fewer. For any phase.
function _M:settle(want, units)
    local left = self.dict:incr((names_of(self, want)), -units)
    if left and left < 0 then
        self.indebted[want.key] = true
    elseif not left then
        returns.owe(self, want.key, units)
    end
end


function _M:status()
    return {
        kind = "redis",
        available = self.link:available() and (self.generation ~= "" or self.require == "0"),
        generation = self.generation,
    }
end


local function beat(self)
    local generation = self.link:call(scripts.CORRECT, 1, { scripts.GENERATION_KEY })
    if not generation then
        return
    end
    if generation == "-" and self.require == "1" then
        generation = ""
    end
    follow(self, generation)
    returns.send(self, returns.collect(self, false), generation, function(...) return self.link:call(...) end)
end


-- Leases that a killed worker of this node fetched: someone has to bring them back when they lie idle.
local function adopt(self)
    local prefix = "lease:" .. self.generation .. ":"
    for _, name in ipairs(self.dict:get_keys(0)) do
        if name:sub(1, #prefix) == prefix then
            look_after(self, name:sub(#prefix + 1), name, self.dict:get(name), math.huge)
        end
    end
end


-- Twice a second, in each worker: watch the generation, bring idle leases back, pay what is owed.
function _M:start()
    local adopted = false
    local function tick(premature)
        if premature or self.stopped then
            return
        end
        local ok, err = pcall(beat, self)
        if not ok then
            ngx.log(ngx.ERR, "farebox-limit: a beat failed: ", err)
        elseif not adopted and self.generation ~= "" then
            adopt(self)
            adopted = true
        end
        ngx.timer.at(BEAT, tick)
    end
    ngx.timer.at(0, tick)
end


-- `for_good`: the worker is ending, and nginx offers it no sockets any more.
function _M:stop(for_good)
    self.stopped = true
    if for_good and self.generation ~= "" then
        returns.send(self, returns.collect(self, true), self.generation,
                     function(...) return self.link:call_blocking(...) end)
    end
end


return _M
