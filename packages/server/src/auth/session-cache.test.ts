/**
 * Tests the session cache on a real Redis, during revocations, outages and forgeries: the cache
 * saves queries, but never makes a session valid.
 */
import { hasRedis, startRedis } from '@chorus/testkit'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { SharedCache } from '../redis/shared-cache.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { Authenticator, hashToken } from './authenticator.ts'
import { RecentRevocations, revocationLimits } from './recent-revocations.ts'
import { SessionCache, sessionCacheTimings } from './session-cache.ts'

type RedisServer = Awaited<ReturnType<typeof startRedis>>

const secret = 'the secret of this database'

class Server {
  readonly clock = new ManualClock()
  readonly outcomes: string[] = []
  readonly asked: number[] = []
  readonly revocations: RecentRevocations
  readonly authenticator: Authenticator
  sweepAgeMs = 0
  epoch = 'epoch-1'

  constructor(redis: Redis, sessions: ReadonlyMap<string, string>, withSecret = secret) {
    this.revocations = new RecentRevocations({ load: async () => [], clock: this.clock, onProblem: () => undefined })
    // The cache's timeouts use the real clock, because Redis is real.
    const cache = new SharedCache({ redis, secret: withSecret, clock: systemClock })
    this.authenticator = new Authenticator({
      cookieName: 'chorus_session',
      cookieSecret: 'a secret of at least thirty-two characters',
      clock: this.clock,
      onProblem: () => undefined,
      cache: new SessionCache({
        cache,
        revocations: this.revocations,
        sweepAgeMs: () => this.sweepAgeMs,
        now: () => new Date(1_800_000_000_000 + this.clock.nowMs()),
        epoch: () => this.epoch,
        onRead: (outcome) => void this.outcomes.push(outcome),
      }),
      records: {
        find: async (hashes) => {
          this.asked.push(hashes.length)
          return [...sessions].flatMap(([token, user]) =>
            hashes.some((hash) => hash.equals(hashToken(token)))
              ? [
                  {
                    sessionId: `session-of-${user}`,
                    userId: user,
                    tokenHash: hashToken(token),
                    expiresInMs: 30_000,
                    user: { id: user, handle: user, name: user, avatar: null, bot: false },
                    record: { id: `session-of-${user}`, createdAt: '', lastUsedAt: '', userAgent: null },
                    isStale: false,
                  },
                ]
              : [],
          )
        },
        touch: async () => undefined,
      },
    })
  }

  async start(): Promise<this> {
    this.revocations.load()
    await Promise.resolve()
    await Promise.resolve()
    expect(this.revocations.isComplete).toBe(true)
    return this
  }
}

describe.skipIf(!hasRedis())('the session cache', () => {
  let process: RedisServer
  let redis: Redis
  let sessions: Map<string, string>
  let a: Server
  let b: Server

  beforeAll(async () => {
    process = await startRedis()
    redis = await openRedis({
      url: process.url,
      variable: 'REDIS_URL',
      allowInsecure: false,
      logger: createLogger('silent', 'test'),
      clock: systemClock,
    })
  })
  afterAll(async () => {
    await redis.close()
    await process.remove()
  })
  beforeEach(async () => {
    await redis.command('', ['FLUSHALL'])
    sessions = new Map([
      ['anna-token', 'anna'],
      ['ben-token', 'ben'],
    ])
    a = await new Server(redis, sessions).start()
    b = await new Server(redis, sessions).start()
  })

  const cachedKeys = async (): Promise<string[]> => (await redis.command('', ['KEYS', '*'])) as string[]

  /** Looks the token up at server A, which caches the session. Returns the new key in Redis. */
  async function warm(token = 'anna-token'): Promise<string> {
    const before = await cachedKeys()
    expect(await a.authenticator.recognise(token)).toMatchObject({ userId: sessions.get(token) })
    // Commands of one Redis connection run in order, so the write ran before this read.
    const [key] = (await cachedKeys()).filter((name) => !before.includes(name))
    return key!
  }

  it('answers requests on a second server from the cache, but no handshake', async () => {
    await warm()
    expect(await b.authenticator.recognise('anna-token')).toEqual({ userId: 'anna', sessionId: 'session-of-anna' })
    expect(b.asked).toEqual([])
    const cookie = `chorus_session=${encodeURIComponent(b.authenticator.signer.sign('anna-token'))}`
    expect(await b.authenticator.authenticate(cookie)).toMatchObject({ userId: 'anna' })
    expect(b.asked).toEqual([1])
    expect(await b.authenticator.recognise('nobody')).toBeUndefined()
    expect(await b.authenticator.recognise('nobody')).toBeUndefined()
    expect(b.asked).toEqual([1, 1, 1])
  })

  it('stores neither token nor hash in Redis, and every entry expires', async () => {
    const key = await warm()
    const value = (await redis.command(key, ['GET', key])) as string
    for (const form of ['hex', 'base64', 'base64url'] as const)
      for (const text of [key, value]) expect(text).not.toContain(hashToken('anna-token').toString(form))
    expect(key + value).not.toContain('anna-token')
    expect(Number(await redis.command(key, ['PTTL', key]))).toBeGreaterThan(0)
    expect(Number(await redis.command(key, ['PTTL', key]))).toBeLessThanOrEqual(sessionCacheTimings.countsMs)
  })

  it('[ACL2] refuses a revoked session whose cache entry reappears in Redis', async () => {
    const key = await warm()
    const stale = (await redis.command(key, ['GET', key])) as string
    sessions.delete('anna-token')
    for (const server of [a, b]) server.revocations.note(['session-of-anna'])
    a.authenticator.forget(hashToken('anna-token'))
    expect(await cachedKeys()).toEqual([])
    // Put the entry back, as after a failover to a replica that had not received the deletion.
    await redis.command(key, ['SET', key, stale])
    for (const server of [a, b]) {
      expect(await server.authenticator.recognise('anna-token')).toBeUndefined()
      expect(server.outcomes.at(-1)).toBe('distrusted')
    }
  })

  it('[ACL2] asks the database for a session when the last sweep is too old', async () => {
    await warm()
    b.sweepAgeMs = sessionCacheTimings.sweepMaxAgeMs - 1
    await b.authenticator.recognise('anna-token')
    expect(b.asked).toEqual([])
    b.sweepAgeMs = sessionCacheTimings.sweepMaxAgeMs
    expect(await b.authenticator.recognise('anna-token')).toMatchObject({ userId: 'anna' })
    expect([b.asked, b.outcomes]).toEqual([[1], ['hit', 'distrusted']])
  })

  it('[ACL2] checks the revocations again after reading an entry from Redis', async () => {
    await warm()
    sessions.delete('anna-token')
    const asking = b.authenticator.recognise('anna-token')
    b.revocations.note(['session-of-anna'])
    expect(await asking).toBeUndefined()
  })

  it('[RES2] refuses expired entries and entries of another database epoch', async () => {
    const key = await warm()
    const value = (await redis.command(key, ['GET', key])) as string
    b.epoch = 'epoch-2'
    await b.authenticator.recognise('anna-token')
    expect(b.outcomes).toEqual(['distrusted'])
    b.epoch = 'epoch-1'
    await redis.command(key, ['SET', key, value])
    b.clock.advance(29_999)
    await b.authenticator.recognise('anna-token')
    b.clock.advance(1)
    await b.authenticator.recognise('anna-token')
    expect(b.outcomes).toEqual(['distrusted', 'hit', 'distrusted'])
  })

  it('[ACL2] [BUS1] accepts no cache entry that another program wrote into Redis', async () => {
    const annas = await warm()
    const bens = await warm('ben-token')
    const value = (await redis.command(annas, ['GET', annas])) as string
    // Another user's entry under this key, an altered one, one encrypted with another secret, and
    // garbage.
    const stranger = await new Server(redis, new Map([['ben-token', 'anna']]), 'another secret').start()
    await stranger.authenticator.recognise('ben-token')
    const sealedElsewhere = (await cachedKeys()).find((name) => name !== annas && name !== bens)!
    const foreign = (await redis.command(sealedElsewhere, ['GET', sealedElsewhere])) as string
    for (const forged of [
      value,
      value.replace('anna', 'ben2'),
      foreign,
      '',
      'x',
      `${'A'.repeat(43)}{}`,
      'A'.repeat(10_000),
    ]) {
      await redis.command(bens, ['SET', bens, forged])
      expect(await b.authenticator.recognise('ben-token')).toMatchObject({ userId: 'ben' })
      expect(b.outcomes.at(-1)).toBe('refused')
    }
  })

  it('asks the database for sessions while Redis is offline', async () => {
    await warm()
    process.pause()
    try {
      expect(await b.authenticator.recognise('anna-token')).toMatchObject({ userId: 'anna' })
      expect(await b.authenticator.recognise('anna-token')).toMatchObject({ userId: 'anna' })
      expect(b.outcomes).toEqual(['away', 'away'])
      expect(b.asked).toEqual([1, 1])
    } finally {
      process.resume()
    }
  })
})

describe('the recent revocations', () => {
  const build = (load: () => Promise<readonly string[]>) => {
    const clock = new ManualClock()
    const problems: unknown[] = []
    const revocations = new RecentRevocations({ load, clock, onProblem: (problem) => void problems.push(problem) })
    return { clock, problems, revocations }
  }
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 10; turn++) await Promise.resolve()
  }

  it('[ACL2] the set of revocations is complete only after a successful load', async () => {
    let fails = true
    const { clock, problems, revocations } = build(async () => {
      if (fails) throw new Error('away')
      return ['old']
    })
    revocations.load()
    await settle()
    expect([revocations.isComplete, problems.length]).toEqual([false, 1])
    fails = false
    clock.advance(revocationLimits.retryMs)
    await settle()
    expect([revocations.isComplete, revocations.has('old')]).toEqual([true, true])
    revocations.load()
    expect(revocations.isComplete).toBe(false)
    await settle()
    expect(revocations.isComplete).toBe(true)
  })

  it('[LIM1] drops old revocations, and is incomplete after dropping recent ones', async () => {
    const { clock, revocations } = build(async () => [])
    revocations.load()
    await settle()
    revocations.note(['first'])
    clock.advance(revocationLimits.keptMs + 1)
    revocations.note(['second'])
    expect([revocations.has('first'), revocations.has('second'), revocations.isComplete]).toEqual([false, true, true])
    clock.advance(1_000)
    revocations.note(Array.from({ length: revocationLimits.revocationsMax }, (_, index) => `many-${index}`))
    expect([revocations.has('second'), revocations.isComplete]).toEqual([false, false])
    clock.advance(revocationLimits.keptMs - 1_000)
    expect(revocations.isComplete).toBe(true)
  })

  it('[LIM1] the set of revocations is incomplete if its first load reached the limit', async () => {
    const { clock, revocations } = build(async () =>
      Array.from({ length: revocationLimits.revocationsMax + 1 }, (_, index) => `many-${index}`),
    )
    revocations.load()
    await settle()
    expect(revocations.isComplete).toBe(false)
    clock.advance(revocationLimits.keptMs)
    expect(revocations.isComplete).toBe(true)
  })
})
