/**
 * Tests the job queue over a real Redis: with one Redis, with a cluster of three masters, with an
 * emptied Redis and without Redis.
 */
import { hasRedis, type Redis as RedisServer, startRedis, startRedisCluster } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import type { JobWork } from './queue.ts'
import { RedisQueue } from './queue-redis.ts'
import { describeQueue } from './queue.suite.ts'

const logger = createLogger('silent', 'test')

describe.runIf(hasRedis())('the job queue over Redis', () => {
  const opened: Redis[] = []
  let server: RedisServer
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>
  beforeAll(async () => {
    ;[server, cluster] = await Promise.all([startRedis(), startRedisCluster()])
  })
  afterAll(async () => {
    await Promise.all(opened.map((redis) => redis.close()))
    await Promise.all([server.remove(), cluster.remove()])
  })

  async function open(url: string, work: JobWork, namespace = 'chorus:one'): Promise<RedisQueue> {
    const redis = await openRedis({
      url,
      variable: 'REDIS_URL',
      namespace,
      allowInsecure: false,
      logger,
      clock: systemClock,
    })
    opened.push(redis)
    return new RedisQueue({ redis, url, work, clock: systemClock, logger })
  }

  describeQueue('Redis', (work) => open(server.url, work))
  describeQueue('Redis Cluster', (work) => open(cluster.url, work))

  it('two servers share the jobs of one queue over Redis', async () => {
    let workedThere = 0
    let go: () => void = () => undefined
    const helped = new Promise<void>((resolve) => (go = resolve))
    let workedHere = 0
    // The first server takes as many jobs as its limit allows. It finishes none until the second
    // server has run one.
    const here = await open(server.url, async () => {
      await helped
      workedHere++
    })
    const there = await open(server.url, async () => {
      workedThere++
      go()
    })
    here.add(Array.from({ length: 100 }, (_, n) => ({ kind: 'webhook' as const, key: String(n) })))
    await expect.poll(() => workedHere + workedThere, { timeout: 20_000 }).toBe(100)
    expect(workedThere).toBeGreaterThan(0)
    await Promise.all([here.close(), there.close()])
  })

  it('[BUS2] runs no jobs of another installation on the same Redis', async () => {
    const worked = { one: 0, two: 0 }
    const one = await open(server.url, async () => void worked.one++, 'chorus:one')
    const two = await open(server.url, async () => void worked.two++, 'chorus:two')
    one.add(Array.from({ length: 50 }, (_, n) => ({ kind: 'webhook' as const, key: String(n) })))
    await expect.poll(() => worked.one + worked.two, { timeout: 20_000 }).toBe(50)
    expect(worked.two).toBe(0)
    await Promise.all([one.close(), two.close()])
  })

  it('runs jobs locally while Redis is down, and over Redis afterwards', async () => {
    const mine = await startRedis()
    const worked: string[] = []
    const queue = await open(mine.url, async ({ key }) => void worked.push(key))
    queue.add([{ kind: 'webhook', key: 'before' }])
    await expect.poll(() => worked, { timeout: 10_000 }).toContain('before')
    await mine.kill9()
    await expect.poll(() => queue.problem(), { timeout: 10_000 }).toBeDefined()
    queue.add([{ kind: 'webhook', key: 'away' }])
    await expect.poll(() => worked, { timeout: 10_000 }).toContain('away')
    await mine.start()
    await expect.poll(() => queue.problem(), { timeout: 20_000 }).toBeUndefined()
    await expect
      .poll(
        () => {
          queue.add([{ kind: 'webhook', key: 'after' }])
          return worked
        },
        { timeout: 20_000 },
      )
      .toContain('after')
    await queue.close()
    await mine.remove()
  })
})
