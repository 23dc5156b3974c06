-- A peer is in a swarm, or still is; gives who else is there.
--
-- KEYS 1 to 4: this node's peers of the swarm, by kind. 5: how often the torrent was completed. From 6 on: the same four
-- of each other node that lives.
-- ARGV 1: peer id. 2: entry (flags, digest of the key). 3: kind, from 1. 4: lifetime of the entries, ms. 5: '1' if just
-- completed. 6: longest life of the completed count, ms: it lives for an hour for each download. 7: seed. 8, 9 and 10, 11: two draws, kinds as '0110' and how many.
--
-- Gives {-1} if another node has the peer id; else {number of the node that lost it or 0, completed count, peers by kind
-- (4 numbers), first draw, second draw}; a draw is a flat list of number of the node, peer id, entry.
local FIRST = 6

local known = false
for kind = 1, 4 do
    if redis.call('HEXISTS', KEYS[kind], ARGV[1]) == 1 then known = true end
end
local superseded = 0
if not known then
    for n = FIRST, #KEYS do
        local entry = redis.call('HGET', KEYS[n], ARGV[1])
        if entry then
            local key = string.sub(entry, 2)
            if key == '' or key ~= string.sub(ARGV[2], 2) then return {-1} end
            redis.call('HDEL', KEYS[n], ARGV[1])
            superseded = math.floor((n - FIRST) / 4) + 1
        end
    end
end

local kind = tonumber(ARGV[3])
if known then
    for other = 1, 4 do
        if other ~= kind then redis.call('HDEL', KEYS[other], ARGV[1]) end
    end
end
redis.call('HSET', KEYS[kind], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[kind], ARGV[4])

local completed
if ARGV[5] == '1' then
    completed = redis.call('INCR', KEYS[5])
    -- What somebody makes up is completed once, and is soon gone.
    redis.call('PEXPIRE', KEYS[5], math.min(tonumber(ARGV[6]), completed * 3600000))
else
    completed = tonumber(redis.call('GET', KEYS[5]) or 0)
end

local sizes, counts = {}, {0, 0, 0, 0}
for n = FIRST, #KEYS do
    sizes[n] = redis.call('HLEN', KEYS[n])
    local of = (n - FIRST) % 4 + 1
    counts[of] = counts[of] + sizes[n]
end

math.randomseed(tonumber(ARGV[7]))

-- Each peer of these kinds is as likely as any other, wherever it is.
local function draw(kinds, count)
    local left, total = {}, 0
    for n = FIRST, #KEYS do
        local of = (n - FIRST) % 4 + 1
        if string.sub(kinds, of, of) == '1' then
            left[n] = sizes[n]
            total = total + sizes[n]
        end
    end
    local picks = {}
    while count > 0 and total > 0 do
        local place = math.random(total)
        for n = FIRST, #KEYS do
            if left[n] then
                if place <= left[n] then
                    picks[n] = (picks[n] or 0) + 1
                    left[n] = left[n] - 1
                    break
                end
                place = place - left[n]
            end
        end
        total, count = total - 1, count - 1
    end
    local drawn = {}
    for n = FIRST, #KEYS do
        if picks[n] then
            local fields = redis.call('HRANDFIELD', KEYS[n], picks[n], 'WITHVALUES')
            for at = 1, #fields, 2 do
                drawn[#drawn + 1] = math.floor((n - FIRST) / 4) + 1
                drawn[#drawn + 1] = fields[at]
                drawn[#drawn + 1] = fields[at + 1]
            end
        end
    end
    return drawn
end

return {
    superseded, completed, counts[1], counts[2], counts[3], counts[4],
    draw(ARGV[8], tonumber(ARGV[9])), draw(ARGV[10], tonumber(ARGV[11])),
}
