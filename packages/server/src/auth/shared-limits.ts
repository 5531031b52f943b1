/**
 * Rate limits that several servers count together, over Redis. Each server's own limits decide
 * first and remain when Redis is offline. So shared counting can only make a limit stricter.
 *
 * Sign-in attempts are counted in Redis before they are made, so each attempt waits for the
 * response. Messages and requests do not wait (rule ORD2): this server's token bucket decides at
 * once. A moment later the server reports the taken tokens, batched by user, to a bucket of the
 * same size in Redis, which all servers share. The response corrects the local bucket. Between two
 * reports, each server lets a user exceed the limit by at most an eighth of a burst. A failed
 * report is sent again under the same number, so that its tokens are counted once, whether or not
 * the first attempt arrived. While Redis is offline, at most one whole bucket of taken tokens per
 * user waits to be reported, for as long as a bucket takes to fill.
 */
import { createHash, randomBytes } from 'node:crypto'
import { type IRateLimiterStoreOptions, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis, RedisScript } from '../redis/redis.ts'

export const reportLimits = {
  /** Minimum time between two rounds of reports. */
  reportEveryMs: 100,
  /**
   * Maximum time that taken tokens wait for a report while they are less than an eighth of a burst.
   */
  gatherMaxMs: 500,
  /**
   * Maximum number of users whose taken tokens wait to be reported. Further users are counted on
   * this server alone.
   */
  usersMax: 10_000,
  /** Maximum number of users in one report. */
  usersPerReportMax: 100,
  /** Maximum number of reports in flight. At this number, taken tokens wait for a later report. */
  reportsUnderWayMax: 32,
  /** Time for which a network with a successful sign-in counts as known for the account. */
  knownMs: 30 * 86_400_000,
} as const

/**
 * Number of hash tags (key groups of a Redis cluster). With them one report can contain many users
 * on a cluster, too.
 */
const partitionCount = 16

/**
 * takeFromBuckets: takes tokens from one bucket for each key, atomically.
 * - KEYS[i]: a bucket, stored as a hash of `tokens`, `at` (ms) and the last report number of each
 *   server. It expires when it would be full.
 * - ARGV[1]: the server. ARGV[5i-3 … 5i+1]: tokens per second; size; tokens taken; ms over which they
 *   were taken; number of the report. A number not above the last one of this server takes nothing:
 *   the report was sent twice, because its response was lost.
 * - Returns thousandths of tokens left, one number per key. It is never more than a whole bucket below
 *   zero, so no user is refused for longer than a bucket takes to fill.
 * - Cost: three commands per key. Uses the clock of Redis; if that clock goes back, only that time is
 *   lost.
 * The refill during the time over which tokens were taken is added before they are subtracted, so
 * it does not overflow the bucket.
 */
const takeFromBuckets: RedisScript = {
  lua: `
local server = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = {}
for i, key in ipairs(KEYS) do
  local rate, size = tonumber(ARGV[5 * i - 3]) / 1000, tonumber(ARGV[5 * i - 2])
  local taken, gathered = tonumber(ARGV[5 * i - 1]), tonumber(ARGV[5 * i])
  local number = tonumber(ARGV[5 * i + 1])
  local held = redis.call('HMGET', key, 'tokens', 'at', server)
  if number <= (tonumber(held[3]) or 0) then taken = 0 end
  local tokens, at = tonumber(held[1]) or size, math.min(now, tonumber(held[2]) or now - gathered)
  local whileGathering = math.min(now - at, gathered)
  tokens = math.min(size, tokens + (now - at - whileGathering) * rate)
  tokens = math.max(-size, math.min(size, tokens + whileGathering * rate - taken))
  redis.call('HSET', key, 'tokens', tostring(tokens), 'at', tostring(now), server, tostring(number))
  redis.call('PEXPIRE', key, math.ceil((size - tokens) / rate) + 1000)
  left[i] = math.floor(tokens * 1000)
end
return left`,
}

/** Names of the token-bucket limits per user. */
export type BucketName = 'sends' | 'requests' | 'members' | 'strangers' | 'connects'

/** A token bucket of this server whose tokens are lowered by what other servers report. */
export interface CorrectedBucket {
  readonly perSecond: number
  readonly size: number
  /** Lowers the number of tokens in the key's bucket to at most `tokens`. */
  correct(key: string, tokens: number): void
}

/** Tokens that one user took from one limit and that are to be reported. */
interface Takings {
  readonly bucket: CorrectedBucket
  readonly user: string
  readonly key: string
  /** Number of tokens not yet in a report. */
  taken: number
  sinceMs: number
  /**
   * Report that has no response yet. It is sent again unchanged, under its number, so that its
   * tokens are counted once.
   */
  report: Report | undefined
  isUnderWay: boolean
}

interface Report {
  readonly number: number
  readonly taken: number
  readonly sinceMs: number
}

/**
 * Subject of a counter: an account at one network (`pair`), an account, an address, or the new
 * users of an API key.
 */
type AttemptKind = 'pair' | 'account' | 'address' | 'token-users'

export interface SharedLimitsOptions {
  readonly redis: Redis
  readonly clock: Clock
  /** Maximum number of sign-ins per minute, account and network. */
  readonly signIns: number
  /** Maximum number of sign-ins per minute and account, over all networks. */
  readonly signInsWide: number
  readonly signInsAddress: number
  /** Maximum number of users that tokens of one API key create per minute. */
  readonly newTokenUsers: number
  /** Called with the outcome of each report. */
  readonly onReport?: (outcome: 'answered' | 'failed' | 'dropped') => void
}

export class SharedLimits {
  readonly #redis: Redis
  readonly #clock: Clock
  readonly #onReport: (outcome: 'answered' | 'failed' | 'dropped') => void
  readonly #attempts: { readonly [Kind in AttemptKind]: RateLimiterRedis | undefined }
  /** Name of this server in the shared buckets. */
  readonly #server = randomBytes(6).toString('base64url')
  readonly #takings = new Map<string, Takings>()
  #underWay = 0
  #reports = 0
  #isStopped = false
  #timer: Timer | undefined

  constructor(options: SharedLimitsOptions) {
    const { redis, clock, signIns, signInsWide, signInsAddress, newTokenUsers, onReport = () => undefined } = options
    this.#redis = redis
    this.#clock = clock
    this.#onReport = onReport
    this.#attempts = {
      pair: attemptLimiter(redis, redis.keyOf('limit:pair'), signIns),
      account: attemptLimiter(redis, redis.keyOf('limit:account'), signInsWide),
      address: attemptLimiter(redis, redis.keyOf('limit:address'), signInsAddress),
      'token-users': attemptLimiter(redis, redis.keyOf('limit:token-users'), newTokenUsers),
    }
  }

  /**
   * Takes a sign-in attempt. Returns 0 if the attempt passes or Redis cannot decide, else the
   * milliseconds until another attempt would pass.
   */
  async takeAttempt(kind: AttemptKind, name: string): Promise<number> {
    const limiter = this.#attempts[kind]
    if (limiter === undefined || this.#redis.problem() !== undefined) return 0
    try {
      await limiter.consume(hideName(name))
      return 0
    } catch (refusal) {
      // Any other error means that Redis is offline. Let the attempt pass: this server's own limit
      // has already allowed it.
      return refusal instanceof RateLimiterRes ? Math.max(1, refusal.msBeforeNext) : 0
    }
  }

  /**
   * Returns true if the account recently signed in from this network, and false if Redis is
   * offline.
   */
  async isKnown(pair: string): Promise<boolean> {
    if (this.#redis.problem() !== undefined) return false
    const key = this.#knownKeyOf(pair)
    return this.#redis.command(key, ['GET', key]).then(
      (found) => found !== null,
      () => false,
    )
  }

  /** Saves for all servers that the account signed in from this network. Not retried. */
  noteKnown(pair: string): void {
    if (this.#redis.problem() !== undefined) return
    const key = this.#knownKeyOf(pair)
    this.#redis.command(key, ['SET', key, '1', 'PX', String(reportLimits.knownMs)]).catch(() => undefined)
  }

  /** Records tokens that were taken on this server, and reports them soon. Returns at once. */
  noteTaken(name: BucketName, bucket: CorrectedBucket, user: string, amount = 1): void {
    const id = `${name}:${user}`
    const takings = this.#takings.get(id)
    if (takings !== undefined) {
      if (takings.taken === 0) takings.sinceMs = this.#clock.nowMs()
      // Report at most one whole bucket of tokens. A debt beyond that counts on this server only.
      takings.taken = Math.min(bucket.size, takings.taken + amount)
      return
    }
    if (this.#takings.size >= reportLimits.usersMax) {
      this.#onReport('dropped')
      return
    }
    this.#takings.set(id, {
      bucket,
      user,
      key: this.#redis.keyOf(`limit:{${partitionOf(user)}}:${id}`),
      sinceMs: this.#clock.nowMs(),
      taken: Math.min(bucket.size, amount),
      report: undefined,
      isUnderWay: false,
    })
    this.#reportLater()
  }

  /** Stops reporting, and drops the tokens that were not reported. */
  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#takings.clear()
  }

  #knownKeyOf(pair: string): string {
    return this.#redis.keyOf(`limit:known:${hideName(pair)}`)
  }

  #reportLater(): void {
    if (this.#isStopped) return
    this.#timer ??= this.#clock.setTimer(() => this.#reportDue(), reportLimits.reportEveryMs)
  }

  #reportDue(): void {
    this.#timer = undefined
    const nowMs = this.#clock.nowMs()
    this.#forgetRefilled(nowMs)
    if (this.#redis.problem() === undefined)
      for (const report of this.#gatherReports(nowMs)) void this.#send(report, nowMs)
    if (this.#takings.size > 0) this.#reportLater()
  }

  /**
   * Drops unreported tokens older than the time a bucket takes to fill: the bucket in Redis is full
   * again by then.
   */
  #forgetRefilled(nowMs: number): void {
    for (const [id, takings] of this.#takings) {
      const { bucket, report } = takings
      const refillMs = (bucket.size / bucket.perSecond) * 1_000
      if (report !== undefined && !takings.isUnderWay && nowMs - report.sinceMs > refillMs) takings.report = undefined
      if (nowMs - takings.sinceMs > refillMs) takings.taken = 0
      if (takings.taken === 0 && takings.report === undefined) this.#takings.delete(id)
    }
  }

  #gatherReports(nowMs: number): Iterable<readonly Takings[]> {
    const reports = new Map<number, Takings[]>()
    for (const takings of this.#takings.values()) {
      const { bucket, taken, sinceMs, report, isUnderWay } = takings
      const isDue =
        report !== undefined || (taken > 0 && (taken >= bucket.size / 8 || nowMs - sinceMs >= reportLimits.gatherMaxMs))
      if (!isDue || isUnderWay) continue
      const partition = partitionOf(takings.user)
      const together = reports.get(partition) ?? []
      if (together.length === 0) {
        if (this.#underWay + reports.size >= reportLimits.reportsUnderWayMax) continue
        reports.set(partition, together)
      }
      if (together.length >= reportLimits.usersPerReportMax) continue
      together.push(takings)
    }
    return reports.values()
  }

  async #send(all: readonly Takings[], nowMs: number): Promise<void> {
    this.#underWay++
    const args: (string | number)[] = [this.#server]
    for (const takings of all) {
      const { bucket, taken, sinceMs } = takings
      if (takings.report === undefined) {
        takings.report = { number: ++this.#reports, taken, sinceMs }
        takings.taken = 0
      }
      takings.isUnderWay = true
      const { report } = takings
      args.push(bucket.perSecond, bucket.size, report.taken, Math.ceil(nowMs - report.sinceMs), report.number)
    }
    try {
      const left = (await this.#redis.script(
        takeFromBuckets,
        all.map(({ key }) => key),
        args,
      )) as readonly number[]
      for (const [index, takings] of all.entries()) {
        takings.report = undefined
        takings.bucket.correct(takings.user, (left[index] ?? 0) / 1_000 - takings.taken)
      }
      this.#onReport('answered')
    } catch {
      this.#onReport('failed')
    } finally {
      this.#underWay--
      for (const takings of all) takings.isUnderWay = false
      if (this.#takings.size > 0) this.#reportLater()
    }
  }
}

/**
 * Returns a limiter of attempts per minute, counted from the first attempt, or undefined if the
 * limit is off.
 */
function attemptLimiter(redis: Redis, keyPrefix: string, points: number): RateLimiterRedis | undefined {
  if (points === 0) return undefined
  const scripts = new Map<string, RedisScript>()
  // Send the limiter's commands through our Redis wrapper, which bounds their number and time, on
  // one Redis or a cluster.
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

/**
 * Hashes a handle or address, so that Redis does not store it and all keys have the same length.
 */
function hideName(name: string): string {
  return createHash('sha256').update(name).digest('base64url')
}

function partitionOf(user: string): number {
  let hash = 0
  for (let index = 0; index < user.length; index++) hash = (hash * 31 + user.charCodeAt(index)) >>> 0
  return hash % partitionCount
}
