/**
 * Finds the user of a session cookie. The cookie holds a signed random token. The database decides
 * whether the session of a token is valid. It is asked for every handshake, so that a revoked or
 * expired session, or one of a disabled user, is refused at once (rule ACL2). For other requests
 * the cache may answer while it can be trusted (session-cache.ts). Concurrent look-ups become one
 * query (rule LIM2). One query runs at a time; its size, the number of waiting look-ups and their
 * waiting time are bounded. The time of last use is written later, at most once a minute.
 */
import { createHash } from 'node:crypto'
import { ChorusError } from '@chorus/protocol'
import type { Id, Session, User } from '@chorus/protocol'
import { Batcher } from '../support/batcher.ts'
import type { Clock, Timer } from '../support/clock.ts'
import type { Credential } from '../support/credential.ts'
import type { CachedSession, SessionCache } from './session-cache.ts'
import { CookieSigner, readCookie, toUrlAlphabet } from './session-cookie.ts'

/** A valid session and its user. */
export interface Identity {
  readonly sessionId: Id
  readonly userId: Id
  /** Default: `cookie`. */
  readonly credential?: Credential
  /** Time until the session expires, or the token. */
  readonly expiresInMs: number
  readonly user: User
  /** Public record of the session, as sent to its user. */
  readonly record: Omit<Session, 'current'>
}

interface FoundSession extends Identity {
  readonly tokenHash: Buffer
  readonly isStale: boolean
}

/** Database functions that the authenticator needs. */
export interface SessionRecords {
  find(tokenHashes: readonly Buffer[]): Promise<readonly FoundSession[]>
  touch(sessionIds: readonly Id[]): Promise<void>
}

export interface AuthenticatorOptions {
  readonly records: SessionRecords
  readonly cookieName: string
  readonly cookieSecret: string
  readonly clock: Clock
  /** Session cache in Redis; only set with several servers. */
  readonly cache?: SessionCache | undefined
  /** Called with errors of background work, such as writing the times of last use. */
  readonly onProblem: (problem: unknown) => void
}

/** Maximum number of sessions in one query. */
const queryMax = 500
/** Maximum number of session look-ups that may wait for a query. */
const waitingMax = 20_000
/**
 * Maximum time of a session look-up, waiting included. It leaves enough time to answer a
 * `send-message` command within two seconds even if the database hangs.
 */
export const lookUpMaxMs = 1_500
/**
 * Maximum number of sessions whose time of last use waits to be written. The times of further
 * sessions are written after one of their later requests.
 */
const touchedMax = 20_000
const touchAfterMs = 2_000

/**
 * Returns the hash of a session token. Only this hash is ever stored or logged, never the token.
 */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/**
 * Returns the name of the session cookie. Behind TLS, the prefix of the name makes browsers
 * restrict the cookie to this host and to TLS.
 */
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
  /** Batches the session look-ups. A result of null means that no valid session has this token. */
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
      refusal: () => unavailable('too many requests are waiting for it'),
    })
  }

  /**
   * Returns the signed value of the session cookie, in the URL alphabet, or undefined if the header
   * has none.
   */
  readSigned(cookieHeader: string | undefined): string | undefined {
    const signed = cookieHeader === undefined ? undefined : readCookie(cookieHeader, this.cookieName)
    return signed === undefined ? undefined : toUrlAlphabet(signed)
  }

  /**
   * Returns the user and session of a `Cookie` header, or undefined if no valid session belongs to
   * it. Rejects when the database is unavailable.
   */
  async authenticate(cookieHeader: string | undefined): Promise<Identity | undefined> {
    const signed = this.readSigned(cookieHeader)
    if (signed === undefined) return undefined
    const { valid, value } = this.signer.unsign(signed)
    return valid ? this.identify(value) : undefined
  }

  /**
   * Returns the session of a request by its token (without the signature): from the cache if its
   * entry can be trusted, else from the database.
   */
  recognise(token: string): Promise<CachedSession | undefined> {
    return this.recogniseHash(hashToken(token))
  }

  /** Like {@link recognise}, with the hash under which the session is stored. */
  async recogniseHash(tokenHash: Buffer): Promise<CachedSession | undefined> {
    const cache = this.#cache
    if (cache === undefined) return this.#identifyHash(tokenHash)
    const cached = await cache.find(tokenHash)
    if (cached !== undefined) return cached
    const { epoch } = cache
    const askedAtMs = cache.nowMs()
    const identity = await this.#identifyHash(tokenHash)
    if (identity !== undefined) cache.remember(tokenHash, identity, askedAtMs, epoch)
    return identity
  }

  /** Removes the session with this token from the cache. */
  forget(tokenHash: Buffer): void {
    this.#cache?.forget(tokenHash)
  }

  /** Returns the session of a token (without the signature) from the database. */
  identify(token: string): Promise<Identity | undefined> {
    return this.#identifyHash(hashToken(token))
  }

  async #identifyHash(tokenHash: Buffer): Promise<Identity | undefined> {
    let timer: Timer | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = this.#clock.setTimer(() => reject(unavailable('the database does not answer')), lookUpMaxMs)
    })
    try {
      return (await Promise.race([this.#lookUps.ask(tokenHash), late])) ?? undefined
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

  /** Stops the background writes, and drops the times of last use that were not written. */
  stop(): void {
    this.#touchTimer?.cancel()
    this.#touched.clear()
  }
}
