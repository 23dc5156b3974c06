-- A node lives for some time. KEYS 1: all nodes, scored with the time until which they live, in ms of this server.
-- ARGV 1: the node. 2: for how long, ms. 3: '1' if it has said so before.
-- Gives the nodes that live, or a number if this one was taken for dead.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if ARGV[3] == '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], 86400000)
return redis.call('ZRANGE', KEYS[1], 0, -1)
