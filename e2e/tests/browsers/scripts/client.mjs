// Two of bittorrent-tracker's clients with WebRTC against one tracker, as they come. Each step says one line of JSON; the
// last line is "done". What is not as it must be ends it.
import assert from 'node:assert/strict'
import Client from 'bittorrent-tracker/client'

const [url, infoHash] = process.argv.slice(1)
const say = (what, more = {}) => console.log(JSON.stringify({ what, ...more }))
const fail = (error) => { say('failed', { error: String(error) }); process.exit(1) }
process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)
process.stdin.on('end', () => process.exit(1)).resume()
setTimeout(() => fail('not all was seen within 30 s'), 30_000)

const idOf = (n) => `-TS0000-${String(n).padStart(12, '0')}`
const client = (n, left) => {
  const made = new Client({
    infoHash,
    peerId: Buffer.from(idOf(n)),
    announce: [url],
    port: 6881,
    getAnnounceOpts: () => ({ left }),
    rtcConfig: { iceServers: [] }
  })
  made.on('warning', fail)
  made.on('error', fail)
  return made
}
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve))
// Does something that the tracker replies to, and gives what it says of the swarm.
const told = async (who, act) => {
  const update = once(who, 'update')
  act()
  const { complete, incomplete, interval } = await update
  return { complete, incomplete, interval }
}

const seeder = client(1, 0)
let swarm = await told(seeder, () => seeder.start())
say('announced', swarm)
assert.deepEqual([swarm.complete, swarm.incomplete], [1, 0])
assert.ok(swarm.interval > 0)

// Offers come with the leecher's announce; the seeder answers one.
const leecher = client(2, 1000)
const peers = Promise.all([once(seeder, 'peer'), once(leecher, 'peer')])
swarm = await told(leecher, () => leecher.start())
say('announced', swarm)
assert.deepEqual([swarm.complete, swarm.incomplete], [1, 1])
const [atSeeder, atLeecher] = await peers
say('met', { atSeeder: atSeeder.id, atLeecher: atLeecher.id })
assert.equal(Buffer.from(atSeeder.id, 'hex').toString(), idOf(2))
assert.equal(Buffer.from(atLeecher.id, 'hex').toString(), idOf(1))
const heard = once(atSeeder, 'data')
if (!atLeecher.connected) await once(atLeecher, 'connect')
atLeecher.write('hello')
assert.equal(Buffer.from(await heard).toString(), 'hello')

const scraped = once(leecher, 'scrape')
leecher.scrape()
const counts = await scraped
say('scraped', counts)
assert.deepEqual([counts.complete, counts.incomplete], [1, 1])
const nobody = 'ff'.repeat(20)
const several = await new Promise((resolve, reject) => {
  const done = (error, counts) => error ? reject(error) : resolve(counts)
  Client.scrape({ announce: url, infoHash: [infoHash, nobody] }, done)
})
say('scraped two', several)
assert.deepEqual([several[infoHash].complete, several[nobody].complete], [1, 0])

swarm = await told(leecher, () => leecher.complete())
say('completed', swarm)
assert.deepEqual([swarm.complete, swarm.incomplete], [2, 0])
swarm = await told(leecher, () => leecher.stop())
say('stopped', swarm)
assert.equal(swarm.complete, 1)
say('done')
process.exit(0)
