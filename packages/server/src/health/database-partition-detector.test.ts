/** Tests when clients are asked to leave a server that has lost its database, and when not. */
import { hasRedis, startRedis, type Redis as RedisServer } from '@chorus/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis } from '../redis/open-redis.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { DatabasePartitionDetector, partitionDetectorTimings } from './database-partition-detector.ts'
import { PeerRegistry } from './peer-registry.ts'

/**
 * Sets up a detector with a database, a Redis and a registry of servers that the test controls.
 * There is at most one other server.
 */
function setUp() {
  const clock = new ManualClock()
  let isWell = true
  let other: { hasDatabase: boolean; atMs: number } | undefined
  let isRedisAway = false
  let moves = 0
  const watch = new DatabasePartitionDetector({
    peerRegistry: {
      report: () =>
        isRedisAway
          ? Promise.reject(new Error('away'))
          : Promise.resolve(
              other === undefined
                ? []
                : [{ boot: 'b', hasDatabase: other.hasDatabase, ageMs: clock.nowMs() - other.atMs }],
            ),
      leave: () => Promise.resolve(),
    },
    hasDatabase: () => Promise.resolve(isWell),
    askToMove: () => {
      moves += 1
    },
    clock,
  })
  return {
    watch,
    clock,
    moves: () => moves,
    lose: (isLost = true) => {
      isWell = !isLost
    },
    /** Writes the registry entry of the other server once, with the current time, or removes it. */
    hear: (hasDatabase: boolean | undefined) => {
      other = hasDatabase === undefined ? undefined : { hasDatabase, atMs: clock.nowMs() }
    },
    loseRedis: () => {
      isRedisAway = true
    },
    /**
     * Advances the clock. If `otherHas` is given, the other server refreshes its entry all the
     * time.
     */
    pass: async (ms: number, otherHas?: boolean) => {
      for (let passedMs = 0; passedMs < ms; passedMs += 250) {
        clock.advance(250)
        if (otherHas !== undefined) other = { hasDatabase: otherHas, atMs: clock.nowMs() }
        for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve))
      }
    },
  }
}

describe('a server that has lost its database', () => {
  it('a server without its database asks clients to move to a healthy server', async () => {
    const { lose, pass, moves, watch, clock } = setUp()
    await pass(10_000, true)
    expect(moves()).toBe(0)
    lose()
    await pass(partitionDetectorTimings.patienceMs - 500, true)
    expect(moves()).toBe(0)
    await pass(3_000, true)
    expect(moves()).toBe(1)
    await pass(20_000, true)
    expect(moves()).toBe(1)
    await pass(partitionDetectorTimings.repeatMs, true)
    expect(moves()).toBe(2)
    lose(false)
    await pass(2_000, true)
    lose()
    await pass(partitionDetectorTimings.patienceMs + 3_000, true)
    expect(moves()).toBe(3)
    await watch.stop()
    expect(clock.pendingCount).toBe(0)
  })

  it('asks no clients to move unless another server is known to be healthy', async () => {
    const alone = setUp()
    alone.lose()
    await alone.pass(60_000)
    expect(alone.moves()).toBe(0)

    const all = setUp()
    all.lose()
    await all.pass(60_000, false)
    expect(all.moves()).toBe(0)

    // The last report of the other server says that it was healthy. But this report is old by now,
    // because no newer one followed.
    const stale = setUp()
    await stale.pass(3_000, true)
    stale.lose()
    await stale.pass(2_000)
    stale.hear(true)
    await stale.pass(60_000)
    expect(stale.moves()).toBe(0)

    const redisAway = setUp()
    redisAway.lose()
    redisAway.loseRedis()
    await redisAway.pass(60_000, true)
    expect(redisAway.moves()).toBe(0)
  })
})

describe.skipIf(!hasRedis())('the registry of servers in Redis', () => {
  const ends: (() => unknown)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  async function join(server: RedisServer, boot: string, namespace = 'chorus'): Promise<PeerRegistry> {
    const redis = await openRedis({
      url: server.url,
      variable: 'REDIS_URL',
      namespace,
      allowInsecure: true,
      logger: createLogger('silent', 'test'),
      clock: systemClock,
    })
    ends.push(() => redis.close())
    return new PeerRegistry(redis, boot)
  }

  it('the registry returns other servers, removes stopping ones, and expires old entries', async () => {
    const server = await startRedis()
    ends.push(() => server.stop())
    const [ada, bob] = [await join(server, 'a'), await join(server, 'b')]
    expect(await ada.report(true)).toEqual([])
    const [seen] = await bob.report(false)
    expect(seen).toMatchObject({ boot: 'a', hasDatabase: true })
    expect(seen?.ageMs).toBeLessThan(10_000)
    expect(await ada.report(true)).toMatchObject([{ boot: 'b', hasDatabase: false }])
    expect(Number(await server.command('PTTL', 'chorus:servers'))).toBeGreaterThan(0)

    // Invalid, future and outdated entries are ignored and removed.
    await server.command('HSET', 'chorus:servers', 'x', 'nonsense', 'y', '99999999999999 1', 'z', '1000 1')
    expect((await ada.report(true)).map(({ boot }) => boot)).toEqual(['b'])
    expect(await server.command('HLEN', 'chorus:servers')).toBe(2)
    await bob.leave()
    expect(await ada.report(true)).toEqual([])
  })

  it('[BUS2] the registry lists no servers of another installation on the same Redis', async () => {
    const server = await startRedis()
    ends.push(() => server.stop())
    const [one, two] = [await join(server, 'a', 'chorus:one'), await join(server, 'b', 'chorus:two')]
    await one.report(false)
    await two.report(true)
    expect(await one.report(false)).toEqual([])
  })
})
