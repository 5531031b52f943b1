/**
 * What several servers count together, over Redis. The limits of each server stand before this and remain when Redis is
 * away: it can only make a limit stricter, never open it.
 *
 * Attempts to sign in are counted before they are made, so each waits for the answer. Messages and requests are not: the
 * bucket of this server decides at once (rule ORD2: nothing on their way may wait), and what was taken here is reported
 * afterwards, gathered by user, to a bucket of the same size in Redis that all servers take from. The answer corrects the
 * bucket here. Between two reports a user gets at most an eighth of a burst from each server too many.
 */
import { createHash } from 'node:crypto'
import { type IRateLimiterStoreOptions, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis, RedisScript } from '../support/redis.ts'

export const sharedLimitBounds = {
  /** Reports leave so often at most. */
  reportEveryMs: 100,
  /** What is less than an eighth of a burst may wait so long. */
  gatherMaxMs: 500,
  /** Users whose takings wait to be reported; those of further ones count on this server alone. */
  usersMax: 10_000,
  /** Users in one report. */
  usersPerReportMax: 100,
  /** Reports without an answer; beyond it they wait and gather. */
  reportsUnderWayMax: 32,
} as const

/** Hash tags, so that one report can name many users on a cluster, too. */
const partitionCount = 16

/**
 * takeFromBuckets: takes from one bucket for each key, in one step.
 * - KEYS[i]: a bucket, a hash of `tokens` and `at` (ms); expires when it would be full.
 * - ARGV[4i-3 … 4i]: tokens a second; size; tokens taken; ms over which they were gathered.
 * - Returns thousandths of tokens left, one number a key. Never less than a whole bucket below zero, so nobody is shut
 *   out for longer than a full bucket takes.
 * - Cost: three commands a key. Uses the clock of Redis; one that goes back loses no more than the time it went.
 * What was gathered while the bucket was being refilled is taken before the rest overflows.
 */
const takeFromBuckets: RedisScript = {
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = {}
for i, key in ipairs(KEYS) do
  local rate, size = tonumber(ARGV[4 * i - 3]) / 1000, tonumber(ARGV[4 * i - 2])
  local taken, gathered = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local held = redis.call('HMGET', key, 'tokens', 'at')
  local tokens, at = tonumber(held[1]) or size, math.min(now, tonumber(held[2]) or now - gathered)
  local whileGathering = math.min(now - at, gathered)
  tokens = math.min(size, tokens + (now - at - whileGathering) * rate)
  tokens = math.max(-size, math.min(size, tokens + whileGathering * rate - taken))
  redis.call('HSET', key, 'tokens', tostring(tokens), 'at', tostring(now))
  redis.call('PEXPIRE', key, math.ceil((size - tokens) / rate) + 1000)
  left[i] = math.floor(tokens * 1000)
end
return left`,
}

/** A bucket of this server that is corrected by what all servers took. */
export interface CorrectedBucket {
  readonly perSecond: number
  readonly size: number
  /** No more than so many tokens are left. */
  correct(key: string, tokens: number): void
}

interface Takings {
  readonly bucket: CorrectedBucket
  readonly user: string
  readonly key: string
  readonly sinceMs: number
  taken: number
}

export interface SharedLimitsOptions {
  readonly redis: Redis
  readonly clock: Clock
  readonly signIns: number
  readonly signInsAddress: number
  /** Told what became of each report. */
  readonly onReport?: (outcome: 'answered' | 'failed' | 'dropped') => void
}

export class SharedLimits {
  readonly #redis: Redis
  readonly #clock: Clock
  readonly #onReport: (outcome: 'answered' | 'failed' | 'dropped') => void
  readonly #attempts: { readonly [Kind in 'account' | 'address']: RateLimiterRedis | undefined }
  readonly #takings = new Map<string, Takings>()
  #underWay = 0
  #timer: Timer | undefined

  constructor({ redis, clock, signIns, signInsAddress, onReport = () => undefined }: SharedLimitsOptions) {
    this.#redis = redis
    this.#clock = clock
    this.#onReport = onReport
    this.#attempts = {
      account: attemptLimiter(redis, redis.keyOf('limit:account'), signIns),
      address: attemptLimiter(redis, redis.keyOf('limit:address'), signInsAddress),
    }
  }

  /** Milliseconds until one more attempt would pass; 0: it passed, or Redis cannot say. */
  async takeAttempt(kind: 'account' | 'address', name: string): Promise<number> {
    const limiter = this.#attempts[kind]
    if (limiter === undefined || this.#redis.problem() !== undefined) return 0
    try {
      await limiter.consume(hideName(name))
      return 0
    } catch (refusal) {
      // Anything else is Redis being away: this server's own limit has decided.
      return refusal instanceof RateLimiterRes ? Math.max(1, refusal.msBeforeNext) : 0
    }
  }

  /** One token was taken here. Reported soon; returns at once. */
  noteTaken(name: 'sends' | 'requests', bucket: CorrectedBucket, user: string): void {
    const id = `${name}:${user}`
    const takings = this.#takings.get(id)
    if (takings !== undefined) {
      takings.taken++
      return
    }
    if (this.#redis.problem() !== undefined) return
    if (this.#takings.size >= sharedLimitBounds.usersMax) {
      this.#onReport('dropped')
      return
    }
    const key = this.#redis.keyOf(`limit:{${partitionOf(user)}}:${id}`)
    this.#takings.set(id, { bucket, user, key, sinceMs: this.#clock.nowMs(), taken: 1 })
    this.#timer ??= this.#clock.setTimer(() => this.#reportDue(), sharedLimitBounds.reportEveryMs)
  }

  /** Forgets what was not reported. */
  stop(): void {
    this.#timer?.cancel()
    this.#takings.clear()
  }

  #reportDue(): void {
    this.#timer = undefined
    if (this.#redis.problem() !== undefined) {
      this.#takings.clear()
      return
    }
    const nowMs = this.#clock.nowMs()
    const reports = new Map<number, Takings[]>()
    for (const [id, takings] of this.#takings) {
      const isDue = takings.taken >= takings.bucket.size / 8 || nowMs - takings.sinceMs >= sharedLimitBounds.gatherMaxMs
      if (!isDue) continue
      const partition = partitionOf(takings.user)
      const report = reports.get(partition) ?? []
      if (report.length === 0) {
        if (this.#underWay + reports.size >= sharedLimitBounds.reportsUnderWayMax) continue
        reports.set(partition, report)
      }
      if (report.length >= sharedLimitBounds.usersPerReportMax) continue
      report.push(takings)
      this.#takings.delete(id)
    }
    for (const report of reports.values()) void this.#report(report, nowMs)
    if (this.#takings.size > 0)
      this.#timer = this.#clock.setTimer(() => this.#reportDue(), sharedLimitBounds.reportEveryMs)
  }

  async #report(report: readonly Takings[], nowMs: number): Promise<void> {
    this.#underWay++
    try {
      const left = (await this.#redis.script(
        takeFromBuckets,
        report.map(({ key }) => key),
        report.flatMap(({ bucket, taken, sinceMs }) => [
          bucket.perSecond,
          bucket.size,
          taken,
          Math.ceil(nowMs - sinceMs),
        ]),
      )) as readonly number[]
      for (const [index, { bucket, user, key }] of report.entries()) {
        const id = key.slice(key.indexOf('}:') + 2)
        bucket.correct(user, (left[index] ?? 0) / 1_000 - (this.#takings.get(id)?.taken ?? 0))
      }
      this.#onReport('answered')
    } catch {
      this.#onReport('failed')
    } finally {
      this.#underWay--
    }
  }
}

/** So many attempts a minute that begins with the first; undefined where there is no limit. */
function attemptLimiter(redis: Redis, keyPrefix: string, points: number): RateLimiterRedis | undefined {
  if (points === 0) return undefined
  const scripts = new Map<string, RedisScript>()
  // Its commands go our way: bounded in number and time, one Redis or a cluster.
  const storeClient = {
    eval: (lua: string, { keys, arguments: args }: { keys: string[]; arguments: string[] }): Promise<unknown> => {
      const script = scripts.get(lua) ?? { lua }
      scripts.set(lua, script)
      return redis.script(script, keys, args)
    },
  }
  const options: IRateLimiterStoreOptions & { useRedisPackage: true } = {
    storeClient,
    useRedisPackage: true,
    keyPrefix,
    points,
    duration: 60,
  }
  return new RateLimiterRedis(options)
}

/** Redis learns no handles and no addresses, and a key has one length. */
function hideName(name: string): string {
  return createHash('sha256').update(name).digest('base64url')
}

function partitionOf(user: string): number {
  let hash = 0
  for (let index = 0; index < user.length; index++) hash = (hash * 31 + user.charCodeAt(index)) >>> 0
  return hash % partitionCount
}
