-- The forms of what a node enforces, and their hashes: `farebox_contract/node_status.py` is the specification, and
-- `node_status_vectors.json` beside it holds both sides to it.

local ffi = require("ffi")
local C   = ffi.C

local bit    = bit
local byte   = string.byte
local concat = table.concat
local find   = string.find
local floor  = math.floor
local format = string.format
local gsub   = string.gsub
local ipairs = ipairs
local pairs  = pairs
local sort   = table.sort
local sub    = string.sub
local next   = next
local type   = type
local tostring = tostring

ffi.cdef[[
unsigned char *SHA256(const unsigned char *data, size_t count, unsigned char *digest);
]]

local OURS  = "^farebox%-"
local SHORT = {
    ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}

local raw = ffi.new("unsigned char[32]")

local _M = { BUCKETS = 256 }


local function escaped(one)
    return SHORT[one] or format("\\u%04x", byte(one))
end


local function quoted(text)
    if find(text, '[%z\1-\31"\\]') then
        text = gsub(text, '[%z\1-\31"\\]', escaped)
    end
    return '"' .. text .. '"'
end


local encode

local function members(value, keep)
    local names = {}
    for name in pairs(value) do
        if not keep or keep(name, value[name]) then
            names[#names + 1] = tostring(name)
        end
    end
    sort(names)
    return names
end


local function object(value, keep)
    local names = members(value, keep)
    for index, name in ipairs(names) do
        names[index] = quoted(name) .. ":" .. encode(value[name])
    end
    return #names == 0 and "[]" or "{" .. concat(names, ",") .. "}"
end


-- A value as JSON with its members sorted. An empty table is `[]`, whatever it was.
function encode(value)
    local kind = type(value)
    if kind == "string" then
        return quoted(value)
    elseif kind == "number" then
        return value == floor(value) and format("%.0f", value) or format("%.14g", value)
    elseif kind == "boolean" then
        return value and "true" or "false"
    elseif kind ~= "table" then
        return "null"
    elseif next(value) == nil then
        return "[]"
    elseif value[1] == nil then
        return object(value)
    end
    local items = {}
    for index = 1, #value do
        items[index] = encode(value[index])
    end
    return "[" .. concat(items, ",") .. "]"
end


-- APISIX keeps notes of its own in a plugin's configuration, under names with an underscore; `_meta` may be said by
-- whoever wrote it.
local function of_conf(name, value)
    return sub(name, 1, 1) ~= "_" or name == "_meta" and next(value) ~= nil
end


local function plugins(value, keep)
    local names = members(value.plugins or {}, keep)
    for index, name in ipairs(names) do
        names[index] = quoted(name) .. ":" .. object(value.plugins[name], of_conf)
    end
    return #names == 0 and "[]" or "{" .. concat(names, ",") .. "}"
end


local function finish(...)
    return (gsub("[" .. concat({ ... }, ",") .. "]", "{}", "[]"))
end


local function sorted(list)
    local copy = {}
    for index = 1, #(list or {}) do
        copy[index] = list[index]
    end
    sort(copy)
    return encode(copy)
end


-- The text of the form of a consumer, or, if the name says so, of a credential.
function _M.item(name, value)
    if find(name, "/", 1, true) then
        return finish('"credential"', quoted(name), plugins(value))
    end
    return finish('"consumer"', quoted(name), quoted(tostring(value.group_id or "")), plugins(value))
end


function _M.group(name, value)
    return finish('"group"', quoted(name), plugins(value))
end


function _M.route(name, value)
    return finish('"route"', quoted(name), sorted(value.uris or { value.uri or "" }), sorted(value.methods),
                  sorted(value.hosts or { value.host }), quoted(tostring(value.upstream_id or "")),
                  encode(members(value.plugins or {})),
                  plugins(value, function(plugin) return find(plugin, OURS) end))
end


-- Writes the hash of a text as four words of 32 bits.
function _M.hash_into(words, text)
    C.SHA256(text, #text, raw)
    ffi.copy(words, raw, 16)
end


local own = ffi.new("int32_t[4]")

-- Four words as 32 hexadecimal digits.
function _M.shown(words)
    local tohex, bswap = bit.tohex, bit.bswap
    return tohex(bswap(words[0])) .. tohex(bswap(words[1])) .. tohex(bswap(words[2])) .. tohex(bswap(words[3]))
end


-- The hash of a text as 32 hexadecimal digits.
function _M.hash(text)
    _M.hash_into(own, text)
    return _M.shown(own)
end


function _M.bucket(name)
    return ngx.crc32_long(name) % _M.BUCKETS
end


return _M
