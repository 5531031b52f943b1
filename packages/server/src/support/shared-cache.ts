/**
 * What servers keep for each other in Redis to save reads of the database. Every value is sealed: an HMAC over its key and
 * itself, with a key that lives in Postgres, so whoever can write to Redis can lose values but neither forge one nor put one
 * where another belongs (rule BUS1 in spirit). What a value permits is decided by whoever reads it, never by its being here.
 *
 * Reads answer soon, one way or the other; after a failure Redis is left alone for a moment. Writes are tried once. Reads
 * and writes under way are bounded; beyond the bound a read finds nothing and a write is dropped.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { Clock, Timer } from './clock.ts'
import type { Redis } from './redis.ts'

export const sharedCacheBounds = {
  /** How long a read may wait. A send has to be answered within two seconds, and the database has to be asked after it. */
  patienceMs: 200,
  /** How long Redis is left alone after a failure. */
  restMs: 1_000,
  underWayMax: 500,
  valueMaxBytes: 400_000,
} as const

/** What became of a read: `refused` values were there with a seal that is not ours. */
export type CacheOutcome = 'hit' | 'miss' | 'refused' | 'away'

export interface SharedCacheOptions {
  readonly redis: Pick<Redis, 'command' | 'problem' | 'keyOf'>
  /** The secret of all servers of this database. */
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

  /** A name in place of something secret: the same on every server, and nobody else can tell what it stands for. */
  nameOf(secret: Buffer): string {
    return createHmac('sha256', this.#nameKey).update(secret).digest('base64url')
  }

  async read(name: string): Promise<{ readonly outcome: CacheOutcome; readonly value?: string }> {
    const key = this.#redis.keyOf(name)
    if (!this.#mayAsk()) return { outcome: 'away' }
    let timer: Timer | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = this.#clock.setTimer(() => reject(new Error('late')), sharedCacheBounds.patienceMs)
    })
    this.#underWay++
    try {
      const sealed = await Promise.race([this.#redis.command(key, ['GET', key]), late])
      if (sealed === null) return { outcome: 'miss' }
      const value = typeof sealed === 'string' ? this.#open(key, sealed) : undefined
      return value === undefined ? { outcome: 'refused' } : { outcome: 'hit', value }
    } catch {
      this.#restsUntilMs = this.#clock.nowMs() + sharedCacheBounds.restMs
      return { outcome: 'away' }
    } finally {
      timer?.cancel()
      this.#underWay--
    }
  }

  /** Keeps it for `lifeMs`, if Redis can be asked. */
  write(name: string, value: string, lifeMs: number): void {
    const key = this.#redis.keyOf(name)
    if (Buffer.byteLength(value) > sharedCacheBounds.valueMaxBytes) return
    this.#tell(key, ['SET', key, `${this.#seal(key, value)}${value}`, 'PX', String(lifeMs)])
  }

  forget(name: string): void {
    const key = this.#redis.keyOf(name)
    this.#tell(key, ['DEL', key])
  }

  #mayAsk(): boolean {
    return (
      this.#underWay < sharedCacheBounds.underWayMax &&
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
        this.#restsUntilMs = this.#clock.nowMs() + sharedCacheBounds.restMs
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

/** Of a SHA-256 as base64url. */
const sealChars = 43
