-- The rule of gcra.py, for a batch of requests in the order they came in; see there for the units and why nothing is rounded.
--
-- KEYS:  the bucket of each request; a key may come again.
-- ARGV:  the time in microseconds, or an empty text for the time of this Redis, which all gateways share; then the limit
--        of each request.
-- Gives: for each request 1 or 0 (let through or not) and the bucket's level.
local REQUEST_UNITS = 60000000

local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end

local answers = {}
for i, key in ipairs(KEYS) do
    local limit = tonumber(ARGV[i + 1])
    local full = limit * REQUEST_UNITS
    local level = 0
    local held = redis.call('GET', key)
    if held then
        local held_level, held_at = string.match(held, '^(%d+) (%d+)$')
        if held_level then
            local elapsed = math.max(0, now - tonumber(held_at))
            -- A full bucket is empty after a minute: past that the product would be inexact, and is not needed.
            level = math.max(0, math.min(tonumber(held_level), full) - math.min(elapsed, REQUEST_UNITS) * limit)
        end
    end
    local allowed = 0
    if level + REQUEST_UNITS <= full then
        allowed = 1
        level = level + REQUEST_UNITS
        -- Kept until it would be empty, and a second more. %.0f because Lua writes large numbers as 6e+15.
        local ttl_ms = math.ceil(level / limit / 1000) + 1000
        redis.call('SET', key, string.format('%.0f %.0f', level, now), 'PX', string.format('%.0f', ttl_ms))
    end
    answers[2 * i - 1] = allowed
    answers[2 * i] = level
end
return answers
