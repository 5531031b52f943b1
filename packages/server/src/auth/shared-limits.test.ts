/**
 * Tests rate limits that several servers count together, on one real Redis and on a cluster of
 * three nodes.
 */
import type { ChorusError } from '@chorus/protocol'
import { hasRedis, startRedis, startRedisCluster, waitForFact } from '@chorus/testkit'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { Limits, wideSignInsFactor } from './limits.ts'
import { SharedLimits, reportLimits } from './shared-limits.ts'
import { noLimits } from './testing/no-limits.ts'

const settings = {
  ...noLimits,
  limitSends: 30,
  limitMembers: 20,
  limitSignIns: 10,
  limitSignInsAddress: 40,
  limitNewTokenUsers: 20,
}

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

describe.skipIf(!hasRedis()).each(Object.entries(kinds))('shared rate limits over %s', (_name, start) => {
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

  function build(through: Redis = redis, clock: Clock = systemClock): Limits {
    const { limitSignIns: signIns, limitSignInsAddress: signInsAddress } = settings
    const signInsWide = signIns * wideSignInsFactor
    const shared = new SharedLimits({
      redis: through,
      clock,
      signIns,
      signInsWide,
      signInsAddress,
      newTokenUsers: settings.limitNewTokenUsers,
      onReport: (outcome) => void outcomes.push(outcome),
    })
    ends.push(() => shared.stop())
    return new Limits(settings, clock, undefined, shared)
  }

  function mayStillSend(limits: Limits): boolean {
    try {
      limits.takeSend(user)
      return true
    } catch (error) {
      expect((error as ChorusError).code).toBe('rate-limited')
      // A user over the limit waits no longer than a whole bucket takes to fill.
      expect((error as ChorusError).retryAfterMs).toBeLessThanOrEqual(2_100)
      return false
    }
  }

  it('allows ten sign-ins a minute per account and network, over all servers', async () => {
    let passed = 0
    const refused: ChorusError[] = []
    for (let attempt = 0; attempt < 16; attempt++) {
      await (attempt % 2 === 0 ? a : b).takeSignIn(attempt < 8 ? user : user.toUpperCase(), `10.${n}.1.1`).then(
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

  it('lets the owner sign in at every server while attackers guess passwords', async () => {
    await a.takeSignIn(user, `10.${n}.200.1`)
    a.noteSignedIn(user, `10.${n}.200.1`)
    let passed = 0
    for (let attempt = 0; attempt < 70; attempt++)
      await (attempt % 2 === 0 ? a : b).takeSignIn(user, `10.${n}.${attempt}.1`).then(
        () => passed++,
        () => undefined,
      )
    expect(passed).toBeLessThanOrEqual(50)
    await b.takeSignIn(user, `10.${n}.200.1`)
    await expect(b.takeSignIn(user, `10.${n}.201.1`)).rejects.toThrow(/too many attempts for this account/)
  })

  it('counts concurrent sign-in attempts by address', async () => {
    const attempts = await Promise.allSettled(
      Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? a : b).takeSignUp(`2001:db8:${n}::${index + 1}`)),
    )
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(40)
    await b.takeSignUp(`2001:db8:${n + 5_000}::1`)
  })

  it("messages sent at another server count against this server's limit", async () => {
    const startedAt = performance.now()
    for (let sent = 0; sent < 60; sent++) expect(mayStillSend(a)).toBe(true)
    await waitForFact(() => outcomes.length === 1, { what: 'the report of A' })
    for (let sent = 0; sent < 8; sent++) expect(mayStillSend(b)).toBe(true)
    await waitForFact(() => outcomes.length === 2, { what: 'the report of B' })
    let passed = 0
    while (mayStillSend(b)) passed++
    expect(outcomes).toEqual(['answered', 'answered'])
    // Server B may pass only as many messages as tokens were refilled since the burst at A began.
    expect(passed + 8).toBeLessThanOrEqual(8 + ((performance.now() - startedAt) * settings.limitSends) / 1_000)
  })

  it("[LIM3] members added at another server count against this server's limit", async () => {
    a.takeMembers(user, 150)
    await waitForFact(() => outcomes.length === 1, { what: 'the report of A' })
    b.takeMembers(user, 25)
    await waitForFact(() => outcomes.length === 2, { what: 'the report of B' })
    // Without the other server's report, the bucket of server B would allow this.
    expect(() => b.takeMembers(user, 150)).toThrow('unable to add members')
  })

  it('never delays a user who sends steadily within the limit', async () => {
    const until = performance.now() + 2_500
    let next = performance.now()
    let sent = 0
    while (performance.now() < until) {
      if (performance.now() < next) {
        await new Promise((resolve) => setTimeout(resolve, 2))
        continue
      }
      // 25 messages a second, alternating between the servers.
      next = performance.now() + 40
      expect(mayStillSend(sent++ % 2 === 0 ? a : b)).toBe(true)
    }
    expect(outcomes.filter((outcome) => outcome === 'failed')).toEqual([])
  })

  it('[LIM1] a server sends Redis at most ten reports a second about one user', async () => {
    const clock = new ManualClock()
    const fast = build(redis, clock)
    const reports = 3
    for (let report = 1; report <= reports; report++) {
      for (let taken = 0; taken < 10; taken++) mayStillSend(fast)
      clock.advance(reportLimits.reportEveryMs)
      await waitForFact(() => outcomes.length >= report, { what: `report ${report}` })
    }
    expect(outcomes).toHaveLength(reports)
  })

  it('stores no handles or addresses in Redis, and every key of it expires', async () => {
    await a.takeSignIn('a-secret-handle', `10.${n}.77.77`)
    for (let sent = 0; sent < 30; sent++) mayStillSend(a)
    await waitForFact(() => outcomes.includes('answered'), { what: 'a report' })
    if (redis.isCluster) return
    const keys = (await redis.command('', ['KEYS', '*'])) as string[]
    expect(keys.filter((key) => key.startsWith('chorus:limit:account:')).length).toBeGreaterThan(0)
    for (const key of keys.filter((name) => name.startsWith('chorus:limit'))) {
      expect(key).not.toMatch(/secret|77\.77/)
      // -1 means that the key never expires. A key that has expired since KEYS has -2.
      expect(Number(await redis.command(key, ['PTTL', key]))).not.toBe(-1)
    }
  })

  it('each server counts its rate limits alone without Redis', async () => {
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
      await alone.takeSignIn(user, `10.${n}.1.1`).then(
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

describe('failed reports to the shared rate limits', () => {
  /** A fake Redis with one bucket that may refuse a report, or apply it and lose the response. */
  class FlakyRedis implements Redis {
    readonly isCluster = false
    does: 'answer' | 'refuse' | 'lose the answer' = 'answer'
    isAway = false
    taken = 0
    readonly #numbers = new Map<string, number>()
    keyOf(name: string): string {
      return name
    }
    problem(): string | undefined {
      return this.isAway ? 'away' : undefined
    }
    command(): Promise<unknown> {
      return Promise.reject(new Error('not asked'))
    }
    async script(_script: unknown, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
      if (this.does === 'refuse') throw new Error('refused')
      for (const [index, key] of keys.entries()) {
        const [taken = 0, , number = 0] = args.slice(5 * index + 3, 5 * index + 6).map(Number)
        if (number > (this.#numbers.get(key) ?? 0)) this.taken += taken
        this.#numbers.set(key, number)
      }
      if (this.does === 'lose the answer') throw new Error('lost')
      return keys.map(() => 1_000_000)
    }
    onReconnect(): void {
      // This fake never reconnects.
    }
    async close(): Promise<void> {
      // This fake has no connection to close.
    }
  }

  const bucket = { perSecond: 10, size: 20, correct: () => undefined }

  function build() {
    const clock = new ManualClock()
    const redis = new FlakyRedis()
    const shared = new SharedLimits({ redis, clock, signIns: 0, signInsWide: 0, signInsAddress: 0, newTokenUsers: 0 })
    const pass = async (ms: number): Promise<void> => {
      for (let at = 0; at < ms; at += 100) {
        clock.advance(100)
        await Promise.resolve()
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    return { redis, shared, pass }
  }

  it('[LIM1] sends a failed report again; tokens taken later go into the next report', async () => {
    const { redis, shared, pass } = build()
    redis.does = 'refuse'
    shared.noteTaken('sends', bucket, 'anna', 5)
    await pass(300)
    shared.noteTaken('sends', bucket, 'anna', 3)
    expect(redis.taken).toBe(0)
    redis.does = 'answer'
    await pass(800)
    expect(redis.taken).toBe(8)
  })

  it('[LIM1] counts a report of taken tokens once when only its response was lost', async () => {
    const { redis, shared, pass } = build()
    redis.does = 'lose the answer'
    shared.noteTaken('sends', bucket, 'anna', 5)
    await pass(500)
    redis.does = 'answer'
    shared.noteTaken('sends', bucket, 'anna', 4)
    await pass(800)
    expect(redis.taken).toBe(9)
  })

  it('[LIM1] keeps at most one bucket of taken tokens while Redis is offline', async () => {
    const { redis, shared, pass } = build()
    redis.isAway = true
    for (let count = 0; count < 100; count++) shared.noteTaken('sends', bucket, 'anna')
    await pass(500)
    redis.isAway = false
    await pass(800)
    expect(redis.taken).toBe(20)
    redis.isAway = true
    shared.noteTaken('sends', bucket, 'anna', 7)
    await pass(3_000)
    redis.isAway = false
    await pass(1_000)
    expect(redis.taken).toBe(20)
  })
})
