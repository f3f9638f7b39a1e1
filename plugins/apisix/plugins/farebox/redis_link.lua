-- One Redis as the counters need it: run a script, fail fast, and after a failure let one request a second try
-- while the others do not wait. A second way in, over a blocking socket, is for a worker that is ending, where
-- nginx offers no other.

local redis  = require("resty.redis")
local to_hex = require("resty.string").to_hex

local ngx_now = ngx.now
local select  = select
local unpack  = unpack

local RETRY_AFTER = 1
local POOL_SIZE   = 64
local IDLE_MS     = 60000

local _M = {}
_M.__index = _M


-- `server` is what `redis_url` reads; `timeout` is in seconds.
function _M.new(server, timeout)
    return setmetatable({
        server = server, timeout = timeout, shas = {}, down_until = 0,
        pool = ("farebox:%s:%d:%d:%s"):format(server.host, server.port, server.database, server.user or ""),
    }, _M)
end


local function connect(self)
    local server = self.server
    local link = redis:new()
    local milliseconds = self.timeout * 1000
    link:set_timeouts(milliseconds, milliseconds, milliseconds)
    local ok, err = link:connect(server.host, server.port, {
        pool = self.pool, pool_size = POOL_SIZE, ssl = server.tls, ssl_verify = server.tls, server_name = server.host,
    })
    if not ok then
        return nil, err
    end
    if link:get_reused_times() == 0 then
        if server.password then
            if server.user then
                ok, err = link:auth(server.user, server.password)
            else
                ok, err = link:auth(server.password)
            end
        end
        if ok and server.database ~= 0 then
            ok, err = link:select(server.database)
        end
        if not ok then
            link:close()
            return nil, err
        end
    end
    return link
end


local function run(self, script, count, arguments)
    local link, err = connect(self)
    if not link then
        return nil, err
    end
    local sha = self.shas[script]
    if not sha then
        sha = to_hex(ngx.sha1_bin(script))
        self.shas[script] = sha
    end
    local answer
    answer, err = link:evalsha(sha, count, unpack(arguments))
    if not answer and err and err:find("NOSCRIPT", 1, true) then
        answer, err = link:eval(script, count, unpack(arguments))
    end
    if not answer then
        link:close()
        return nil, err
    end
    link:set_keepalive(IDLE_MS, POOL_SIZE)
    return answer
end


-- Runs a script with `count` keys, which come first in `arguments`. Returns its answer, or nil and the reason.
function _M:call(script, count, arguments)
    local now = ngx_now()
    if now < self.down_until then
        return nil, "Redis did not answer a moment ago"
    end
    local was_down = self.down_until > 0
    if was_down then
        -- This call finds out for all; the others are refused until it has.
        self.down_until = now + RETRY_AFTER
    end
    local answer, err = run(self, script, count, arguments)
    if not answer then
        if not was_down then
            ngx.log(ngx.ERR, "farebox-limit: the counters in Redis cannot be reached: ", err)
        end
        self.down_until = ngx_now() + RETRY_AFTER
        return nil, err
    end
    if was_down then
        ngx.log(ngx.WARN, "farebox-limit: the counters in Redis answer again")
        self.down_until = 0
    end
    return answer
end


function _M:available()
    return self.down_until == 0
end


local function encoded(...)
    local parts = { "*" .. select("#", ...) .. "\r\n" }
    for i = 1, select("#", ...) do
        local text = tostring((select(i, ...)))
        parts[#parts + 1] = "$" .. #text .. "\r\n" .. text .. "\r\n"
    end
    return table.concat(parts)
end


-- Runs a script over a blocking socket and reads no answer beyond its first line. Not over TLS: there it returns
-- nil, and what was to be brought back counts as used.
function _M:call_blocking(script, count, arguments)
    local found, socket = pcall(require, "socket")
    local server = self.server
    if not found or server.tls then
        return nil, "no blocking socket"
    end
    local link = socket.tcp()
    link:settimeout(self.timeout)
    local ok, err = link:connect(server.host, server.port)
    if not ok then
        return nil, err
    end
    local texts = {}
    if server.password then
        texts[1] = server.user and encoded("AUTH", server.user, server.password) or encoded("AUTH", server.password)
    end
    if server.database ~= 0 then
        texts[#texts + 1] = encoded("SELECT", server.database)
    end
    texts[#texts + 1] = encoded("EVAL", script, count, unpack(arguments))
    ok, err = link:send(table.concat(texts))
    for _ = 1, ok and #texts or 0 do
        ok, err = link:receive("*l")
    end
    link:close()
    return ok, err
end


return _M
