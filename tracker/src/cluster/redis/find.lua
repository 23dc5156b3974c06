-- At which other node a peer is. KEYS: four of each other node, by kind. ARGV 1: peer id.
-- Gives the number of the node, from 1, and the entry; an empty list if it is at none.
for n = 1, #KEYS do
    local entry = redis.call('HGET', KEYS[n], ARGV[1])
    if entry then return {math.floor((n - 1) / 4) + 1, entry} end
end
return {}
