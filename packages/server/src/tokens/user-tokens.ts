/**
 * Decides whether a user token is accepted, and for which user. Guarantees:
 * - A token is refused within a second, on every server, after its key was revoked, its user was
 *   disabled, erased or had their tokens revoked: keys and users are trusted for half a second.
 * - The first token of an unknown `sub` creates the user, within a limit for each key.
 * - Before a token is accepted for the first time, its `iat` is stored with the user, so a
 *   revocation of the user's tokens covers it even if its issuer's clock is ahead.
 *
 * After its first use, a token costs one hash and two look-ups in memory. At most three times a
 * second, the server also reads the state of its user, many users in one statement. An active user
 * does not wait for this read. Concurrent first uses of one token are checked once.
 */
import { randomInt } from 'node:crypto'
import { ChorusError, limits as wireLimits } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import {
  createTokenUser,
  type NewerToken,
  noteNewerTokens,
  readTokenUsers,
  type TokenUserState,
} from '../accounts/token-users.ts'
import { createUnusableHash } from '../accounts/unusable-hash.ts'
import { updateProfile } from '../accounts/users.ts'
import type { Limits } from '../auth/limits.ts'
import type { Database } from '../database/database.ts'
import { Batcher } from '../support/batcher.ts'
import type { Clock } from '../support/clock.ts'
import { askDatabase, unavailable } from './ask-database.ts'
import { hashOfToken, TokenCache, type VerifiedToken } from './token-cache.ts'
import type { TokenKeys } from './token-keys.ts'
import { checkClaims, parseToken, type TokenClaims, tokenRefusal, verifySignature } from './verify-token.ts'

export const userTokenBounds = {
  /** Time for which the state of a user is trusted. */
  trustedMs: 500,
  /** Age of the state at which a check reads it again without waiting for the result. */
  refreshAfterMs: 300,
  /** Maximum number of users in one read. */
  batchMax: 500,
  /** Maximum number of look-ups that may wait. */
  waitingMax: 20_000,
  /** Maximum number of tokens that are verified at the same time. */
  checkingMax: 2_000,
  /** Attempts to find a free random handle. */
  handleAttemptsMax: 3,
} as const

export type CheckOutcome = 'cached' | 'verified' | 'refused'

/** Whether a token may create its user. */
type UnknownUser = 'create' | 'refuse'

export interface UserTokensOptions {
  readonly database: Database
  readonly keys: Pick<TokenKeys, 'find' | 'endOf'>
  readonly limits: Pick<Limits, 'takeNewTokenUser'>
  readonly audience: string | undefined
  readonly clock: Clock
  /** Returns the time by the database's clock. */
  readonly now: () => Date
  readonly noteKeyUse: (keyId: string) => void
  /** Called with the outcome and the duration of each check. */
  readonly onCheck?: (outcome: CheckOutcome, seconds: number) => void
}

export class UserTokens {
  readonly #options: UserTokensOptions
  readonly #cache = new TokenCache()
  readonly #states: Batcher<string, TokenUserState>
  /** False: the token was not noted, so the state of its user must be read again. */
  readonly #notes: Batcher<NewerToken, boolean>
  readonly #checking = new Map<string, Promise<VerifiedToken>>()

  constructor(options: UserTokensOptions) {
    const { database } = options
    const { batchMax, waitingMax } = userTokenBounds
    const refusal = (): Error => unavailable('too many requests are waiting for it')
    this.#options = options
    this.#states = new Batcher({
      run: (externalIds: readonly string[]) => readTokenUsers(database, externalIds),
      batchMax,
      waitingMax,
      refusal,
    })
    this.#notes = new Batcher({
      run: async (tokens: readonly NewerToken[]) => {
        const newest = newestOfEach(tokens)
        const noted = await noteNewerTokens(database, newest)
        return tokens.map((token) => newest.includes(token) && noted.has(token.externalId))
      },
      batchMax,
      waitingMax,
      refusal,
    })
  }

  /**
   * Returns the accepted token. Throws `unauthenticated` with the reason, or `unavailable`.
   * `network`: where it came from. `unknownUser`: what to do with a `sub` that has no user;
   * `refuse` throws `forbidden`.
   */
  async check(token: string, network: string, unknownUser: UnknownUser = 'create'): Promise<VerifiedToken> {
    const startMs = performance.now()
    const note = (outcome: CheckOutcome): void =>
      this.#options.onCheck?.(outcome, (performance.now() - startMs) / 1_000)
    try {
      // Before the hash, whose cost grows with the token.
      if (token.length > wireLimits.tokenMaxChars)
        throw tokenRefusal(`it is longer than ${wireLimits.tokenMaxChars} characters`)
      const hash = hashOfToken(token)
      const known = this.#cache.find(hash)
      if (known !== undefined && (await this.#isInForce(known, network))) {
        note('cached')
        return known
      }
      this.#cache.delete(hash)
      const verified = await this.#verifyOnce(hash, token, network, unknownUser)
      note('verified')
      return verified
    } catch (error) {
      if (error instanceof ChorusError && error.code === 'unauthenticated') note('refused')
      throw error
    }
  }

  /** Returns false if the key that verified the token no longer has its material. */
  async #isInForce(known: VerifiedToken, network: string): Promise<boolean> {
    const { keys, clock, now, noteKeyUse } = this.#options
    if (known.expMs <= now().getTime()) throw tokenRefusal('it has expired')
    const inForce = await keys.find(known.header, network)
    if (!inForce.some(({ id }) => id === known.verifiedBy)) return false
    const ageMs = clock.nowMs() - known.checkedAtMs
    if (ageMs >= userTokenBounds.trustedMs) {
      if (!(await this.#refresh(known))) return false
    } else if (ageMs >= userTokenBounds.refreshAfterMs && !known.isRefreshing) this.#refreshAhead(known)
    noteKeyUse(known.keyId)
    return true
  }

  /** Reads the state of the user again. Returns false if the user no longer exists. */
  async #refresh(known: VerifiedToken): Promise<boolean> {
    const checkedAtMs = this.#options.clock.nowMs()
    const state = await this.#readState(known.externalId)
    const userId = acceptedBy(state, known.iat)
    if (userId === undefined) return false
    known.userId = userId
    known.checkedAtMs = checkedAtMs
    return true
  }

  /**
   * Reads the state of the user again while the present one is still trusted, so that no request of
   * an active user waits for the database. After a refusal or a failure, the next check reads the
   * state itself and throws the reason.
   */
  #refreshAhead(known: VerifiedToken): void {
    known.isRefreshing = true
    void this.#refresh(known)
      .catch(() => false)
      .then((isAccepted) => {
        known.isRefreshing = false
        if (!isAccepted) known.checkedAtMs = Number.NEGATIVE_INFINITY
      })
  }

  #verifyOnce(hash: string, token: string, network: string, unknownUser: UnknownUser): Promise<VerifiedToken> {
    const name = `${unknownUser} ${hash}`
    const checking = this.#checking.get(name)
    if (checking !== undefined) return checking
    if (this.#checking.size >= userTokenBounds.checkingMax)
      return Promise.reject(unavailable('too many tokens are checked at the moment'))
    const started = this.#verify(token, network, unknownUser)
      .then((verified) => {
        this.#cache.add(hash, verified)
        return verified
      })
      .finally(() => this.#checking.delete(name))
    this.#checking.set(name, started)
    return started
  }

  async #verify(token: string, network: string, unknownUser: UnknownUser): Promise<VerifiedToken> {
    const { keys, audience, clock, now, noteKeyUse } = this.#options
    const { header, claims } = parseToken(token)
    checkClaims(claims, { nowS: now().getTime() / 1_000, audience })
    const key = await verifySignature(token, header, await keys.find(header, network))
    noteKeyUse(key.keyId)
    const iat = Math.floor(claims.iat)
    const checkedAtMs = clock.nowMs()
    const userId = await this.#admit({ ...claims, iat }, key.keyId, unknownUser)
    return {
      header,
      verifiedBy: key.id,
      keyId: key.keyId,
      externalId: claims.sub,
      iat,
      // Connections of a key with an end close then, as those of a revoked key do.
      expMs: Math.min(claims.exp * 1_000, await keys.endOf(key.keyId)),
      userId,
      checkedAtMs,
      isRefreshing: false,
      session: undefined,
    }
  }

  /** Returns the user of the token. Creates them, and takes over a newer profile. */
  async #admit(claims: TokenClaims, keyId: string, unknownUser: UnknownUser): Promise<string> {
    const { database, clock } = this.#options
    const { sub: externalId, iat, name, handle } = claims
    let state = await this.#readState(externalId)
    let userId = acceptedBy(state, iat)
    if (userId === undefined) {
      if (unknownUser === 'refuse')
        throw new ChorusError('forbidden', 'unable to accept the token; it is of another user')
      await this.#create(claims, keyId)
      state = await this.#readState(externalId)
      userId = acceptedBy(state, iat)
      if (userId === undefined) throw tokenRefusal('its user was erased at this moment: get a new token')
    }
    if (iat <= state.newestToken) return userId
    const isNoted = await askDatabase(clock, () => this.#notes.ask({ externalId, iat, name, avatar: claims.avatar }))
    if (!isNoted) acceptedBy(await this.#readState(externalId), iat)
    // A handle that is taken is not an error: it may belong to an account of sign-up.
    if (handle !== undefined && handle !== state.handle)
      await askDatabase(clock, () => updateProfile(database, state.id ?? '', { handle }))
    return userId
  }

  async #create({ sub: externalId, iat, name, avatar, handle }: TokenClaims, keyId: string): Promise<void> {
    const { database, limits, clock } = this.#options
    await limits.takeNewTokenUser(keyId)
    const id = uuidv7()
    const passwordHash = createUnusableHash()
    const handles = Array.from({ length: userTokenBounds.handleAttemptsMax }, randomHandle)
    for (const free of handle === undefined ? handles : [handle, ...handles]) {
      const user = { id, externalId, handle: free, name: name ?? free, avatar: avatar ?? null, passwordHash, iat }
      if (await askDatabase(clock, () => createTokenUser(database, user))) return
    }
    throw unavailable('no free handle was found')
  }

  #readState(externalId: string): Promise<TokenUserState> {
    return askDatabase(this.#options.clock, () => this.#states.ask(externalId))
  }
}

/**
 * Returns the user, or undefined if there is none. Throws a refusal if the user does not accept
 * tokens of this `iat`.
 */
function acceptedBy(state: TokenUserState, iat: number): string | undefined {
  if (state.isDisabled) throw tokenRefusal('its user is deactivated')
  if (state.isErasing) throw tokenRefusal('its user is being erased')
  if (iat <= state.tokensAfter) throw tokenRefusal('the tokens of its user were revoked: get a new token')
  return state.id
}

/** Returns the newest token of each user, ordered, so that two servers lock rows in one order. */
function newestOfEach(tokens: readonly NewerToken[]): NewerToken[] {
  const newest = new Map<string, NewerToken>()
  for (const token of tokens) {
    const other = newest.get(token.externalId)
    if (other === undefined || other.iat < token.iat) newest.set(token.externalId, token)
  }
  return [...newest.values()].sort((one, other) => (one.externalId < other.externalId ? -1 : 1))
}

const letters = 'abcdefghijklmnopqrstuvwxyz'

function randomHandle(): string {
  return `u-${Array.from({ length: 10 }, () => letters[randomInt(letters.length)]).join('')}`
}
