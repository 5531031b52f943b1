/**
 * Caches valid sessions in Redis, so that requests of one device do not query the same row again
 * and again on every server. Postgres, not the cache, decides whether a session is valid (rule
 * ACL2). A cache entry is encrypted and holds neither the token nor its hash. It is accepted only
 * - for `countsMs` from just before Postgres was asked, and not beyond the session's own end,
 * - in the database epoch in which the session was found,
 * - while its session is not among the recently revoked ones (recent-revocations.ts),
 * - and while this server's last sweep began less than `sweepMaxAgeMs` ago, so that the server
 * knows of those revocations.
 * In every other case Postgres is asked. Handshakes never use this cache.
 */
import type { Id } from '@chorus/protocol'
import type { CacheOutcome, SharedCache } from '../redis/shared-cache.ts'
import type { RecentRevocations } from './recent-revocations.ts'

export const sessionCacheTimings = { countsMs: 60_000, sweepMaxAgeMs: 5_000 } as const

export interface CachedSession {
  readonly sessionId: Id
  readonly userId: Id
}

/**
 * Content of an encrypted entry in Redis. Both times are by the database's clock: the end of the
 * session, and the time at which Postgres was asked.
 */
type Entry = readonly [epoch: string, sessionId: Id, userId: Id, endsAtMs: number, askedAtMs: number]

export interface SessionCacheOptions {
  readonly cache: Pick<SharedCache, 'read' | 'write' | 'forget' | 'nameOf'>
  readonly revocations: Pick<RecentRevocations, 'isComplete' | 'has'>
  /** Returns the time since the last complete sweep began. */
  readonly sweepAgeMs: () => number
  /** Returns the time by the database's clock. */
  readonly now: () => Date
  readonly epoch: () => string
  readonly onRead: (outcome: CacheOutcome | 'distrusted') => void
}

export class SessionCache {
  readonly #options: SessionCacheOptions

  constructor(options: SessionCacheOptions) {
    this.#options = options
  }

  /** Returns the session of this token hash if the cache has an acceptable entry of it. */
  async find(tokenHash: Buffer): Promise<CachedSession | undefined> {
    const { cache, onRead } = this.#options
    if (!this.#mayTrust()) {
      onRead('distrusted')
      return undefined
    }
    const { outcome, value } = await cache.read(this.#keyOf(tokenHash))
    const session = value === undefined ? undefined : this.#judge(JSON.parse(value) as Entry)
    onRead(outcome === 'hit' && session === undefined ? 'distrusted' : outcome)
    return session
  }

  /**
   * Returns the time by the database's clock. Callers read it before they ask Postgres, because an
   * entry's age counts from there.
   */
  nowMs(): number {
    return this.#options.now().getTime()
  }

  remember(
    tokenHash: Buffer,
    { sessionId, userId, expiresInMs }: CachedSession & { readonly expiresInMs: number },
    askedAtMs: number,
    epoch: string,
  ): void {
    const lifeMs = Math.floor(Math.min(sessionCacheTimings.countsMs, expiresInMs))
    if (lifeMs <= 0 || epoch !== this.#options.epoch()) return
    const entry: Entry = [epoch, sessionId, userId, askedAtMs + expiresInMs, askedAtMs]
    this.#options.cache.write(this.#keyOf(tokenHash), JSON.stringify(entry), lifeMs)
  }

  get epoch(): string {
    return this.#options.epoch()
  }

  forget(tokenHash: Buffer): void {
    this.#options.cache.forget(this.#keyOf(tokenHash))
  }

  #mayTrust(): boolean {
    const { revocations, sweepAgeMs } = this.#options
    return revocations.isComplete && sweepAgeMs() < sessionCacheTimings.sweepMaxAgeMs
  }

  /**
   * Returns the session of an entry, or undefined if the entry must not be used. Called after the
   * entry arrived, because the session may have been revoked during the read.
   */
  #judge([epoch, sessionId, userId, endsAtMs, askedAtMs]: Entry): CachedSession | undefined {
    const nowMs = this.nowMs()
    const counts =
      epoch === this.#options.epoch() &&
      nowMs < endsAtMs &&
      Math.abs(nowMs - askedAtMs) < sessionCacheTimings.countsMs &&
      this.#mayTrust() &&
      !this.#options.revocations.has(sessionId)
    return counts ? { sessionId, userId } : undefined
  }

  #keyOf(tokenHash: Buffer): string {
    return `session:${this.#options.cache.nameOf(tokenHash)}`
  }
}
