/** Tests live values across servers over a real Redis. */
import { randomUUID } from 'node:crypto'
import type { Json } from '@chorus/protocol'
import { hasRedis, type Redis as RedisServer, startRedis } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { LocalBusHub } from '../bus/bus-local.ts'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { FastClock } from '../support/testing/fast-clock.ts'
import { liveStoreLimits, RedisLiveStore } from './live-store-redis.ts'
import type { SharedValue } from './live-store.ts'
import { describeLiveValues } from './live-values.suite.ts'
import { LiveServer } from './testing/live-servers.ts'

const clock = new FastClock(10)
const waiting = { timeout: 20_000, interval: 20 }

describe.skipIf(!hasRedis())('live values of several servers over Redis', () => {
  let server: RedisServer
  let link: Redis
  let store: RedisLiveStore

  beforeAll(async () => {
    server = await startRedis()
    const logger = createLogger('silent', 'test')
    link = await openRedis({ url: server.url, variable: 'REDIS_URL', allowInsecure: false, logger, clock: systemClock })
    store = new RedisLiveStore(link)
  })
  afterAll(async () => {
    await link.close()
    await server.remove()
  })

  const openTwo = (): readonly [LiveServer, LiveServer] => {
    const hub = new LocalBusHub()
    return [new LiveServer(clock, hub, store, 'one'), new LiveServer(clock, hub, store, 'two')]
  }
  const shared = (conversation: string, user: string, value: Json, order: number, lifeMs = 60_000): SharedValue => ({
    value: {
      conversation,
      key: 'location',
      user,
      value,
      at: '2026-01-01T00:00:00.000Z',
      expiresAt: '2026-01-01T00:01:00.000Z',
    },
    order,
    origin: 'one',
    lifeMs,
  })
  const kept = async (conversation: string): Promise<Json[]> =>
    (await store.read(conversation)).map(({ value }) => value.value)

  describeLiveValues('across servers', { clock, open: async () => openTwo() })

  it('[LIVE1] a server that opens a conversation lists the live values set before', async () => {
    const [here, there] = openTwo()
    const [conversation, ada, bob] = [randomUUID(), randomUUID(), randomUUID()]
    here.values.set(conversation, 'location', ada, [52.5, 13.4], 60_000)
    here.values.set(conversation, 'location', bob, 1, 60_000)
    await vi.waitFor(async () => expect(await there.values.read(conversation)).toHaveLength(2), waiting)
    here.values.set(conversation, 'location', bob, null, 1)
    await vi.waitFor(
      async () => expect(await there.values.read(conversation)).toMatchObject([{ user: ada, value: [52.5, 13.4] }]),
      waiting,
    )
    expect(there.values.list(conversation)).toEqual([])
    // An old value that was set at this server must not hide a newer value set at the other server.
    there.values.set(conversation, 'location', bob, 'old', 60_000)
    await vi.waitFor(async () => expect(await here.values.read(conversation)).toHaveLength(2), waiting)
    here.values.set(conversation, 'location', bob, 'new', 60_000)
    await vi.waitFor(
      async () => expect((await there.values.read(conversation)).find(({ user }) => user === bob)?.value).toBe('new'),
      waiting,
    )
  })

  it('[LIVE1] an older live value never replaces a newer one, even an ended one', async () => {
    const [conversation, ada] = [randomUUID(), randomUUID()]
    store.keep(conversation, [shared(conversation, ada, 'later', 2_000_000_000_000_002)])
    store.keep(conversation, [shared(conversation, ada, 'earlier', 2_000_000_000_000_001)])
    await vi.waitFor(async () => expect(await kept(conversation)).toEqual(['later']), waiting)
    store.keep(conversation, [shared(conversation, ada, null, 2_000_000_000_000_003, 0)])
    store.keep(conversation, [shared(conversation, ada, 'late', 2_000_000_000_000_002)])
    await vi.waitFor(async () => expect(await kept(conversation)).toEqual([null]), waiting)
  })

  it('[LIVE1, LIM1] live values in Redis expire, and their number is limited', async () => {
    const conversation = randomUUID()
    const { valuesPerConversationMax: most } = liveStoreLimits
    // The values that end first are evicted first.
    const many = Array.from({ length: most + 50 }, (_, index) =>
      shared(conversation, randomUUID(), index, index, 30_000 + index),
    )
    store.keep(conversation, many)
    await vi.waitFor(async () => expect(await kept(conversation)).toHaveLength(most), waiting)
    expect(Math.min(...((await kept(conversation)) as number[]))).toBe(50)
    expect(await server.command('PTTL', `chorus:live:{${conversation}}`)).toBeGreaterThan(0)
    const short = randomUUID()
    store.keep(short, [shared(short, randomUUID(), 1, 1, 1)])
    await vi.waitFor(async () => {
      expect(await server.command('EXISTS', `chorus:live:{${short}}`)).toBe(1)
      expect(await kept(short)).toEqual([])
    }, waiting)
  })

  it('[LIM3] limits the live values of one user in Redis, over all servers', async () => {
    const conversation = randomUUID()
    const [ada, bob] = [randomUUID(), randomUUID()]
    const most = liveStoreLimits.valuesPerUserMax
    const of = (user: string, index: number): SharedValue => {
      const { value, ...rest } = shared(conversation, user, index, index)
      return { ...rest, value: { ...value, key: `key${index}` } }
    }
    store.keep(conversation, [of(bob, 1)])
    for (let turn = 0; turn < 20; turn++)
      store.keep(
        conversation,
        Array.from({ length: 100 }, (_, index) => of(ada, 100 * turn + index)),
      )
    await vi.waitFor(async () => {
      const values = await kept(conversation)
      expect(values).toContain(1)
      expect(values).toContain(1_999)
      expect(values).toHaveLength(most + 1)
    }, waiting)
    expect(await server.command('HLEN', `chorus:live:{${conversation}}`)).toBe(most + 1)
    expect(await server.command('PTTL', `chorus:live:{${conversation}}:own`)).toBeGreaterThan(0)
  })

  it('[LIVE1] ignores invalid live values that other clients of Redis wrote', async () => {
    const conversation = randomUUID()
    const key = `chorus:live:{${conversation}}`
    const far = Date.now() + 60_000
    await server.command('HSET', key, `typing ${randomUUID()}`, `${far}|1|x|["2026-01-01T00:00:00.000Z"]`)
    await server.command('HSET', key, `Typing nobody`, `${far}|1|x|[1,2,3]`)
    expect(await store.read(conversation)).toEqual([])
    await server.command('HSET', key, `typing ${randomUUID()}`, 'nonsense')
    expect(await store.read(conversation)).toEqual([])
    const ada = randomUUID()
    await server.command('HSET', key, `location ${ada}`, 'nonsense')
    store.keep(conversation, [shared(conversation, ada, 'sense', 1)])
    await vi.waitFor(async () => expect(await kept(conversation)).toEqual(['sense']), waiting)
    await server.command('HSET', key, `typing ${randomUUID()}`, `${far}|1|x|{`)
    expect(await kept(conversation)).toEqual(['sense'])
  })

  it('[LIVE1] live values work on one server while Redis is unavailable', async () => {
    const mine = await startRedis()
    try {
      const logger = createLogger('silent', 'test')
      const redis = await openRedis({
        url: mine.url,
        variable: 'REDIS_URL',
        allowInsecure: false,
        logger,
        clock: systemClock,
      })
      const local = new LiveServer(clock, new LocalBusHub(), new RedisLiveStore(redis))
      const [conversation, ada] = [randomUUID(), randomUUID()]
      await mine.kill9()
      await vi.waitFor(() => expect(redis.problem()).toBeDefined(), waiting)
      local.values.set(conversation, 'typing', ada, true, 60_000)
      await vi.waitFor(() => expect(local.told).toHaveLength(1), waiting)
      expect(await local.values.read(conversation)).toMatchObject([{ user: ada, value: true }])
      await mine.start({ isEmpty: true })
      await vi.waitFor(() => expect(redis.problem()).toBeUndefined(), waiting)
      expect(await mine.command('EXISTS', `chorus:live:{${conversation}}`)).toBe(0)
      local.values.stop()
      await redis.close()
    } finally {
      await mine.remove()
    }
  })
})
