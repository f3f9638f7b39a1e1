-- One Redis as the counters need it: run a script, fail fast, and after a failure let one request a second try
-- while the others do not wait. A second way in, over a blocking socket, is for a worker that is ending, where
-- nginx offers no other.

local resp = require("apisix.plugins.farebox.resp")

local concat  = table.concat
local find    = string.find
local ngx_now = ngx.now
local pcall   = pcall
local require = require
local unpack  = unpack

local RETRY_AFTER = 1
local POOL_SIZE   = 64
local IDLE_MS     = 60000

local _M = {}
_M.__index = _M


-- `server` is what `redis_url` reads; `timeout` is in seconds.
function _M.new(server, timeout)
    local first = {}
    if server.password then
        first[1] = server.user and resp.command("AUTH", server.user, server.password)
            or resp.command("AUTH", server.password)
    end
    if server.database ~= 0 then
        first[#first + 1] = resp.command("SELECT", server.database)
    end
    return setmetatable({
        server = server, timeout = timeout, first = first, shas = {}, down_until = 0,
        pool = ("farebox:%s:%d:%d:%s"):format(server.host, server.port, server.database, server.user or ""),
    }, _M)
end


-- Sends commands and reads an answer to each; returns the last one.
local function exchange(socket, commands)
    local ok, err = socket:send(concat(commands))
    if not ok then
        return nil, err
    end
    local answer
    for _ = 1, #commands do
        answer, err = resp.answer(socket)
        if err then
            return answer, err
        end
    end
    return answer
end


local function connect(self)
    local server = self.server
    local socket = ngx.socket.tcp()
    local milliseconds = self.timeout * 1000
    socket:settimeouts(milliseconds, milliseconds, milliseconds)
    local ok, err = socket:connect(server.host, server.port, { pool = self.pool, pool_size = POOL_SIZE })
    if not ok then
        return nil, err
    end
    if socket:getreusedtimes() == 0 then
        if server.tls then
            ok, err = socket:sslhandshake(nil, server.host, true)
        end
        if ok and #self.first > 0 then
            ok, err = exchange(socket, self.first)
        end
        if not ok then
            socket:close()
            return nil, err
        end
    end
    return socket
end


local function sha_of(self, script)
    local sha = self.shas[script]
    if not sha then
        sha = ngx.sha1_bin(script):gsub(".", function(one) return ("%02x"):format(one:byte()) end)
        self.shas[script] = sha
    end
    return sha
end


local function run(self, script, count, arguments)
    local socket, err = connect(self)
    if not socket then
        return nil, err
    end
    local answer
    answer, err = exchange(socket, { resp.command("EVALSHA", sha_of(self, script), count, unpack(arguments)) })
    if answer == false and find(err, "NOSCRIPT", 1, true) then
        answer, err = exchange(socket, { resp.command("EVAL", script, count, unpack(arguments)) })
    end
    if not answer then
        socket:close()
        return nil, err
    end
    socket:setkeepalive(IDLE_MS, POOL_SIZE)
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


-- The same over a blocking socket. Not over TLS: there it returns nil.
function _M:call_blocking(script, count, arguments)
    local found, socket_of = pcall(require, "socket")
    local server = self.server
    if not found or server.tls then
        return nil, "no blocking socket"
    end
    local socket = socket_of.tcp()
    socket:settimeout(self.timeout)
    local answer, err = socket:connect(server.host, server.port)
    if answer then
        local commands = { unpack(self.first) }
        commands[#commands + 1] = resp.command("EVAL", script, count, unpack(arguments))
        answer, err = exchange(socket, commands)
    end
    socket:close()
    return answer, err
end


return _M
