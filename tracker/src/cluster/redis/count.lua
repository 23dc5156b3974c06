-- How many are in a swarm at other nodes. KEYS 1: the completed count. From 2 on: four of each other node, by kind.
-- Gives the completed count, and peers by kind (4 numbers).
local counts = {0, 0, 0, 0}
for n = 2, #KEYS do
    local of = (n - 2) % 4 + 1
    counts[of] = counts[of] + redis.call('HLEN', KEYS[n])
end
return {tonumber(redis.call('GET', KEYS[1]) or 0), counts[1], counts[2], counts[3], counts[4]}
