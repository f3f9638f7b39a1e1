-- The list of what a request takes (`terms.wants`), kept for an organization while it would come out the same: most
-- requests follow one of the same organization, in the same window, with the same weight.
--
-- A changed plan or consumer is another table in APISIX, so comparing tables tells whether anything changed. Whoever
-- gets a list must not change what it says.

local terms = require("apisix.plugins.farebox.terms")

local huge = math.huge
local max  = math.max
local min  = math.min

local MOST = 4000

local _M = {}

local kept, count = {}, 0


-- From and until when (excluded) a list holds, Unix milliseconds: until a window ends or a period begins or ends.
local function validity(wants, own, now)
    local from, ends = -huge, huge
    for i = 1, #wants do
        from, ends = max(from, wants[i].start), min(ends, wants[i].ends)
    end
    local periods = own and own.periods
    for i = 1, periods and #periods or 0 do
        local start = periods[i].start
        if start > now then
            ends = min(ends, start)
        end
    end
    return from, ends
end


-- What `terms.wants` returns.
function _M.wants(organization, own, plan, environment, units, now)
    local one = kept[organization]
    if one and one.own == own and one.plan == plan and one.environment == environment and one.units == units
        and now >= one.from and now < one.ends
    then
        return one.wants
    end
    local wants = terms.wants(organization, own, plan, environment, units, now)
    if not one then
        if count >= MOST then
            kept, count = {}, 0
        end
        count = count + 1
    end
    local from, ends = validity(wants, own, now)
    kept[organization] = {
        wants = wants, own = own, plan = plan, environment = environment, units = units, from = from, ends = ends,
    }
    return wants
end


return _M
