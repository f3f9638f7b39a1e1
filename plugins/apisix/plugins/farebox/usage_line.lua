-- The usage line, version 1, as `farebox_contract/usage_line.py` reads it: members in its order, those that are
-- unknown left out, texts cut and made valid, because a client can put any bytes into a path or a User-Agent.

local byte   = string.byte
local char   = string.char
local find   = string.find
local format = string.format
local gsub   = string.gsub
local match  = string.match
local sub    = string.sub
local concat = table.concat

local MAX_PATH     = 1024
local MAX_AGENT    = 256
local MAX_METHOD   = 32
local KEPT_TEXTS   = 1000
local LONGEST_KEPT = 512
local REPLACEMENT  = "\239\191\189"

local _M = {}


local function escaped(one)
    if one == '"' then
        return '\\"'
    elseif one == "\\" then
        return "\\\\"
    end
    return format("\\u%04x", byte(one))
end


local function quoted(text)
    if find(text, '[%c"\\]') then
        text = gsub(text, '[%c"\\]', escaped)
    end
    return '"' .. text .. '"'
end


local function percent(one)
    return format("%%%02X", byte(one))
end


-- The path of a request target: no query string, no fragment, ASCII, at most 1,024 characters.
function _M.path(target)
    local path = match(target, "^[^?#]*")
    if find(path, "[^ -~]") then
        path = gsub(path, "[^ -~]", percent)
    end
    return sub(path, 1, MAX_PATH)
end


-- The length of the well-formed UTF-8 sequence at a position (RFC 3629), or nil.
local function sequence(text, position)
    local first, second, third, fourth = byte(text, position, position + 3)
    local function tail(one)
        return one ~= nil and one >= 0x80 and one <= 0xBF
    end
    if first < 0x80 then
        return 1
    elseif first >= 0xC2 and first <= 0xDF then
        return tail(second) and 2 or nil
    elseif first >= 0xE0 and first <= 0xEF then
        local low, high = first == 0xE0 and 0xA0 or 0x80, first == 0xED and 0x9F or 0xBF
        return second ~= nil and second >= low and second <= high and tail(third) and 3 or nil
    elseif first >= 0xF0 and first <= 0xF4 then
        local low, high = first == 0xF0 and 0x90 or 0x80, first == 0xF4 and 0x8F or 0xBF
        return second ~= nil and second >= low and second <= high and tail(third) and tail(fourth) and 4 or nil
    end
    return nil
end


-- A User-Agent as valid UTF-8 of at most 256 characters; what is not UTF-8 is replaced.
function _M.agent(text)
    if not find(text, "[\128-\255]") then
        return sub(text, 1, MAX_AGENT)
    end
    local out, position = {}, 1
    while position <= #text and #out < MAX_AGENT do
        local length = sequence(text, position)
        out[#out + 1] = length and sub(text, position, position + length - 1) or REPLACEMENT
        position = position + (length or 1)
    end
    return concat(out)
end


-- Most requests repeat a method, a path and a User-Agent that were seen a moment ago. A client that sends others each
-- time only makes the memory begin anew.
local function remembering(make)
    local texts, count = {}, 0
    return function(text)
        local found = texts[text]
        if not found then
            found = make(text)
            if #text <= LONGEST_KEPT then
                if count >= KEPT_TEXTS then
                    texts, count = {}, 0
                end
                texts[text], count = found, count + 1
            end
        end
        return found
    end
end

local method_member = remembering(function(text)
    return ',"method":' .. quoted(sub(text, 1, MAX_METHOD))
end)
local path_member = remembering(function(text)
    return ',"path":' .. quoted(_M.path(text))
end)
local agent_member = remembering(function(text)
    return text ~= "" and ',"ua":' .. quoted(_M.agent(text)) or ""
end)


-- For names whose grammar has nothing to escape: of our ids, and of APISIX's.
local function member(name, value)
    return value and ',"' .. name .. '":"' .. value .. '"' or ""
end


local identities, known = {}, 0


-- Whose request it is; the same for all requests with one key, until its subscription or group changes.
local function identity(line)
    local key = line.key or ""
    local kept = identities[key]
    if not kept or kept.env ~= line.env or kept.org ~= line.org or kept.sub ~= line.sub
        or kept.group ~= line.group
    then
        if known >= KEPT_TEXTS then
            identities, known = {}, 0
        end
        known = known + 1
        kept = {
            env = line.env, org = line.org, sub = line.sub, group = line.group,
            text = member("env", line.env) .. member("org", line.org) .. member("key", line.key)
                .. member("sub", line.sub) .. member("group", line.group),
        }
        identities[key] = kept
    end
    return kept.text
end


-- One line without its newline. Numbers are whole and below 2^53; of the texts only method, target and User-Agent may
-- hold anything.
function _M.encode(line)
    local up = line.up_us
    return format('{"v":1,"ts":%.0f,"node":"%s","boot":"%s","worker":%d,"seq":%.0f,"rid":"%s"',
                  line.ts, line.node, line.boot, line.worker, line.seq, line.rid)
        .. identity(line) .. member("route", line.route)
        .. method_member(line.method) .. path_member(line.target)
        .. format(',"status":%d,"outcome":"%s","units":%.0f,"in":%.0f,"out":%.0f,"us":%.0f',
                  line.status, line.outcome, line.units, line["in"], line.out, line.us)
        .. (up and format(',"up_us":%.0f', up) or "")
        .. ',"ip":"' .. line.ip .. '"'
        .. agent_member(line.ua)
        .. "}"
end


-- Ten random characters of `[a-z0-9]`, made anew each time a worker loads the plugin.
function _M.boot()
    local source = assert(io.open("/dev/urandom", "rb"))
    local random = source:read(10)
    source:close()
    return (gsub(random, ".", function(one)
        local digit = byte(one) % 36
        return char(digit < 10 and 48 + digit or 87 + digit)
    end))
end


return _M
