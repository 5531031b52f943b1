/** The bus over real Redis servers: one, a primary with a replica, and a cluster; and what happens when they fail. */
import { hasRedis, type Redis, startRedis, waitForFact } from '@chorus/testkit'
import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { describeBus } from './bus.suite.ts'
import { RedisBuses } from './testing/redis-buses.ts'

describe.skipIf(!hasRedis())('over one Redis', () => {
  let redis: Redis
  const buses = new RedisBuses()
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.remove())
  afterEach(() => buses.close())

  describeBus('one Redis', {
    open: async (count) => {
      for (let index = 0; index < count; index++) await buses.open(redis.url)
      await waitForFact(() => buses.opened.every(({ bus }) => bus.degraded() === undefined), { what: 'working buses' })
      return buses.opened.map(({ bus }) => bus)
    },
    settle: () => buses.settle(),
  })
})
