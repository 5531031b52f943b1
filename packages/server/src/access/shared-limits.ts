/**
 * What several servers count together, over Redis. The limits of each server stand before this and remain when Redis is
 * away: it can only make a limit stricter, never open it.
 *
 * Attempts to sign in are counted before they are made, so each waits for the answer. Messages and requests are not: the
 * bucket of this server decides at once (rule ORD2: nothing on their way may wait), and what was taken here is reported
 * afterwards, gathered by user, to a bucket of the same size in Redis that all servers take from. The answer corrects the
 * bucket here. Between two reports a user gets at most an eighth of a burst from each server too many. A report that fails is
 * sent again, under the same number, so that it counts once whether or not it ran; while Redis is away at most a whole bucket
 * of each user waits, for as long as a bucket takes to fill.
 */
import { createHash, randomBytes } from 'node:crypto'
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
  /** How long a network from which an account signed in is known. */
  knownMs: 30 * 86_400_000,
} as const

/** Hash tags, so that one report can name many users on a cluster, too. */
const partitionCount = 16

/**
 * takeFromBuckets: takes from one bucket for each key, in one step.
 * - KEYS[i]: a bucket, a hash of `tokens`, `at` (ms) and the last report of each server; expires when it would be full.
 * - ARGV[1]: the server. ARGV[5i-3 … 5i+1]: tokens a second; size; tokens taken; ms over which they were gathered; number of
 *   the report. A number that the bucket knows of this server takes nothing: the report came twice, for want of an answer.
 * - Returns thousandths of tokens left, one number a key. Never less than a whole bucket below zero, so nobody is shut
 *   out for longer than a full bucket takes.
 * - Cost: three commands a key. Uses the clock of Redis; one that goes back loses no more than the time it went.
 * What was gathered while the bucket was being refilled is taken before the rest overflows.
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

/** The limits that are buckets of tokens by user. */
export type BucketName = 'sends' | 'requests' | 'members' | 'strangers' | 'connects'

/** A bucket of this server that is corrected by what all servers took. */
export interface CorrectedBucket {
  readonly perSecond: number
  readonly size: number
  /** No more than so many tokens are left. */
  correct(key: string, tokens: number): void
}

/** What one user took of one limit. */
interface Takings {
  readonly bucket: CorrectedBucket
  readonly user: string
  readonly key: string
  /** Not in a report yet, since when. */
  taken: number
  sinceMs: number
  /** A report without an answer. It is sent again as it was, under its number, so that it counts once. */
  report: Report | undefined
  isUnderWay: boolean
}

interface Report {
  readonly number: number
  readonly taken: number
  readonly sinceMs: number
}

/** An account at one network, an account, a network. */
type AttemptKind = 'pair' | 'account' | 'address'

export interface SharedLimitsOptions {
  readonly redis: Redis
  readonly clock: Clock
  /** A minute, account and network. */
  readonly signIns: number
  /** A minute and account, over all networks. */
  readonly signInsWide: number
  readonly signInsAddress: number
  /** Told what became of each report. */
  readonly onReport?: (outcome: 'answered' | 'failed' | 'dropped') => void
}

export class SharedLimits {
  readonly #redis: Redis
  readonly #clock: Clock
  readonly #onReport: (outcome: 'answered' | 'failed' | 'dropped') => void
  readonly #attempts: { readonly [Kind in AttemptKind]: RateLimiterRedis | undefined }
  /** Names this server in the buckets. */
  readonly #server = randomBytes(6).toString('base64url')
  readonly #takings = new Map<string, Takings>()
  #underWay = 0
  #reports = 0
  #isStopped = false
  #timer: Timer | undefined

  constructor({ redis, clock, signIns, signInsWide, signInsAddress, onReport = () => undefined }: SharedLimitsOptions) {
    this.#redis = redis
    this.#clock = clock
    this.#onReport = onReport
    this.#attempts = {
      pair: attemptLimiter(redis, redis.keyOf('limit:pair'), signIns),
      account: attemptLimiter(redis, redis.keyOf('limit:account'), signInsWide),
      address: attemptLimiter(redis, redis.keyOf('limit:address'), signInsAddress),
    }
  }

  /** Milliseconds until one more attempt would pass; 0: it passed, or Redis cannot say. */
  async takeAttempt(kind: AttemptKind, name: string): Promise<number> {
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

  /** Did the account sign in from this network lately? False when Redis cannot say. */
  async isKnown(pair: string): Promise<boolean> {
    if (this.#redis.problem() !== undefined) return false
    const key = this.#knownKeyOf(pair)
    return this.#redis.command(key, ['GET', key]).then(
      (found) => found !== null,
      () => false,
    )
  }

  /** Tells the other servers that the account signed in from this network. Tried once. */
  noteKnown(pair: string): void {
    if (this.#redis.problem() !== undefined) return
    const key = this.#knownKeyOf(pair)
    this.#redis.command(key, ['SET', key, '1', 'PX', String(sharedLimitBounds.knownMs)]).catch(() => undefined)
  }

  /** So many tokens were taken here. Reported soon; returns at once. */
  noteTaken(name: BucketName, bucket: CorrectedBucket, user: string, amount = 1): void {
    const id = `${name}:${user}`
    const takings = this.#takings.get(id)
    if (takings !== undefined) {
      if (takings.taken === 0) takings.sinceMs = this.#clock.nowMs()
      // More than a whole bucket is more than any server gives; a debt stays with the server that gave it.
      takings.taken = Math.min(bucket.size, takings.taken + amount)
      return
    }
    if (this.#takings.size >= sharedLimitBounds.usersMax) {
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

  /** Forgets what was not reported. */
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
    this.#timer ??= this.#clock.setTimer(() => this.#reportDue(), sharedLimitBounds.reportEveryMs)
  }

  #reportDue(): void {
    this.#timer = undefined
    const nowMs = this.#clock.nowMs()
    this.#forgetRefilled(nowMs)
    if (this.#redis.problem() === undefined)
      for (const report of this.#gatherReports(nowMs)) void this.#send(report, nowMs)
    if (this.#takings.size > 0) this.#reportLater()
  }

  /** What is older than a bucket takes to fill changes nothing any more. */
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
        report !== undefined ||
        (taken > 0 && (taken >= bucket.size / 8 || nowMs - sinceMs >= sharedLimitBounds.gatherMaxMs))
      if (!isDue || isUnderWay) continue
      const partition = partitionOf(takings.user)
      const together = reports.get(partition) ?? []
      if (together.length === 0) {
        if (this.#underWay + reports.size >= sharedLimitBounds.reportsUnderWayMax) continue
        reports.set(partition, together)
      }
      if (together.length >= sharedLimitBounds.usersPerReportMax) continue
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
