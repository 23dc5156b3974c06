-- A peer left a swarm. KEYS 1 to 4: this node's peers of the swarm, by kind. ARGV 1: peer id.
for kind = 1, 4 do redis.call('HDEL', KEYS[kind], ARGV[1]) end
return 0
