/**
 * From a cookie to who asks. The cookie holds a signed random token; whether its session counts is asked of the database,
 * for a handshake every time, so a revoked, expired or disabled one is refused at once (rule ACL2); for a request the cache
 * may answer where it may be trusted (session-cache.ts). Look-ups that come together become one query (rule LIM2), one at a
 * time, bounded in size, number and waiting time; the time of last use is written late, at most once a minute.
 */
import { createHash } from 'node:crypto'
import { ChorusError } from '@chorus/protocol'
import type { Id, Session, User } from '@chorus/protocol'
import { Batcher } from '../support/batcher.ts'
import type { Clock, Timer } from '../support/clock.ts'
import type { CachedSession, SessionCache } from './session-cache.ts'
import { CookieSigner, readCookie, toUrlAlphabet } from './session-cookie.ts'

/** A session that counts. */
export interface Identity {
  readonly sessionId: Id
  readonly userId: Id
  /** How long it still counts. */
  readonly expiresInMs: number
  readonly user: User
  /** The session as its owner sees it. */
  readonly record: Omit<Session, 'current'>
}

interface FoundSession extends Identity {
  readonly tokenHash: Buffer
  readonly isStale: boolean
}

/** What the authenticator needs of the store. */
export interface SessionRecords {
  find(tokenHashes: readonly Buffer[]): Promise<readonly FoundSession[]>
  touch(sessionIds: readonly Id[]): Promise<void>
}

export interface AuthenticatorOptions {
  readonly records: SessionRecords
  readonly cookieName: string
  readonly cookieSecret: string
  readonly clock: Clock
  /** Where there are several servers. */
  readonly cache?: SessionCache | undefined
  /** Told of what failed in the background. */
  readonly onProblem: (problem: unknown) => void
}

/** Most sessions asked for in one query. */
const queryMax = 500
/** Most look-ups that may wait. */
const waitingMax = 20_000
/** How long a look-up may take, waiting included: a send has to be answered within two seconds, whatever hangs. */
export const lookUpMaxMs = 1_500
/** Most sessions whose use waits to be written; past that, some are written a little later. */
const touchedMax = 20_000
const touchAfterMs = 2_000

/** Only this of a token is ever stored or logged. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/** Behind TLS browsers hold the cookie to this host and to TLS by its name alone. */
export function cookieNameFor(publicUrl: string | undefined): string {
  return publicUrl?.startsWith('https:') === true ? '__Host-chorus_session' : 'chorus_session'
}

function unavailable(reason: string): ChorusError {
  return new ChorusError('unavailable', `unable to check the session; ${reason}`, { retryAfterMs: 1_000 })
}

export class Authenticator {
  readonly signer: CookieSigner
  readonly cookieName: string
  readonly #records: SessionRecords
  readonly #clock: Clock
  readonly #cache: SessionCache | undefined
  readonly #onProblem: (problem: unknown) => void
  /** Null: nobody's token. */
  readonly #lookUps: Batcher<Buffer, FoundSession | null>
  readonly #touched = new Set<Id>()
  #touchTimer: Timer | undefined

  constructor({ records, cookieName, cookieSecret, clock, cache, onProblem }: AuthenticatorOptions) {
    this.signer = new CookieSigner(cookieSecret)
    this.cookieName = cookieName
    this.#records = records
    this.#clock = clock
    this.#cache = cache
    this.#onProblem = onProblem
    this.#lookUps = new Batcher({
      run: (tokenHashes: readonly Buffer[]) => this.#lookUp(tokenHashes),
      batchMax: queryMax,
      waitingMax,
      refusal: () => unavailable('too many wait for it'),
    })
  }

  /** The signed value of the session cookie, in one spelling; undefined when the header has none. */
  readSigned(cookieHeader: string | undefined): string | undefined {
    const signed = cookieHeader === undefined ? undefined : readCookie(cookieHeader, this.cookieName)
    return signed === undefined ? undefined : toUrlAlphabet(signed)
  }

  /** Who sent this `Cookie` header; undefined when nobody that counts. Rejects when the database cannot be asked. */
  async authenticate(cookieHeader: string | undefined): Promise<Identity | undefined> {
    const signed = this.readSigned(cookieHeader)
    if (signed === undefined) return undefined
    const { valid, value } = this.signer.unsign(signed)
    return valid ? this.identify(value) : undefined
  }

  /** Who makes this request, by the token already unsigned: from the cache where it counts, else from the database. */
  async recognise(token: string): Promise<CachedSession | undefined> {
    const cache = this.#cache
    if (cache === undefined) return this.identify(token)
    const tokenHash = hashToken(token)
    const cached = await cache.find(tokenHash)
    if (cached !== undefined) return cached
    const { epoch } = cache
    const askedAtMs = cache.nowMs()
    const identity = await this.identify(token)
    if (identity !== undefined) cache.remember(tokenHash, identity, askedAtMs, epoch)
    return identity
  }

  /** The session with this token is over: nothing needs to be remembered of it. */
  forget(tokenHash: Buffer): void {
    this.#cache?.forget(tokenHash)
  }

  /** The session with this token, already unsigned, asked of the database. */
  async identify(token: string): Promise<Identity | undefined> {
    let timer: Timer | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = this.#clock.setTimer(() => reject(unavailable('the database does not answer')), lookUpMaxMs)
    })
    try {
      return (await Promise.race([this.#lookUps.ask(hashToken(token)), late])) ?? undefined
    } finally {
      timer?.cancel()
    }
  }

  async #lookUp(tokenHashes: readonly Buffer[]): Promise<(FoundSession | null)[]> {
    const found = await this.#records.find(tokenHashes)
    const byHash = new Map(found.map((session) => [session.tokenHash.toString('base64'), session]))
    for (const session of found) if (session.isStale) this.#noteUse(session.sessionId)
    return tokenHashes.map((tokenHash) => byHash.get(tokenHash.toString('base64')) ?? null)
  }

  #noteUse(sessionId: Id): void {
    if (this.#touched.size >= touchedMax) return
    this.#touched.add(sessionId)
    this.#touchTimer ??= this.#clock.setTimer(() => void this.#writeUses(), touchAfterMs)
  }

  async #writeUses(): Promise<void> {
    this.#touchTimer = undefined
    const sessionIds = [...this.#touched]
    this.#touched.clear()
    try {
      for (let from = 0; from < sessionIds.length; from += queryMax)
        await this.#records.touch(sessionIds.slice(from, from + queryMax))
    } catch (error) {
      this.#onProblem(error)
    }
  }

  /** Forgets what has not been written. */
  stop(): void {
    this.#touchTimer?.cancel()
    this.#touched.clear()
  }
}
