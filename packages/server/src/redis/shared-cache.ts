/**
 * Cache in Redis that all servers share, to save database reads. Every value is signed: an HMAC
 * over key and value, with a secret that is stored in Postgres. So an attacker who can write to
 * Redis can remove values, but can neither forge a value nor move it to another key (as for
 * messages of the bus, rule BUS1). A cached value alone grants no access: its reader decides what
 * it permits.
 *
 * Reads resolve quickly, with or without a value. After a failure, no requests go to Redis for a
 * short time. A write is tried only once. The number of running reads and writes is limited: beyond
 * the limit a read finds nothing, and a write is dropped.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis } from './redis.ts'

export const sharedCacheLimits = {
  /**
   * Timeout of a read. A message must be acknowledged within two seconds, and after a cache miss
   * the server still has to read the database.
   */
  patienceMs: 200,
  /** Time without requests to Redis after a failed one. */
  restMs: 1_000,
  underWayMax: 500,
  valueMaxBytes: 400_000,
} as const

/**
 * Outcome of a read. `refused`: the value had an invalid signature. `away`: Redis was not
 * available.
 */
export type CacheOutcome = 'hit' | 'miss' | 'refused' | 'away'

export interface SharedCacheOptions {
  readonly redis: Pick<Redis, 'command' | 'problem' | 'keyOf'>
  /** Secret that all servers of this database share. */
  readonly secret: string
  readonly clock: Clock
}

export class SharedCache {
  readonly #redis: Pick<Redis, 'command' | 'problem' | 'keyOf'>
  readonly #clock: Clock
  readonly #sealKey: Buffer
  readonly #nameKey: Buffer
  #underWay = 0
  #restsUntilMs = Number.NEGATIVE_INFINITY

  constructor({ redis, secret, clock }: SharedCacheOptions) {
    this.#redis = redis
    this.#clock = clock
    this.#sealKey = Buffer.from(hkdfSync('sha256', secret, '', 'chorus cache: seal', 32))
    this.#nameKey = Buffer.from(hkdfSync('sha256', secret, '', 'chorus cache: name', 32))
  }

  /**
   * Returns a name that can be used in a key in place of a secret. It is the same on every server,
   * and the secret cannot be derived from it.
   */
  nameOf(secret: Buffer): string {
    return createHmac('sha256', this.#nameKey).update(secret).digest('base64url')
  }

  async read(name: string): Promise<{ readonly outcome: CacheOutcome; readonly value?: string }> {
    const key = this.#redis.keyOf(name)
    if (!this.#mayAsk()) return { outcome: 'away' }
    let timer: Timer | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = this.#clock.setTimer(() => reject(new Error('late')), sharedCacheLimits.patienceMs)
    })
    this.#underWay++
    try {
      const sealed = await Promise.race([this.#redis.command(key, ['GET', key]), late])
      if (sealed === null) return { outcome: 'miss' }
      const value = typeof sealed === 'string' ? this.#open(key, sealed) : undefined
      return value === undefined ? { outcome: 'refused' } : { outcome: 'hit', value }
    } catch {
      this.#restsUntilMs = this.#clock.nowMs() + sharedCacheLimits.restMs
      return { outcome: 'away' }
    } finally {
      timer?.cancel()
      this.#underWay--
    }
  }

  /** Stores the value for `lifeMs`, if Redis is available. Never waits. */
  write(name: string, value: string, lifeMs: number): void {
    const key = this.#redis.keyOf(name)
    if (Buffer.byteLength(value) > sharedCacheLimits.valueMaxBytes) return
    this.#tell(key, ['SET', key, `${this.#seal(key, value)}${value}`, 'PX', String(lifeMs)])
  }

  forget(name: string): void {
    const key = this.#redis.keyOf(name)
    this.#tell(key, ['DEL', key])
  }

  #mayAsk(): boolean {
    return (
      this.#underWay < sharedCacheLimits.underWayMax &&
      this.#redis.problem() === undefined &&
      this.#clock.nowMs() >= this.#restsUntilMs
    )
  }

  #tell(key: string, args: readonly string[]): void {
    if (!this.#mayAsk()) return
    this.#underWay++
    this.#redis
      .command(key, args)
      .catch(() => {
        this.#restsUntilMs = this.#clock.nowMs() + sharedCacheLimits.restMs
      })
      .finally(() => this.#underWay--)
  }

  #seal(key: string, value: string): string {
    return createHmac('sha256', this.#sealKey).update(key).update('\0').update(value).digest('base64url')
  }

  #open(key: string, sealed: string): string | undefined {
    const value = sealed.slice(sealChars)
    const given = Buffer.from(sealed.slice(0, sealChars))
    const expected = Buffer.from(this.#seal(key, value))
    return given.length === expected.length && timingSafeEqual(given, expected) ? value : undefined
  }
}

/** Length of the signature: an HMAC with SHA-256 in base64url. */
const sealChars = 43
