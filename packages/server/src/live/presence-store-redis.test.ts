/**
 * Tests presence across servers over a real Redis that dies, loses its data, or belongs to a
 * cluster.
 */
import { hasRedis, type Redis as RedisServer, startRedis, startRedisCluster } from '@chorus/testkit'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { LocalBusHub } from '../bus/bus-local.ts'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { FastClock } from '../support/testing/fast-clock.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { describePresence } from './presence.suite.ts'
import { type Device, PresenceServer } from './testing/presence-servers.ts'
import { presenceStoreLimits } from './presence-partition.ts'
import { RedisPresenceStore } from './presence-store-redis.ts'

/**
 * Fast clock of the Chorus servers. The clock of Redis is real, so no lease ends by itself within a
 * test.
 */
const clock = new FastClock(5)
/**
 * Slower clock for tests that expect *no* "offline" while Redis returns, because reconnecting takes
 * real time.
 */
const slowClock = new FastClock(2)
const waiting = { timeout: 20_000, interval: 20 }
const partitions = Array.from({ length: presenceStoreLimits.partitions }, (_, index) => `chorus:{presence-${index}}`)

describe.skipIf(!hasRedis())('presence of several servers over Redis', { timeout: 60_000 }, () => {
  let server: RedisServer
  let opened: PresenceServer[] = []
  let links: Redis[] = []

  const open = async (count: number, url = server.url, pace = clock): Promise<PresenceServer[]> => {
    const hub = new LocalBusHub()
    const logger = createLogger('silent', 'test')
    links = await Promise.all(
      Array.from({ length: count }, () =>
        openRedis({ url, variable: 'REDIS_URL', allowInsecure: false, logger, clock: systemClock }),
      ),
    )
    opened = links.map((redis) => new PresenceServer(pace, hub, redis, randomUUID()))
    return opened
  }
  /**
   * Marks the data in Redis as complete for a long time, so that a user without a lease counts as
   * offline.
   */
  const settle = async (): Promise<void> => {
    for (const partition of partitions) await server.command('SET', `${partition}:whole`, 1)
  }
  const openTwo = async (pace = clock): Promise<[PresenceServer, PresenceServer]> => {
    await settle()
    const [here, there] = await open(2, server.url, pace)
    return [here!, there!]
  }
  const statusesOf = ({ told }: Device): string[] => told.map(({ status }) => status)
  const startWatching = async (here: PresenceServer, there: PresenceServer) => {
    const bob = randomUUID()
    const ada = here.arrive(randomUUID())
    const bobs = there.arrive(bob)
    await vi.waitFor(async () => expect(await here.watch(ada, [bob])).toEqual(['online']), waiting)
    ada.told.length = 0
    return { ada, bob, bobs }
  }
  const leasesOf = async (boot: string | undefined): Promise<{ partition: string; lease: string }[]> => {
    const found: { partition: string; lease: string }[] = []
    for (const partition of partitions)
      for (const lease of (await server.command('ZRANGE', `${partition}:leases`, 0, -1)) as string[])
        if (boot === undefined || lease.startsWith(boot)) found.push({ partition, lease })
    return found
  }

  beforeAll(async () => {
    server = await startRedis()
  })
  afterEach(async () => {
    await Promise.all(opened.map(({ presences }) => presences.stop()))
    await Promise.all(links.map((link) => link.close()))
  })
  afterAll(() => server.remove())

  describePresence('across servers', { clock, open: () => openTwo() })

  it('[PRES1] reports users of a dead server as offline, with the time it was last alive', async () => {
    const [here, there] = await openTwo()
    const { ada, bob } = await startWatching(here, there)
    // Simulates a server that dies: its leases end because they are no longer refreshed.
    await there.presenceStore?.stop()
    const agoMs = 1_000
    for (const { partition, lease } of await leasesOf(undefined))
      await server.command('ZADD', `${partition}:leases`, 'XX', Date.now() - agoMs, lease)
    await vi.waitFor(() => expect(statusesOf(ada)).toEqual(['offline']), waiting)
    const seenAgoMs = Date.now() - Date.parse(ada.told[0]?.lastSeen ?? '')
    expect(seenAgoMs).toBeGreaterThanOrEqual(presenceStoreLimits.leaseMs)
    expect(seenAgoMs).toBeLessThan(presenceStoreLimits.leaseMs + 20_000)
    expect(here.saved.map(({ user }) => user)).toEqual([bob])
  })

  it('[PRES1] never revives an ended lease; writes present users under a new one', async () => {
    const [here, there] = await openTwo()
    const { ada, bobs } = await startWatching(here, there)
    const cleo = randomUUID()
    const cleos = there.arrive(cleo)
    await vi.waitFor(
      async () => expect(await here.watch(ada, [bobs.user, cleo])).toEqual(['online', 'online']),
      waiting,
    )
    const before = await leasesOf(undefined)
    for (const { partition, lease } of before) await server.command('ZADD', `${partition}:leases`, 'XX', 1, lease)
    there.depart(cleos)
    await vi.waitFor(() => expect(there.leases.filter((cause) => cause === 'lost').length).toBeGreaterThan(0), waiting)
    await vi.waitFor(
      async () => expect(await here.watch(ada, [bobs.user, cleo])).toEqual(['online', 'offline']),
      waiting,
    )
    const after = await leasesOf(undefined)
    expect(after.map(({ lease }) => lease)).not.toEqual(before.map(({ lease }) => lease))
  })

  it('[PRES1] presence is unknown while Redis is unavailable, and correct afterwards', async () => {
    const mine = await startRedis()
    try {
      for (const partition of partitions) await mine.command('SET', `${partition}:whole`, 1)
      const [here, there] = (await open(2, mine.url, slowClock)) as [PresenceServer, PresenceServer]
      const { ada, bob } = await startWatching(here, there)
      const local = here.arrive(randomUUID())
      await here.watch(ada, [bob, local.user, 'nobody'])
      await mine.kill9()
      await vi.waitFor(() => expect(statusesOf(ada)).toEqual(['unknown', 'unknown']), waiting)
      expect(await here.watch(ada, [bob, local.user, 'nobody'])).toEqual(['unknown', 'online', 'unknown'])
      // A user connects and leaves while Redis is unavailable.
      const cleo = randomUUID()
      const cleos = there.arrive(cleo)
      there.depart(cleos)
      await mine.start({ isEmpty: true })
      await vi.waitFor(() => expect(ada.told.filter(({ user }) => user === bob).at(-1)?.status).toBe('online'), waiting)
      await vi.waitFor(
        () => expect(ada.told.filter(({ user }) => user === 'nobody').at(-1)?.status).toBe('offline'),
        waiting,
      )
      await vi.waitFor(async () => expect(await here.watch(ada, [bob, cleo])).toEqual(['online', 'offline']), waiting)
      expect(ada.told.filter(({ user }) => user !== 'nobody').map(({ status }) => status)).not.toContain('offline')
    } finally {
      await mine.remove()
    }
  })

  it('[PRES1] notices an emptied Redis without a reconnect, and reports no user offline', async () => {
    const [here, there] = await openTwo(slowClock)
    const { ada, bob } = await startWatching(here, there)
    await server.command('FLUSHALL')
    await vi.waitFor(() => expect(there.leases).toContain('lost'), waiting)
    await vi.waitFor(async () => expect((await here.presences.ask([bob])).get(bob)?.status).toBe('online'), waiting)
    expect(statusesOf(ada)).not.toContain('offline')
  })

  it('[PRES1] takes leases less often when Redis keeps evicting them', async () => {
    const hand = new ManualClock()
    let taken = 0
    // This Redis grants new leases, but evicts them before their users are written.
    const evicting: Redis = {
      isCluster: false,
      keyOf: (name) => name,
      problem: () => undefined,
      command: () => Promise.resolve(null),
      script: (_script, _keys, args) => Promise.resolve(args[1] === 'new' ? [1, 60_000] : [0]),
      onReconnect: () => undefined,
      close: () => Promise.resolve(),
    }
    const presenceStore = new RedisPresenceStore({
      redis: evicting,
      boot: 'boot',
      clock: hand,
      now: () => new Date(0),
      subscribe: () => Promise.resolve(),
      unsubscribe: () => undefined,
      hint: () => undefined,
      onLost: () => undefined,
      observer: { leaseTaken: () => void taken++, unreachable: () => undefined },
    })
    const pass = async (ms: number): Promise<void> => {
      for (let at = 0; at < ms; at += 10) {
        hand.advance(10)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    for (let count = 0; count < 100; count++) presenceStore.report(randomUUID(), 'online')
    await pass(10_000)
    // Each partition takes six leases in the first three seconds, then one every 1.5 to 3 s: at
    // most a dozen.
    expect(taken).toBeLessThanOrEqual(presenceStoreLimits.partitions * 12)
    expect(taken).toBeGreaterThan(presenceStoreLimits.partitions)
    await presenceStore.stop()
  })

  it('[PRES1] takes a new lease after a lost connection, and reports no user offline', async () => {
    const [here, there] = await openTwo(slowClock)
    const { ada } = await startWatching(here, there)
    await server.command('CLIENT', 'KILL', 'TYPE', 'normal')
    await vi.waitFor(() => expect(there.leases).toContain('doubt'), waiting)
    // Old leases are ended only after all users were written under the new ones.
    await vi.waitFor(async () => {
      const leases = [...(await leasesOf(here.boot)), ...(await leasesOf(there.boot))]
      expect(leases.length).toBe(2 * partitions.length)
    }, waiting)
    const cleo = there.arrive(randomUUID())
    await vi.waitFor(
      async () => expect(await here.watch(ada, [...ada.watched.keys(), cleo.user])).toEqual(['online', 'online']),
      waiting,
    )
    expect(statusesOf(ada)).not.toContain('offline')
  })

  it('[PRES1] reads the presence of users again, and so recovers from a lost hint', async () => {
    const [here, there] = await openTwo()
    const ada = here.arrive(randomUUID())
    const bob = randomUUID()
    expect(await here.watch(ada, [bob])).toEqual(['offline'])
    there.losesHints = true
    there.arrive(bob)
    await vi.waitFor(() => expect(statusesOf(ada)).toEqual(['online']), waiting)
    expect(there.hints).toBe(1)
  })

  it('[PRES1] writes the presence of a user again that Redis has lost', async () => {
    const [here, there] = await openTwo()
    const { ada, bob } = await startWatching(here, there)
    for (const partition of partitions) await server.command('DEL', `${partition}:${bob}`)
    await vi.waitFor(() => expect(statusesOf(ada).at(-1)).toBe('offline'), waiting)
    await vi.waitFor(() => expect(statusesOf(ada).at(-1)).toBe('online'), waiting)
    expect(there.leases.filter((cause) => cause !== 'start')).toEqual([])
  })

  it('[PRES2, LIM1] writes and reads the presence of many users with few scripts', async () => {
    const [here, there] = await openTwo()
    const count = 1_000
    const users = Array.from({ length: count }, () => randomUUID())
    const before = there.scripts
    for (const user of users) there.arrive(user)
    await vi.waitFor(() => expect(there.hints).toBe(count), waiting)
    // Per partition: one script for the first user and one for all further users, plus the
    // refreshes of the lease.
    expect(there.scripts - before).toBeLessThan(count / 2)
    const watchers = Array.from({ length: 50 }, () => here.arrive(randomUUID()))
    const readsBefore = here.scripts
    await Promise.all(watchers.map((watcher) => here.watch(watcher, users.slice(0, 100))))
    for (const { watched } of watchers) expect(new Set(watched.values())).toEqual(new Set(['online']))
    expect(here.scripts - readsBefore).toBeLessThan(count / 2)
  })

  it('[PRES1] when a cluster master is lost, only its users become unknown', async () => {
    const cluster = await startRedisCluster({ masters: 3 })
    try {
      const [here, there] = (await open(2, cluster.url, slowClock)) as [PresenceServer, PresenceServer]
      const users = Array.from({ length: 60 }, () => randomUUID())
      for (const user of users) there.arrive(user)
      const ada = here.arrive(randomUUID())
      await vi.waitFor(async () => expect(new Set(await here.watch(ada, users))).toEqual(new Set(['online'])), waiting)
      await cluster.masters[2]!.kill9()
      await vi.waitFor(() => expect(statusesOf(ada)).toContain('unknown'), waiting)
      const statuses = new Set(ada.watched.values())
      expect(statuses).toEqual(new Set(['online', 'unknown']))
      await cluster.masters[2]!.start()
      await vi.waitFor(() => expect(new Set(ada.watched.values())).toEqual(new Set(['online'])), {
        ...waiting,
        timeout: 40_000,
      })
      expect(statusesOf(ada)).not.toContain('offline')
    } finally {
      await cluster.remove()
    }
  })
})
