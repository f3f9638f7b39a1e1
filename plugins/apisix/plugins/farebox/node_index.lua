-- The hashes of all consumers and credentials that one worker holds, summed up by bucket.
--
-- APISIX keeps them in one array that it changes in place; an entry that changes becomes another table. So a hash
-- stays valid for as long as the same table stands there, and a scan costs a comparison for each entry, a few
-- thousand at a time between which requests are served. Nothing runs unless somebody asks. The hashes stand in plain
-- memory (20 bytes each), outside what the collector of garbage walks.

local ffi   = require("ffi")
local forms = require("apisix.plugins.farebox.node_forms")

local bxor  = bit.bxor
local find  = string.find
local ngx   = ngx
local sleep = ngx.sleep

-- A comparison costs about a microsecond, a hash thirty: a slice is a third of a millisecond.
local SLICE      = 400
local HASH_COST  = 40
local PAUSE      = 0.001
local WORDS      = 5
local BUCKETS    = forms.BUCKETS
local ATTEMPTS   = 5

local _M = {}
local mt = { __index = _M }


-- `fetch` returns the table of consumers as APISIX's `core.config` has it: `values`, `conf_version`, `sync_times`.
function _M.new(fetch)
    return setmetatable({
        fetch = fetch, objects = {}, count = 0, room = 0, words = nil,
        sums = ffi.new("int32_t[?]", BUCKETS * 4), version = nil, counts = { consumers = 0, credentials = 0 },
    }, mt)
end


local function grow(self, room)
    local words = ffi.new("int32_t[?]", room * WORDS)
    if self.words then
        ffi.copy(words, self.words, self.room * WORDS * 4)
    end
    self.words, self.room = words, room
end


-- Brings entry `index` up to what stands there now, and returns what it cost. `from` is where the same table stood
-- at the last scan, if it did.
local function take(self, index, item, from)
    if index > self.room then
        grow(self, math.max(1024, index * 2))
    end
    local target = self.words + (index - 1) * WORDS
    if self.objects[from] == item then
        if from ~= index then
            ffi.copy(target, self.words + (from - 1) * WORDS, WORDS * 4)
        end
        self.objects[index] = item
        return 1
    end
    local name = item.value.id
    forms.hash_into(target, forms.item(name, item.value))
    target[4] = forms.bucket(name)
    self.objects[index] = item
    return HASH_COST
end


-- One walk over the array. False if APISIX moved its entries meanwhile.
local function walk(self, config)
    local values, moves = config.values, config.sync_times or 0
    local sums, objects = ffi.new("int32_t[?]", BUCKETS * 4), self.objects
    local consumers, credentials, index, from, spent = 0, 0, 1, 1, 0
    while values and index <= #values do
        local item = values[index]
        if item then
            while objects[from] == false do
                from = from + 1
            end
            spent = spent + take(self, index, item, from)
            local words = self.words + (index - 1) * WORDS
            local sum = sums + words[4] * 4
            for i = 0, 3 do
                sum[i] = bxor(sum[i], words[i])
            end
            if find(item.value.id, "/", 1, true) then
                credentials = credentials + 1
            else
                consumers = consumers + 1
            end
        else
            objects[index] = false
        end
        index, from = index + 1, from + 1
        if spent >= SLICE then
            sleep(PAUSE)
            spent = 0
            if config.values ~= values or (config.sync_times or 0) < moves then
                return false
            end
            moves = config.sync_times or 0
        end
    end
    for left = index, self.count do
        objects[left] = nil
    end
    self.count = index - 1
    self.sums, self.counts = sums, { consumers = consumers, credentials = credentials }
    return true
end


-- Looks at what changed since the last scan. Returns whether the sums are those of what stands there.
function _M:scan()
    while self.scanning do
        sleep(PAUSE)
    end
    local config = self.fetch()
    if not config or not config.values then
        return false
    end
    if self.version == config.conf_version and self.seen == config.values then
        return true
    end
    self.scanning = true
    local done, err = false, nil
    for _ = 1, ATTEMPTS do
        local version, values = config.conf_version, config.values
        local ok, whole = pcall(walk, self, config)
        if not ok then
            err = whole
            break
        end
        if whole then
            self.version, self.seen, done = version, values, true
            break
        end
    end
    self.scanning = false
    if err then
        ngx.log(ngx.ERR, "farebox-meter: consumers were not hashed: ", err)
    end
    return done
end


-- Scans beside the caller, who waits at most so many seconds. Returns whether the sums are those of what stands
-- there; a scan that takes longer goes on.
function _M:settle(seconds)
    local scan = { over = false, done = false }
    ngx.timer.at(0, function()
        scan.done = self:scan()
        scan.over = true
    end)
    local waited = 0
    while not scan.over and waited < seconds do
        sleep(PAUSE * 5)
        waited = waited + PAUSE * 5
    end
    return scan.done
end


-- The hash of each bucket, as hexadecimal texts.
function _M:buckets()
    local shown = {}
    for bucket = 0, BUCKETS - 1 do
        shown[bucket + 1] = forms.shown(self.sums + bucket * 4)
    end
    return shown
end


-- The entries of one bucket with their hashes, as of the last scan.
function _M:bucket(number)
    local items, spent = {}, 0
    for index = 1, self.count do
        local item, words = self.objects[index], self.words + (index - 1) * WORDS
        if item and words[4] == number then
            items[item.value.id] = forms.shown(words)
        end
        spent = spent + 1
        if spent == SLICE * 5 then
            sleep(0)
            spent = 0
        end
    end
    return items
end


-- The text of one entry's form as it stands this moment; nil if there is none.
function _M:text(name)
    local config = self.fetch()
    local item = config and config.values and config:get(name)
    return item and item.value and forms.item(name, item.value) or nil
end


return _M
