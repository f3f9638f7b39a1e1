-- What Redis does for us in one step each; the embedded edge's scripts do the same on the same keys, so nodes of
-- both kinds may share one Redis. The contract is `farebox_contract/counters.py`.

local _M = { GENERATION_KEY = "farebox:counters:generation" }

-- Checks every counter and takes from all or none. KEYS: the marker, then counters. ARGV: whether the marker is
-- needed, then limit (-1: none), needed units, largest slice and expiry for each. Hands out, beside what is
-- needed, a sixteenth of what is left at most, so slices shrink to the single request near the end.
-- Returns words: `taken`, generation, then slice and count of each; or `refused`, generation, the index of the
-- counter that refuses (from 1) and its count; or `unseeded`. One text is read with fewer calls than a list.
_M.TAKE = [[
local generation = redis.call('GET', KEYS[1])
if not generation then
  if ARGV[1] == '1' then return 'unseeded' end
  generation = '-'
end
local n = #KEYS - 1
local used = {}
for i = 1, n do
  local limit, need = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1])
  used[i] = tonumber(redis.call('GET', KEYS[i + 1]) or '0')
  if limit >= 0 and used[i] + need > limit then
    return string.format('refused %s %d %.0f', generation, i, used[i])
  end
end
local out = {'taken', generation}
for i = 1, n do
  local limit, need, most = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local slice = most
  if limit >= 0 then slice = math.min(most, math.floor((limit - used[i]) / 16)) end
  if slice < need then slice = need end
  redis.call('INCRBY', KEYS[i + 1], string.format('%.0f', slice))
  redis.call('PEXPIREAT', KEYS[i + 1], ARGV[4 * i + 1])
  out[#out + 1] = string.format('%.0f %.0f', slice, used[i] + slice)
end
return table.concat(out, ' ')
]]

-- Corrects counters and tells the generation. KEYS: the marker, then counters. ARGV: for each the generation
-- that the units belong to and the units (negative: brought back). Another generation's units are void.
_M.CORRECT = [[
local generation = redis.call('GET', KEYS[1]) or '-'
for i = 2, #KEYS do
  if ARGV[2 * i - 3] == generation then
    local used = tonumber(redis.call('GET', KEYS[i]) or '-1')
    if used >= 0 then
      local after = math.max(0, used + tonumber(ARGV[2 * i - 2]))
      redis.call('SET', KEYS[i], string.format('%.0f', after), 'KEEPTTL')
    end
  end
end
return generation
]]


return _M
