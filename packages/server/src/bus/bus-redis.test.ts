/**
 * Tests the bus over real Redis servers and their failures: a single Redis, a primary with a
 * replica, and a cluster.
 */
import { createServer, connect, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import {
  hasRedis,
  type Redis,
  type RedisCluster,
  type RedisPair,
  startRedis,
  startRedisCluster,
  startRedisPair,
  waitForFact,
} from '@chorus/testkit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { describeBus } from './bus.suite.ts'
import { nameOf, partitionOf } from './bus-redis-channels.ts'
import { publisherLimits } from './bus-redis-publisher.ts'
import type { BusChannel, BusMessage } from './bus.ts'
import { messageChange } from '../delivery/testing/delivery-fixture.ts'
import { type OpenedBus, RedisBuses } from './testing/redis-buses.ts'

/** Returns the Redis name of a bus channel, without the namespace of an installation. */
const nameIn = (channel: BusChannel): string => nameOf({ keyOf: (name) => `chorus:${name}` }, channel)

const buses = new RedisBuses()
afterEach(() => buses.close())

const isWorking = ({ bus }: OpenedBus): boolean => bus.degraded() === undefined
const whenWorking = (): Promise<boolean> =>
  waitForFact(() => buses.opened.every(isWorking), { what: 'working buses', timeoutMs: 30_000 })

const suiteOptions = (url: () => string, subscribeUrl: () => string = url) => ({
  open: async (count: number) => {
    for (let index = 0; index < count; index++) await buses.open(url(), subscribeUrl())
    await whenWorking()
    return buses.opened.map(({ bus }) => bus)
  },
  settle: () => buses.settle(),
})

const idOf = (number: number): string => `01900000-0000-7000-8000-${String(number).padStart(12, '0')}`
const roomOf = (number: number): BusChannel => `c:${idOf(number)}`
const hint = (seq: number, number = 1): BusMessage => ({
  kind: 'changes',
  epoch: 'epoch',
  conversation: idOf(number),
  changes: [messageChange(seq, 'text', idOf(number))],
})
const seqsOf = ({ received }: OpenedBus): number[] =>
  received.flatMap((message) => (message.kind === 'changes' ? message.changes.map(({ seq }) => seq) : []))

/** Publishes hints until one of them arrives. Hints lost before that do not fail the test. */
async function whenHeard(from: OpenedBus, by: OpenedBus, number = 1): Promise<void> {
  let seq = 1_000
  const before = by.received.length
  await waitForFact(
    () => {
      from.bus.publish(roomOf(number), hint(seq++, number))
      return by.received.length > before
    },
    { what: 'a hint that comes through', timeoutMs: 30_000, everyMs: 50 },
  )
}

describe.skipIf(!hasRedis())('the bus over one Redis', () => {
  let redis: Redis
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.remove())
  const openTwo = async (): Promise<[OpenedBus, OpenedBus]> => {
    const two: [OpenedBus, OpenedBus] = [await buses.open(redis.url), await buses.open(redis.url)]
    await whenWorking()
    return two
  }

  describeBus(
    'one Redis',
    suiteOptions(() => redis.url),
  )

  it('[PUB1] merges the changes of one event-loop turn into few messages, in order', async () => {
    const [one, two] = await openTwo()
    await two.bus.subscribe(roomOf(1))
    for (let seq = 1; seq <= 250; seq++) one.bus.publish(roomOf(1), hint(seq))
    await buses.settle()
    expect(seqsOf(two)).toEqual(Array.from({ length: 250 }, (_, index) => index + 1))
    expect(two.received.length).toBeLessThanOrEqual(3)
  })

  it('[TAIL1] announces a gap when only the subscribing connection ends, then delivers', async () => {
    const [one, two] = await openTwo()
    await two.bus.subscribe(roomOf(1))
    two.gaps.length = 0
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await waitForFact(() => two.gaps.includes('connected'), { what: 'the gap' })
    one.bus.publish(roomOf(1), hint(1))
    await buses.settle()
    expect(seqsOf(two)).toEqual([1])
  })

  it('the bus reports a failing probe when Redis refuses writes', async () => {
    const [one] = await openTwo()
    await redis.command('CONFIG', 'SET', 'min-replicas-to-write', 1)
    try {
      await waitForFact(() => one.bus.degraded()?.includes('unable to probe it; ') === true, { what: 'the refusal' })
    } finally {
      await redis.command('CONFIG', 'SET', 'min-replicas-to-write', 0)
    }
    await whenWorking()
  })

  it('[JOIN1] the bus subscribes once Redis is back, and announces the gap', async () => {
    const [one, two] = await openTwo()
    await redis.kill9()
    await waitForFact(() => !isWorking(one) && !isWorking(two), { what: 'buses that say they are degraded' })
    // The promise resolves although no confirmation can come.
    await two.bus.subscribe(roomOf(1))
    one.bus.publish(roomOf(1), hint(1))
    two.gaps.length = 0
    await redis.start({ isEmpty: true })
    await waitForFact(() => two.gaps.length > 0, { what: 'the gap', timeoutMs: 20_000 })
    await whenHeard(one, two)
    await whenWorking()
    // The hint published while Redis was stopped was dropped. It must not arrive late.
    expect(seqsOf(two)).not.toContain(1)
    expect(one.dropped.get('away')).toBeGreaterThan(0)
  })

  it('[LIM1] bounds the publishing queue while Redis is paused, and empties it afterwards', async () => {
    const [one, two] = await openTwo()
    await two.bus.subscribe(roomOf(1))
    redis.pause()
    try {
      let published = 0
      for (let turn = 0; turn < 400; turn++) {
        for (let number = 1; number <= 100; number++) {
          one.bus.publish(roomOf(number), hint(turn + 1, number))
          published++
        }
        await new Promise((resolve) => setImmediate(resolve))
        expect(one.bus.queued.messages).toBeLessThanOrEqual(publisherLimits.underWayMax + publisherLimits.waitingMax)
        expect(one.bus.queued.bytes).toBeLessThanOrEqual(publisherLimits.waitingMaxBytes)
      }
      expect(published).toBe(40_000)
      await waitForFact(() => !isWorking(one), { what: 'a bus that says it is degraded' })
      await waitForFact(() => one.bus.queued.messages === 0, { what: 'an empty queue' })
      one.bus.publish(roomOf(1), hint(9_999))
      expect(one.bus.queued.messages).toBe(0)
    } finally {
      redis.resume()
    }
    await whenHeard(one, two)
    expect(seqsOf(two)).not.toContain(9_999)
  })

  it('[LIM1] drops and counts hints over the queue limit, over many conversations', async () => {
    const one = await buses.open(redis.url)
    for (let number = 0; number < publisherLimits.waitingMax + 500; number++)
      one.bus.publish(roomOf(number), hint(1, number))
    expect(one.bus.queued.messages).toBe(publisherLimits.waitingMax)
    expect(one.dropped.get('queue')).toBe(500)
  })

  it('[BUS1] drops and counts messages of other programs; the next hint arrives', async () => {
    const [one, two] = await openTwo()
    const stranger = await buses.open(redis.url, redis.url, 'another key')
    await whenWorking()
    await two.bus.subscribe(roomOf(1))
    const name = nameIn(roomOf(1))
    for (const payload of ['', '{"kind":"changes"}', 'x'.repeat(200), 'y'.repeat(3_000_000)])
      await redis.command('SPUBLISH', name, payload)
    stranger.bus.publish(roomOf(1), hint(1))
    await stranger.bus.whenFlushed()
    one.bus.publish(roomOf(1), hint(2))
    await waitForFact(() => seqsOf(two).length > 0, { what: 'the hint' })
    expect(seqsOf(two)).toEqual([2])
    expect(Object.fromEntries(two.dropped)).toEqual({ length: 2, version: 1, size: 1, hmac: 1 })
    expect(two.gaps).not.toContain('connected')
  })

  it('[TAIL1] the bus replaces an open connection on which nothing arrives', async () => {
    const line = await startHalfOpenProxy(redis.port)
    const one = await buses.open(redis.url)
    const two = await buses.open(redis.url, line.url)
    await whenWorking()
    await two.bus.subscribe(roomOf(1))
    two.gaps.length = 0
    line.freeze()
    await waitForFact(() => two.gaps.includes('connected'), { what: 'the gap', timeoutMs: 20_000 })
    await whenHeard(one, two)
    line.close()
  })

  it('reports a Redis primary that became a replica, and recovers afterwards', async () => {
    const [one, two] = await openTwo()
    await two.bus.subscribe(roomOf(1))
    await redis.command('REPLICAOF', '127.0.0.1', '1')
    try {
      await waitForFact(() => !isWorking(one), { what: 'a degraded bus' })
    } finally {
      await redis.command('REPLICAOF', 'NO', 'ONE')
    }
    await whenHeard(one, two)
    await whenWorking()
  })

  it('the bus logs in to Redis with a password, and reports a wrong one', async () => {
    const locked = await startRedis({ password: 'a pass/word' })
    try {
      const one = await buses.open(locked.url)
      const two = await buses.open(locked.url)
      const wrong = await buses.open(locked.url, locked.url.replace(/:[^:@]*@/, ':wrong@'))
      await waitForFact(() => isWorking(one) && isWorking(two), { what: 'working buses' })
      await two.bus.subscribe(roomOf(1))
      await whenHeard(one, two)
      expect(wrong.bus.degraded()).toMatch(/^the bus receives nothing from 127\.0\.0\.1:\d+; WRONGPASS/)
      await buses.close()
    } finally {
      await locked.remove()
    }
  })

  it('the bus subscribes and unsubscribes thousands of channels at once', async () => {
    const [one, two] = await openTwo()
    const rooms = Array.from({ length: 5_000 }, (_, index) => roomOf(index))
    await Promise.all(rooms.map((room) => two.bus.subscribe(room)))
    const names = async (): Promise<number> =>
      ((await redis.command('PUBSUB', 'SHARDCHANNELS', 'chorus:*}:c:01*')) as unknown[]).length
    await waitForFact(async () => (await names()) === 5_000, { what: 'all subscriptions' })
    for (const room of rooms.slice(1)) two.bus.unsubscribe(room)
    await waitForFact(async () => (await names()) === 1, { what: 'one subscription' })
    one.bus.publish(roomOf(0), hint(1, 0))
    await buses.settle()
    expect(seqsOf(two)).toEqual([1])
  })

  it('[JOIN1] a subscription that ends and restarts within one turn loses nothing', async () => {
    const [one, two] = await openTwo()
    await two.bus.subscribe(roomOf(1))
    two.bus.unsubscribe(roomOf(1))
    const again = two.bus.subscribe(roomOf(1))
    one.bus.publish(roomOf(1), hint(1))
    await again
    await new Promise((resolve) => setImmediate(resolve))
    two.bus.unsubscribe(roomOf(1))
    await Promise.resolve()
    await two.bus.subscribe(roomOf(1))
    one.bus.publish(roomOf(1), hint(2))
    await buses.settle()
    expect(seqsOf(two)).toContain(2)
  })
})

describe.skipIf(!hasRedis())('the bus over a Redis primary and a replica', () => {
  let pair: RedisPair
  beforeAll(async () => {
    pair = await startRedisPair()
  })
  afterAll(() => pair.remove())

  describeBus(
    'primary and replica',
    suiteOptions(
      () => pair.primary.url,
      () => pair.replica.url,
    ),
  )

  it('[TAIL1] detects by probe a replica cut off from its primary, and recovers', async () => {
    const one = await buses.open(pair.primary.url)
    const two = await buses.open(pair.primary.url, pair.replica.url)
    await whenWorking()
    // The replica still answers commands, but no longer receives messages from the primary.
    await pair.replica.command('REPLICAOF', '127.0.0.1', '1')
    await waitForFact(() => !isWorking(two), { what: 'a degraded bus', timeoutMs: 20_000 })
    expect(two.bus.degraded()).toContain('do not come back')
    await two.bus.subscribe(roomOf(1))
    expect(isWorking(one)).toBe(true)
    two.gaps.length = 0
    await pair.replica.command('REPLICAOF', '127.0.0.1', String(pair.primary.port))
    await waitForFact(() => isWorking(two), { what: 'a working bus', timeoutMs: 30_000 })
    await waitForFact(() => two.gaps.length > 0, { what: 'the gap' })
    await whenHeard(one, two)
  })
})

describe.skipIf(!hasRedis())('the bus over a Redis cluster', () => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster()
  })
  afterAll(() => cluster.remove())
  const openTwo = async (): Promise<[OpenedBus, OpenedBus]> => {
    const two: [OpenedBus, OpenedBus] = [await buses.open(cluster.url), await buses.open(cluster.url)]
    await whenWorking()
    return two
  }

  describeBus(
    'cluster',
    suiteOptions(() => cluster.url),
  )

  it('[TAIL1] subscriptions follow a cluster slot that moves to another master', async () => {
    const [one, two] = await openTwo()
    // These channels belong to one partition and thus to one slot. Other channels of the same
    // master keep its connection busy.
    const partition = partitionOf(roomOf(1))
    const numbers = Array.from({ length: 20_000 }, (_, index) => index + 1)
    const moved = numbers.filter((number) => partitionOf(roomOf(number)) === partition).slice(0, 60)
    await Promise.all(moved.map((number) => two.bus.subscribe(roomOf(number))))
    const slot = await cluster.slotOf(nameIn(roomOf(1)))
    const from = await cluster.ownerOf(slot)
    const to = cluster.masters.find((master) => master !== from) as Redis
    two.gaps.length = 0
    let isMoving = true
    const churn = (async () => {
      for (let number = 50_000; isMoving; number++) {
        await two.bus.subscribe(roomOf(number))
        if (number % 2 === 0) two.bus.unsubscribe(roomOf(number))
      }
    })()
    await cluster.moveSlot(slot, from, to)
    await waitForFact(() => two.gaps.includes('moved'), { what: 'the gap' })
    isMoving = false
    await churn
    const isThere = async (): Promise<boolean> =>
      moved.length ===
      ((await to.command('PUBSUB', 'SHARDCHANNELS', `chorus:{${partition}}:c:*`)) as string[]).filter((name) =>
        moved.some((number) => nameIn(roomOf(number)) === name),
      ).length
    await waitForFact(isThere, { what: 'all subscriptions at the new master' })
    two.received.length = 0
    for (const number of moved) one.bus.publish(roomOf(number), hint(1, number))
    await waitForFact(() => two.received.length >= moved.length, { what: 'a hint in each' })
    await cluster.moveSlot(slot, to, from)
    await waitForFact(() => isWorking(two), { what: 'a working bus' })
  })

  it('[TAIL1] resubscribes at a cluster master that restarts empty; other channels keep working', async () => {
    const [one, two] = await openTwo()
    const rooms = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    const owners = new Map<number, Redis>()
    for (const number of rooms) owners.set(number, await cluster.ownerOf(await cluster.slotOf(nameIn(roomOf(number)))))
    const victim = cluster.masters[2] as Redis
    const dead = rooms.find((number) => owners.get(number) === victim) as number
    const alive = rooms.find((number) => owners.get(number) !== victim) as number
    await two.bus.subscribe(roomOf(dead))
    await two.bus.subscribe(roomOf(alive))
    await victim.kill9()
    await waitForFact(() => !isWorking(two), { what: 'a degraded bus' })
    await whenHeard(one, two, alive)
    two.gaps.length = 0
    await victim.start({ isEmpty: true })
    await waitForFact(() => two.gaps.includes('connected'), { what: 'the gap', timeoutMs: 30_000 })
    await whenHeard(one, two, dead)
    await whenWorking()
    await cluster.waitForOk()
  })
})

/**
 * Starts a proxy that can stop forwarding without closing its connections, so that both ends still
 * consider them open.
 */
async function startHalfOpenProxy(port: number): Promise<{ url: string; freeze: () => void; close: () => void }> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => sockets.delete(socket))
    }
    client.pipe(upstream)
    upstream.pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    freeze: () => {
      for (const socket of sockets) socket.unpipe().pause()
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
