-- What this node enforces, for whoever holds the key of its Admin API: `farebox_contract/node_status.py` is the
-- specification. APISIX serves it on its control API, never on the data plane.
--
-- Each nginx worker holds its own copy of everything, and one of them is asked. It puts the question into shared
-- memory, where the others look for questions fifty times a second, and collects their answers there.

local cjson  = require("cjson.safe")
local digest = require("apisix.plugins.farebox.digest")
local forms  = require("apisix.plugins.farebox.node_forms")
local index  = require("apisix.plugins.farebox.node_index")

local ngx    = ngx
local floor  = math.floor
local ipairs = ipairs
local pairs  = pairs
local sleep  = ngx.sleep
local tonumber = tonumber
local tostring = tostring
local type     = type

local DICT       = "farebox-status"
local LOOK       = 0.02
local KEPT       = 30
local SETTLE     = 8
local PATIENCE   = { status = 20, bucket = 10, items = 2, text = 2 }
local MOST_ITEMS = 500

local _M = {}
local mt = { __index = _M }


-- `source`: `consumers()`, `groups()`, `routes()` return APISIX's tables; `plugins()` names and versions of what is
-- loaded; `stream()` returns node, boot, worker and the number of the last line; `keys()` lists who may ask.
function _M.new(source)
    return setmetatable({
        source = source, index = index.new(source.consumers), dict = ngx.shared[DICT], seen = 0,
    }, mt)
end


-- `ipairs` goes on past `false`, which is what APISIX leaves of an entry that was deleted.
local function few(config, text)
    local found, count = {}, 0
    for _, item in ipairs(config and config.values or {}) do
        if item then
            found[item.value.id] = forms.hash(text(item.value.id, item.value))
            count = count + 1
        end
    end
    return found, count
end


local answers = {}


function answers.status(self)
    local settled = self.index:settle(SETTLE)
    local _, boot, _, seq = self.source.stream()
    local groups, group_count = few(self.source.groups(), forms.group)
    local routes, route_count = few(self.source.routes(), forms.route)
    local counts = self.index.counts
    ngx.update_time()
    return {
        boot = boot, seq = seq, now = floor(ngx.now() * 1000 + 0.5), plugins = self.source.plugins(),
        counts = {
            consumers = counts.consumers, credentials = counts.credentials, groups = group_count, routes = route_count,
        },
        settled = settled, buckets = self.index:buckets(), groups = groups, routes = routes,
    }
end


function answers.bucket(self, number)
    self.index:settle(SETTLE)
    return { items = self.index:bucket(number) }
end


function answers.text(self, name)
    return { text = self.index:text(name) or cjson.null }
end


function answers.items(self, names)
    local hashes = {}
    for position, name in ipairs(names) do
        local text = self.index:text(name)
        hashes[position] = text and forms.hash(text) or cjson.null
    end
    return { hashes = hashes }
end


local function answer(self, question)
    local ok, found = pcall(answers[question.kind], self, question.about)
    if not ok then
        ngx.log(ngx.ERR, "farebox-meter: a question about this node failed: ", found)
        found = { error = "it failed to answer; its error log says why" }
    end
    found.worker = ngx.worker.id()
    return found
end


local function reply(_, self, id, question)
    local text = cjson.encode(answer(self, question))
    local ok, err = self.dict:set("a:" .. id .. ":" .. ngx.worker.id(), text, KEPT)
    if not ok then
        ngx.log(ngx.ERR, "farebox-meter: no room in lua_shared_dict ", DICT, ": ", err)
    end
end


local function look(self)
    local newest = self.dict:get("questions") or 0
    if newest < self.seen then
        self.seen = 0
    end
    for id = math.max(self.seen + 1, newest - 100), newest do
        local question = cjson.decode(self.dict:get("q:" .. id) or "")
        if question and question.by ~= ngx.worker.id() then
            ngx.timer.at(0, reply, self, id, question)
        end
    end
    self.seen = newest
end


-- Listens for other workers' questions until `stop`.
function _M:start()
    if not self.dict or not ngx.worker.id() then
        return
    end
    self.seen = self.dict:get("questions") or 0
    ngx.timer.at(0, function(premature)
        while not (premature or self.stopped or ngx.worker.exiting()) do
            local ok, err = pcall(look, self)
            if not ok then
                ngx.log(ngx.ERR, "farebox-meter: questions were not looked for: ", err)
            end
            sleep(LOOK)
        end
    end)
end


function _M:stop()
    self.stopped = true
end


-- Asks every worker, this one too; who does not answer in time is said to be silent.
function _M:ask(kind, about)
    local me, count = ngx.worker.id(), ngx.worker.count()
    local question = { kind = kind, about = about, by = me }
    local id
    if self.dict and count > 1 then
        id = self.dict:incr("questions", 1, 0)
        self.dict:set("q:" .. id, cjson.encode(question), KEPT)
    end
    local found = { [me + 1] = answer(self, question) }
    local waited = 0
    while id and #found < count and waited < PATIENCE[kind] do
        for worker = 0, count - 1 do
            if not found[worker + 1] then
                found[worker + 1] = cjson.decode(self.dict:get("a:" .. id .. ":" .. worker) or "")
            end
        end
        local missing = false
        for worker = 1, count do
            missing = missing or not found[worker]
        end
        if not missing then
            break
        end
        sleep(LOOK / 2)
        waited = waited + LOOK / 2
    end
    local why = self.dict and "it did not answer in time" or "config.yaml has no lua_shared_dict " .. DICT
    for worker = 1, count do
        found[worker] = found[worker] or { worker = worker - 1, error = why }
    end
    return found
end


local function allowed(self)
    local given = ngx.req.get_headers()["x-api-key"]
    if type(given) ~= "string" then
        return false
    end
    local asked, known = digest.sha256(given), false
    for _, key in pairs(self.source.keys()) do
        known = digest.equal(asked, digest.sha256(key)) or known
    end
    return known
end


local function names_of(body)
    local asked = cjson.decode(body or "")
    local names = type(asked) == "table" and asked.items
    if type(names) ~= "table" or #names == 0 or #names > MOST_ITEMS then
        return nil
    end
    for _, name in ipairs(names) do
        if type(name) ~= "string" then
            return nil
        end
    end
    return names
end


-- Answers a request of the control API: status and body.
function _M:handle()
    ngx.header["Content-Type"] = "application/json"
    if not allowed(self) then
        return 401, '{"description":"missing or wrong apikey","error_msg":"failed to check token"}'
    end
    local arguments, kind, about = ngx.req.get_uri_args(), "status", nil
    if ngx.req.get_method() == "POST" then
        ngx.req.read_body()
        kind, about = "items", names_of(ngx.req.get_body_data())
        if not about then
            return 400, '{"error_msg":"send items, a list of at most ' .. MOST_ITEMS .. ' names"}'
        end
    elseif arguments.bucket then
        kind, about = "bucket", tonumber(arguments.bucket)
        if not about or about < 0 or about >= forms.BUCKETS or about ~= floor(about) then
            return 400, '{"error_msg":"bucket is a number below ' .. forms.BUCKETS .. '"}'
        end
    elseif arguments.item then
        kind, about = "text", tostring(arguments.item)
    end
    local node = self.source.stream()
    return 200, cjson.encode({ v = 1, node = node, workers = self:ask(kind, about) })
end


return _M
