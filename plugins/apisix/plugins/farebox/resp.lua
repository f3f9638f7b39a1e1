-- Redis' protocol (RESP 2) over anything with `send` and `receive`: nginx's sockets, and the blocking ones of a
-- worker that is ending.

local byte = string.byte
local concat = table.concat
local select = select
local sub = string.sub
local tonumber = tonumber
local tostring = tostring

local _M = {}


-- The bytes of one command.
function _M.command(...)
    local count = select("#", ...)
    local parts = { "*" .. count .. "\r\n" }
    for i = 1, count do
        local text = tostring((select(i, ...)))
        parts[i + 1] = "$" .. #text .. "\r\n" .. text .. "\r\n"
    end
    return concat(parts)
end


-- Reads one answer: text, number, list, or nil for Redis' nil. After `false` comes Redis' own error, after nil the
-- socket's.
function _M.answer(socket)
    local line, err = socket:receive("*l")
    if not line then
        return nil, err
    end
    local kind, rest = byte(line), sub(line, 2)
    if kind == 43 then -- +
        return rest
    elseif kind == 58 then -- :
        return tonumber(rest)
    elseif kind == 45 then -- -
        return false, rest
    elseif kind == 36 then -- $
        local size = tonumber(rest)
        if size < 0 then
            return nil
        end
        local text
        text, err = socket:receive(size + 2)
        return text and sub(text, 1, size), err
    elseif kind == 42 then -- *
        local list = {}
        for i = 1, tonumber(rest) do
            local one
            one, err = _M.answer(socket)
            if err then
                return nil, err
            end
            list[i] = one
        end
        return list
    end
    return nil, "Redis answered with what is no RESP"
end


return _M
