/**
 * Tests with a real Redis that evictions of keys are detected, and that refused writes are not
 * reported as evictions.
 */
import { hasRedis, startRedis, waitForFact } from '@chorus/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis } from './open-redis.ts'
import { RedisEviction } from './redis-eviction.ts'

describe.skipIf(!hasRedis())('the detection of Redis evictions', () => {
  const ends: (() => unknown)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  async function start(policy: string) {
    const server = await startRedis({ settings: { maxmemory: '3mb', 'maxmemory-policy': policy } })
    ends.push(() => server.remove())
    const logger = createLogger('silent', 'test')
    const redis = await openRedis({
      url: server.url,
      variable: 'REDIS_URL',
      allowInsecure: false,
      logger,
      clock: systemClock,
    })
    ends.push(() => redis.close())
    let looks = 0
    const counted = new Proxy(redis, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown
        if (key === 'command') looks++
        return typeof value === 'function' ? (value as (...args: never[]) => unknown).bind(target) : value
      },
    })
    // With this clock, the timer between two checks of the eviction policy fires at once.
    const clock = { ...systemClock, nowMs: () => systemClock.nowMs(), setTimer: hurried }
    const eviction = new RedisEviction({ redis: counted, clock, logger })
    ends.push(() => eviction.stop())
    let number = 0
    const write = async (): Promise<void> => {
      const key = redis.keyOf(`filling:${number++}`)
      await redis.command(key, ['SET', key, 'x'.repeat(20_000), 'PX', '60000']).catch(() => undefined)
    }
    return { eviction, write, looks: () => looks }
  }
  const hurried = (run: () => void) => systemClock.setTimer(run, 5)

  it('reports Redis evictions together with the eviction policy', async () => {
    const { eviction, write } = await start('allkeys-lru')
    expect(eviction.problem()).toBeUndefined()
    await waitForFact(async () => {
      await write()
      return eviction.problem() !== undefined
    })
    expect(eviction.problem()).toMatch(/evicts keys \(maxmemory-policy allkeys-lru\); set noeviction/)
  })

  it('reports no evictions when Redis refuses writes instead', async () => {
    const { eviction, write, looks } = await start('noeviction')
    for (let count = 0; count < 300; count++) await write()
    const before = looks()
    await waitForFact(() => looks() > before + 2)
    expect(eviction.problem()).toBeUndefined()
  })
})
