/**
 * Sessions of user tokens (accounts/token-sessions.ts): begins them, continues them under the next
 * token, and ends those without a device with their connection.
 *
 * A key, a user or a session may be revoked while a session begins, after its revocation has looked
 * for sessions to revoke. So each session is read again, with its key and user, after it was
 * stored: one of the two reads sees the other (rule ACL2).
 */
import { randomBytes } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import {
  beginTokenSessions,
  deviceHash,
  endLoneSessions,
  findTokenSessions,
  renewTokenSession,
  type TokenSession,
  type TokenSessionQuery,
  type TokenSessionStart,
} from '../accounts/token-sessions.ts'
import type { Identity } from '../auth/authenticator.ts'
import type { Limits } from '../auth/limits.ts'
import type { CachedSession } from '../auth/session-cache.ts'
import type { Database } from '../database/database.ts'
import { Batcher } from '../support/batcher.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { askDatabase, unavailable } from './ask-database.ts'
import type { VerifiedToken } from './token-cache.ts'
import { tokenRefusal } from './verify-token.ts'

export const tokenSessionBounds = {
  batchMax: 500,
  waitingMax: 20_000,
  /** Time for which ended sessions are collected before they are written. */
  endAfterMs: 500,
  /** Maximum number of ended sessions that wait. Further ones expire with their token. */
  endingMax: 20_000,
} as const

export interface TokenSessionsOptions {
  readonly database: Database
  readonly limits: Pick<Limits, 'takeTokenSession'>
  readonly clock: Clock
  /** Returns the time by the database's clock. */
  readonly now: () => Date
  /** Called with errors of background work. */
  readonly onProblem: (problem: unknown) => void
}

/** A connection whose token is renewed. */
interface RenewedConnection {
  readonly user: Id
  readonly session: Id
  expiresAtMs: number
}

/** Device that a token is used on. */
export interface TokenDevice {
  /** UUID in lower case. Undefined: the session ends with the connection. */
  readonly device: string | undefined
  readonly userAgent: string | null
}

const signedOut = 'its session was signed out after it was issued: get a new token'

export class TokenSessions {
  readonly #options: TokenSessionsOptions
  readonly #finds: Batcher<TokenSessionQuery, TokenSession | null>
  readonly #begins: Batcher<TokenSessionStart, boolean>
  readonly #ending = new Set<Id>()
  #endTimer: Timer | undefined

  constructor(options: TokenSessionsOptions) {
    const { database } = options
    const { batchMax, waitingMax } = tokenSessionBounds
    const refusal = (): Error => unavailable('too many requests are waiting for it')
    this.#options = options
    this.#finds = new Batcher({
      run: (queries: readonly TokenSessionQuery[]) => findTokenSessions(database, queries),
      batchMax,
      waitingMax,
      refusal,
    })
    this.#begins = new Batcher({
      run: (starts: readonly TokenSessionStart[]) => beginEach(database, starts),
      batchMax,
      waitingMax,
      refusal,
    })
  }

  /** Returns the identity of a new connection. */
  async open(token: VerifiedToken, { device, userAgent }: TokenDevice): Promise<Identity> {
    const { limits, now } = this.#options
    let session: TokenSession
    if (device === undefined) {
      limits.takeTokenSession(token.userId)
      session = await this.#begin(token, { device, userAgent, tokenHash: randomBytes(32) })
    } else {
      session = await this.#sessionOf(token, device, userAgent)
      token.session = { device, id: session.sessionId }
    }
    return {
      sessionId: session.sessionId,
      userId: session.userId,
      credential: device === undefined ? 'lone-token' : 'device-token',
      expiresInMs: Math.max(0, token.expMs - now().getTime()),
      user: session.user,
      record: session.record,
    }
  }

  /**
   * Returns the session of a request. `recognise` finds a live session by its hash, as for cookies.
   */
  async forRequest(
    token: VerifiedToken,
    device: string,
    userAgent: string | null,
    recognise: (tokenHash: Buffer) => Promise<CachedSession | undefined>,
  ): Promise<Id> {
    const { session: known } = token
    // The first request of a token is not looked up like that, so that its session lasts as long as
    // the token and ends with its key.
    if (known?.device === device) {
      const found = await recognise(deviceHash(token.userId, device))
      if (found?.sessionId === known.id) return known.id
    }
    const { sessionId } = await this.#sessionOf(token, device, userAgent)
    token.session = { device, id: sessionId }
    return sessionId
  }

  /** Lets the connection go on until the token expires. Returns that time. */
  async renew(connection: RenewedConnection, token: VerifiedToken): Promise<Date> {
    const { database, clock, now } = this.#options
    const until = new Date(token.expMs)
    const tokenHash = await askDatabase(clock, () =>
      renewTokenSession(database, connection.session, connection.user, { ...token, until }),
    )
    if (tokenHash === undefined || (await this.#find({ tokenHash, iat: token.iat })) === null)
      throw tokenRefusal('the session of this connection has ended')
    connection.expiresAtMs = clock.nowMs() + token.expMs - now().getTime()
    return until
  }

  /** Ends the session of a closed connection without a device. Written a moment later. */
  end(session: Id): void {
    if (this.#ending.size >= tokenSessionBounds.endingMax) return
    this.#ending.add(session)
    this.#endTimer ??= this.#options.clock.setTimer(() => void this.#end(), tokenSessionBounds.endAfterMs)
  }

  async #sessionOf(token: VerifiedToken, device: string, userAgent: string | null): Promise<TokenSession> {
    const tokenHash = deviceHash(token.userId, device)
    const found = await this.#find({ tokenHash, iat: token.iat })
    if (found === null) this.#options.limits.takeTokenSession(token.userId)
    else if (found.keyId === token.keyId && found.tokenUntilMs >= token.expMs && !found.isStale) return found
    return this.#begin(token, { device, userAgent, tokenHash })
  }

  async #begin(
    token: VerifiedToken,
    start: Pick<TokenSessionStart, 'device' | 'userAgent' | 'tokenHash'>,
  ): Promise<TokenSession> {
    const { userId, keyId, iat, expMs } = token
    const whole = { ...start, id: uuidv7(), userId, keyId, iat, until: new Date(expMs) }
    if (!(await askDatabase(this.#options.clock, () => this.#begins.ask(whole)))) throw tokenRefusal(signedOut)
    const session = await this.#find({ tokenHash: start.tokenHash, iat })
    if (session === null) throw tokenRefusal('its key, its user or its session was revoked at this moment')
    return session
  }

  #find(query: TokenSessionQuery): Promise<TokenSession | null> {
    return askDatabase(this.#options.clock, () => this.#finds.ask(query))
  }

  async #end(): Promise<void> {
    const { database, onProblem } = this.#options
    this.#endTimer?.cancel()
    this.#endTimer = undefined
    const ending = [...this.#ending]
    this.#ending.clear()
    try {
      for (let from = 0; from < ending.length; from += tokenSessionBounds.batchMax)
        await endLoneSessions(database, ending.slice(from, from + tokenSessionBounds.batchMax))
    } catch (error) {
      // They expire with their token.
      onProblem(error)
    }
  }

  /** Writes the ended sessions that wait. */
  async stop(): Promise<void> {
    if (this.#ending.size > 0) await this.#end()
  }
}

/** Begins each session once, under the token that ends last. */
async function beginEach(database: Database, starts: readonly TokenSessionStart[]): Promise<boolean[]> {
  const last = new Map<string, TokenSessionStart>()
  for (const start of starts) {
    const key = start.tokenHash.toString('base64')
    const other = last.get(key)
    if (other === undefined || other.until < start.until) last.set(key, start)
  }
  const chosen = [...last.values()]
  const begun = await beginTokenSessions(database, chosen)
  const byKey = new Map([...last.keys()].map((key, index) => [key, begun[index] === true]))
  return starts.map(({ tokenHash }) => byKey.get(tokenHash.toString('base64')) === true)
}
