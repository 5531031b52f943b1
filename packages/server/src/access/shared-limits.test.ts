/** Limits that several servers count together, on a real Redis and on a cluster of three. */
import type { ChorusError } from '@chorus/protocol'
import { hasRedis, startRedis, startRedisCluster, waitForFact } from '@chorus/testkit'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis, type Redis } from '../support/redis.ts'
import { Limits } from './limits.ts'
import { SharedLimits, sharedLimitBounds } from './shared-limits.ts'

const settings = { limitSends: 30, limitRequests: 0, limitSignIns: 10, limitSignInsAddress: 40, limitConnections: 0 }

const kinds = {
  'one Redis': async () => {
    const redis = await startRedis()
    return { url: redis.url, remove: () => redis.remove() }
  },
  'a cluster of three': async () => {
    const cluster = await startRedisCluster({ masters: 3 })
    return { url: cluster.url, remove: () => cluster.remove() }
  },
}

describe.skipIf(!hasRedis()).each(Object.entries(kinds))('limits over %s', (_name, start) => {
  let place: Awaited<ReturnType<typeof start>>
  let redis: Redis
  const ends: (() => void)[] = []
  let outcomes: string[] = []
  let a: Limits
  let b: Limits
  let n = 0
  let user = ''

  beforeAll(async () => {
    place = await start()
    redis = await openRedis({
      url: place.url,
      variable: 'REDIS_URL',
      allowInsecure: false,
      logger: createLogger('silent', 'test'),
      clock: systemClock,
    })
  })
  afterAll(async () => {
    for (const end of ends) end()
    await redis.close()
    await place.remove()
  })
  beforeEach(() => {
    user = `user-${++n}`
    outcomes = []
    a = build()
    b = build()
  })

  function build(through: Redis = redis): Limits {
    const { limitSignIns: signIns, limitSignInsAddress: signInsAddress } = settings
    const shared = new SharedLimits({
      redis: through,
      clock: systemClock,
      signIns,
      signInsAddress,
      onReport: (outcome) => void outcomes.push(outcome),
    })
    ends.push(() => shared.stop())
    return new Limits(settings, systemClock, undefined, shared)
  }

  function mayStillSend(limits: Limits): boolean {
    try {
      limits.takeSend(user)
      return true
    } catch (error) {
      expect((error as ChorusError).code).toBe('rate-limited')
      // One that is over the limit waits no longer than a whole bucket takes to fill.
      expect((error as ChorusError).retryAfterMs).toBeLessThanOrEqual(2_100)
      return false
    }
  }

  it('ten sign-ins a minute and account, at whichever server (N62)', async () => {
    let passed = 0
    const refused: ChorusError[] = []
    for (let attempt = 0; attempt < 16; attempt++) {
      await (attempt % 2 === 0 ? a : b)
        .takeSignIn(attempt < 8 ? user : user.toUpperCase(), `10.${n}.${attempt}.1`)
        .then(
          () => passed++,
          (error: unknown) => refused.push(error as ChorusError),
        )
    }
    expect(passed).toBe(10)
    for (const { code, retryAfterMs } of refused) {
      expect(code).toBe('rate-limited')
      expect(retryAfterMs).toBeGreaterThan(0)
      expect(retryAfterMs).toBeLessThanOrEqual(60_000)
    }
  })

  it('attempts at the same time, too, and each address has its own', async () => {
    const attempts = await Promise.allSettled(
      Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? a : b).takeSignUp(`2001:db8:${n}::${index + 1}`)),
    )
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(40)
    await b.takeSignUp(`2001:db8:${n + 5_000}::1`)
  })

  it('what was sent at one server is missing at the other as soon as that has reported an eighth of a burst', async () => {
    const startedAt = performance.now()
    for (let sent = 0; sent < 60; sent++) expect(mayStillSend(a)).toBe(true)
    await waitForFact(() => outcomes.length === 1, { what: 'the report of A' })
    for (let sent = 0; sent < 8; sent++) expect(mayStillSend(b)).toBe(true)
    await waitForFact(() => outcomes.length === 2, { what: 'the report of B' })
    let passed = 0
    while (mayStillSend(b)) passed++
    expect(outcomes).toEqual(['answered', 'answered'])
    // No more than what came back since the burst was used up.
    expect(passed + 8).toBeLessThanOrEqual(8 + ((performance.now() - startedAt) * settings.limitSends) / 1_000)
  })

  it('a steady user within the limit is never held up, however slowly reports leave', async () => {
    const until = performance.now() + 2_500
    let next = performance.now()
    let sent = 0
    while (performance.now() < until) {
      if (performance.now() < next) {
        await new Promise((resolve) => setTimeout(resolve, 2))
        continue
      }
      // 25 a second, turn and turn about.
      next = performance.now() + 40
      expect(mayStillSend(sent++ % 2 === 0 ? a : b)).toBe(true)
    }
    expect(outcomes.filter((outcome) => outcome === 'failed')).toEqual([])
  })

  it('[LIM1] reports gather, ten times a second and user at most', async () => {
    const fast = build()
    const startedAt = performance.now()
    let taken = 0
    while (performance.now() - startedAt < 600) {
      if (mayStillSend(fast)) taken++
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await waitForFact(() => outcomes.length > 0, { what: 'a report' })
    expect(taken).toBeGreaterThan(60)
    expect(outcomes.length).toBeLessThanOrEqual((performance.now() - startedAt) / sharedLimitBounds.reportEveryMs + 1)
  })

  it('Redis knows neither handles nor addresses, and every key expires', async () => {
    await a.takeSignIn('a-secret-handle', `10.${n}.77.77`)
    for (let sent = 0; sent < 30; sent++) mayStillSend(a)
    await waitForFact(() => outcomes.includes('answered'), { what: 'a report' })
    if (redis.isCluster) return
    const keys = (await redis.command('', ['KEYS', '*'])) as string[]
    expect(keys.filter((key) => key.startsWith('chorus:limit:account:')).length).toBeGreaterThan(0)
    for (const key of keys.filter((name) => name.startsWith('chorus:limit'))) {
      expect(key).not.toMatch(/secret|77/)
      expect(Number(await redis.command(key, ['PTTL', key]))).toBeGreaterThan(0)
    }
  })

  it('without Redis each server counts alone: never open', async () => {
    const gone: Redis = {
      isCluster: false,
      keyOf: (name) => name,
      problem: () => undefined,
      command: () => Promise.reject(new Error('away')),
      script: () => Promise.reject(new Error('away')),
      onReconnect: () => undefined,
      close: async () => undefined,
    }
    const alone = build(gone)
    let passed = 0
    for (let attempt = 0; attempt < 20; attempt++)
      await alone.takeSignIn(user, `10.${n}.${attempt}.1`).then(
        () => passed++,
        () => undefined,
      )
    expect(passed).toBe(10)
    let sent = 0
    while (mayStillSend(alone)) sent++
    expect(sent).toBeGreaterThanOrEqual(60)
    await waitForFact(() => outcomes.includes('failed'), { what: 'a failed report' })
  })
})
