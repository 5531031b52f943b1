/**
 * What Redis remembers of sessions that Postgres said are good, so that requests of one device do not ask for the same row
 * again and again on every server. It is never the authority (rule ACL2): an entry is sealed, holds neither the token nor
 * its hash, and counts only
 * - for `countsMs` from the moment before Postgres was asked, and not beyond the session's own end,
 * - in the history of the database in which it was found,
 * - while its session is not among those revoked lately,
 * - and while this server's last sweep began less than `sweepMaxAgeMs` ago, so that it knows those.
 * In every other case Postgres is asked. A handshake never comes here.
 */
import type { Id } from '@chorus/protocol'
import type { CacheOutcome, SharedCache } from '../support/shared-cache.ts'
import type { RecentRevocations } from './recent-revocations.ts'

export const sessionCacheBounds = { countsMs: 60_000, sweepMaxAgeMs: 5_000 } as const

export interface CachedSession {
  readonly sessionId: Id
  readonly userId: Id
}

/** As it stands in Redis, behind its seal: epoch, session, user, end of the session and time of the look, by the database's clock. */
type Entry = readonly [epoch: string, sessionId: Id, userId: Id, endsAtMs: number, askedAtMs: number]

export interface SessionCacheOptions {
  readonly cache: Pick<SharedCache, 'read' | 'write' | 'forget' | 'nameOf'>
  readonly revocations: Pick<RecentRevocations, 'isComplete' | 'has'>
  /** How long ago the last sweep that saw everything began. */
  readonly sweepAgeMs: () => number
  /** The database's time. */
  readonly now: () => Date
  readonly epoch: () => string
  readonly onRead: (outcome: CacheOutcome | 'distrusted') => void
}

export class SessionCache {
  readonly #options: SessionCacheOptions

  constructor(options: SessionCacheOptions) {
    this.#options = options
  }

  /** The session with this token, if what is cached of it counts right now. */
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

  /** The database's time before it is asked about a session: what is remembered counts from there. */
  nowMs(): number {
    return this.#options.now().getTime()
  }

  remember(
    tokenHash: Buffer,
    { sessionId, userId, expiresInMs }: CachedSession & { readonly expiresInMs: number },
    askedAtMs: number,
    epoch: string,
  ): void {
    const lifeMs = Math.floor(Math.min(sessionCacheBounds.countsMs, expiresInMs))
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
    return revocations.isComplete && sweepAgeMs() < sessionCacheBounds.sweepMaxAgeMs
  }

  /** Judged when it has come, not when it was asked for. */
  #judge([epoch, sessionId, userId, endsAtMs, askedAtMs]: Entry): CachedSession | undefined {
    const nowMs = this.nowMs()
    const counts =
      epoch === this.#options.epoch() &&
      nowMs < endsAtMs &&
      Math.abs(nowMs - askedAtMs) < sessionCacheBounds.countsMs &&
      this.#mayTrust() &&
      !this.#options.revocations.has(sessionId)
    return counts ? { sessionId, userId } : undefined
  }

  #keyOf(tokenHash: Buffer): string {
    return `session:${this.#options.cache.nameOf(tokenHash)}`
  }
}
