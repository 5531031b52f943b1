/**
 * Rate limits per user, account and address. Each command declares its cost (commands/command.ts),
 * and a request takes that cost from the limits (rule LIM3). Every limit comes from the
 * configuration, and 0 switches it off. A request over a limit is refused as `rate-limited`, with
 * the time after which it would pass. Time is monotonic. Memory is bounded: each limit holds at
 * most `keysMax` keys and then evicts the least recently used one.
 *
 * Each server counts by itself. With several servers, sign-ins, messages and requests are also
 * counted over all servers (shared-limits.ts). Open connections are counted only per server,
 * because a connection loads only its own server.
 */
import { ChorusError } from '@chorus/protocol'
import { limitKeyOf } from '../support/address.ts'
import type { Clock } from '../support/clock.ts'
import { foldHandle } from '../support/fold-text.ts'
import type { BucketName, CorrectedBucket, SharedLimits } from './shared-limits.ts'

export interface LimitSettings {
  /**
   * Maximum number of changes to conversation logs per second and user: messages, edits, reactions,
   * members, names. A burst may be twice as many.
   */
  readonly limitSends: number
  /** Maximum number of requests per second and user that change no conversation log. */
  readonly limitRequests: number
  /** Maximum number of requests per second and API key, on each server. */
  readonly limitKeyRequests: number
  /** Maximum number of members added per second and user. A burst may be ten times as many. */
  readonly limitMembers: number
  /**
   * Maximum number of strangers added per hour, for the user who adds and for each added user. A
   * stranger is a user without a common conversation with the user who adds.
   */
  readonly limitStrangers: number
  /**
   * Maximum number of sign-ins per minute for each pair of account and network. Over all networks,
   * an account may have {@link wideSignInsFactor} times as many.
   */
  readonly limitSignIns: number
  /** Maximum number of sign-ins and sign-ups per minute and address. */
  readonly limitSignInsAddress: number
  /** Maximum number of users that tokens of one API key create per minute. */
  readonly limitNewTokenUsers: number
  /** Maximum number of open connections per address. */
  readonly limitConnections: number
  /** Maximum number of connections opened per second and user. A burst may be ten times as many. */
  readonly limitConnects: number
  /**
   * Maximum number of connections opened per second and address. A burst may be ten times as many.
   */
  readonly limitConnectsAddress: number
}

export type LimitName =
  | BucketName
  | 'key-requests'
  | 'connects-address'
  | 'sign-ins'
  | 'sign-ins-address'
  | 'new-token-users'
  | 'connections'

const keysMax = 100_000
/** Added members and opened connections may come in a burst: as many as this many seconds allow. */
const longBurst = 10
const secondsPerHour = 3_600

/**
 * Number by which the sign-in limit of an account over all networks exceeds its limit for one
 * network.
 */
export const wideSignInsFactor = 5

/** Map of at most `keysMax` values that evicts the least recently used key. */
class RecentKeys<Value> {
  readonly #values = new Map<string, Value>()

  get size(): number {
    return this.#values.size
  }

  take(key: string): Value | undefined {
    const value = this.#values.get(key)
    if (value !== undefined) this.#values.delete(key)
    return value
  }

  has(key: string): boolean {
    return this.#values.has(key)
  }

  put(key: string, value: Value): void {
    if (this.#values.size >= keysMax) {
      const oldest = this.#values.keys().next()
      if (oldest.done !== true) this.#values.delete(oldest.value)
    }
    this.#values.set(key, value)
  }
}

/**
 * Token bucket: `size` tokens, refilled at `perSecond`. A request heavier than the whole bucket
 * passes when the bucket is full, and leaves a debt of at most one bucket.
 */
class TokenBucket implements CorrectedBucket {
  readonly perSecond: number
  readonly size: number
  readonly #perMs: number
  readonly #clock: Clock
  readonly #buckets = new RecentKeys<{ tokens: number; atMs: number }>()

  constructor(perSecond: number, size: number, clock: Clock) {
    this.perSecond = perSecond
    this.size = size
    this.#perMs = perSecond / 1_000
    this.#clock = clock
  }

  correct(key: string, tokens: number): void {
    const nowMs = this.#clock.nowMs()
    this.#buckets.put(key, { tokens: Math.min(tokens, this.#refilled(key, nowMs)), atMs: nowMs })
  }

  /**
   * Takes tokens for a request. Returns 0 if the request passes, else the milliseconds until it
   * would pass.
   */
  take(key: string, nowMs: number, weight = 1): number {
    const tokens = this.#refilled(key, nowMs)
    const needed = Math.min(weight, this.size)
    const passes = tokens >= needed
    this.#buckets.put(key, { tokens: passes ? this.#lowered(tokens, weight) : tokens, atMs: nowMs })
    return passes ? 0 : Math.max(1, Math.ceil((needed - tokens) / this.#perMs))
  }

  /**
   * Takes a cost that is known only after the request. Never refuses; later requests wait until the
   * debt is refilled.
   */
  charge(key: string, nowMs: number, weight: number): void {
    this.#buckets.put(key, { tokens: this.#lowered(this.#refilled(key, nowMs), weight), atMs: nowMs })
  }

  #lowered(tokens: number, weight: number): number {
    return Math.max(-this.size, tokens - weight)
  }

  /** Returns the milliseconds until one token of the key could be taken. Takes no token. */
  peek(key: string, nowMs: number): number {
    return this.#waitFor(1, key, nowMs)
  }

  /** Returns the milliseconds until the debt of the key is refilled, or 0 if it has none. */
  waitForDebt(key: string, nowMs: number): number {
    return this.#waitFor(0, key, nowMs)
  }

  #waitFor(needed: number, key: string, nowMs: number): number {
    const tokens = this.#refilled(key, nowMs)
    this.#buckets.put(key, { tokens, atMs: nowMs })
    return tokens >= needed ? 0 : Math.max(1, Math.ceil((needed - tokens) / this.#perMs))
  }

  /** Removes the key from the map and returns the tokens of its bucket after the refill. */
  #refilled(key: string, nowMs: number): number {
    const bucket = this.#buckets.take(key) ?? { tokens: this.size, atMs: nowMs }
    return Math.min(this.size, bucket.tokens + (nowMs - bucket.atMs) * this.#perMs)
  }
}

/**
 * Fixed window: at most `max` attempts per minute, counted from the first attempt. It allows no
 * extra burst, because it protects passwords.
 */
class MinuteWindow {
  readonly #max: number
  readonly #windows = new RecentKeys<{ count: number; endMs: number }>()

  constructor(max: number) {
    this.#max = max
  }

  take(key: string, nowMs: number): number {
    const window = this.#windows.take(key)
    const current = window === undefined || window.endMs <= nowMs ? { count: 0, endMs: nowMs + 60_000 } : window
    const passes = current.count < this.#max
    this.#windows.put(key, passes ? { ...current, count: current.count + 1 } : current)
    return passes ? 0 : Math.max(1, Math.ceil(current.endMs - nowMs))
  }
}

/**
 * Limits on the bytes that a user may send for parsing. Parsing a body of many small values takes
 * 10 ms for each 128 kB.
 */
export const inputLimits = {
  bytesPerSecond: 1_048_576,
  burstBytes: 2_097_152,
} as const

export class Limits {
  readonly #clock: Clock
  readonly #onRefusal: (limit: LimitName) => void
  readonly #shared: SharedLimits | undefined
  readonly #buckets: { readonly [Name in BucketName]: TokenBucket | undefined }
  readonly #connectsAddress: TokenBucket | undefined
  readonly #connectRefusals: TokenBucket | undefined
  /** Counted only on this server: balancers spread the requests of a back end over all servers. */
  readonly #keyRequests: TokenBucket | undefined
  /** Sign-in attempts of the last minute, by account and network. */
  readonly #signIns: MinuteWindow | undefined
  /** Sign-in attempts of the last minute, by account, over all networks. */
  readonly #signInsWide: MinuteWindow | undefined
  /** Pairs of account and network with a recent successful sign-in. */
  readonly #knownNetworks = new RecentKeys<true>()
  readonly #signInsAddress: MinuteWindow | undefined
  readonly #newTokenUsers: MinuteWindow | undefined
  /** New sessions of user tokens by user. Each is a row, as each sign-in is. */
  readonly #tokenSessions: MinuteWindow | undefined
  /** Bytes of input to parse. Counted only on this server, because only this server parses them. */
  readonly #inputBytes: TokenBucket
  readonly #connectionsMax: number
  /** Number of open connections by address. The map has no more keys than there are connections. */
  readonly #connections = new Map<string, number>()

  constructor(
    settings: LimitSettings,
    clock: Clock,
    onRefusal: (limit: LimitName) => void = () => undefined,
    shared?: SharedLimits,
  ) {
    const { limitSignIns, limitSignInsAddress, limitNewTokenUsers, limitConnectsAddress } = settings
    const bucketOf = (perSecond: number, size: number): TokenBucket | undefined =>
      perSecond === 0 ? undefined : new TokenBucket(perSecond, size, clock)
    this.#clock = clock
    this.#onRefusal = onRefusal
    this.#shared = shared
    this.#buckets = {
      sends: bucketOf(settings.limitSends, 2 * settings.limitSends),
      requests: bucketOf(settings.limitRequests, settings.limitRequests),
      members: bucketOf(settings.limitMembers, longBurst * settings.limitMembers),
      strangers: bucketOf(settings.limitStrangers / secondsPerHour, settings.limitStrangers),
      connects: bucketOf(settings.limitConnects, longBurst * settings.limitConnects),
    }
    this.#connectsAddress = bucketOf(limitConnectsAddress, longBurst * limitConnectsAddress)
    this.#keyRequests = bucketOf(settings.limitKeyRequests, settings.limitKeyRequests)
    this.#connectRefusals = bucketOf(limitConnectsAddress, longBurst * limitConnectsAddress)
    this.#signIns = limitSignIns === 0 ? undefined : new MinuteWindow(limitSignIns)
    this.#signInsWide = limitSignIns === 0 ? undefined : new MinuteWindow(limitSignIns * wideSignInsFactor)
    this.#signInsAddress = limitSignInsAddress === 0 ? undefined : new MinuteWindow(limitSignInsAddress)
    this.#newTokenUsers = limitNewTokenUsers === 0 ? undefined : new MinuteWindow(limitNewTokenUsers)
    this.#tokenSessions = limitSignIns === 0 ? undefined : new MinuteWindow(limitSignIns * wideSignInsFactor)
    this.#inputBytes = new TokenBucket(inputLimits.bytesPerSecond, inputLimits.burstBytes, clock)
    this.#connectionsMax = settings.limitConnections === 0 ? Number.POSITIVE_INFINITY : settings.limitConnections
  }

  /** Takes one change to a conversation log (a message or any other) from the user's limit. */
  takeSend(userId: string): void {
    this.#take('sends', userId, 1)
  }

  /** Takes a request from the user's limit. It costs as much as `weight` plain requests. */
  takeRequest(userId: string, weight = 1): void {
    this.#take('requests', userId, weight)
  }

  /**
   * Charges a cost that is known only after the request. Never refuses; the user's next requests
   * wait until the debt is refilled.
   */
  chargeRequest(userId: string, weight: number): void {
    const bucket = this.#buckets.requests
    if (bucket === undefined) return
    bucket.charge(userId, this.#clock.nowMs(), weight)
    this.#shared?.noteTaken('requests', bucket, userId, weight)
  }

  /** False when requests are not limited, so that no result is charged. */
  get limitsRequests(): boolean {
    return this.#buckets.requests !== undefined
  }

  /** Refuses a request that has taken its token, if the user's results since then left a debt. */
  refuseDebt(userId: string): void {
    const retryAfterMs = this.#buckets.requests?.waitForDebt(userId, this.#clock.nowMs()) ?? 0
    this.#refuseFor(retryAfterMs, 'requests', refusals.requests)
  }

  /**
   * Takes a request from the limit of its API key. A request as a user (`Chorus-As`) takes nothing
   * from the limits of that user, because the integrator's back end sends it.
   */
  takeKeyRequest(keyId: string, weight = 1): void {
    const retryAfterMs = this.#keyRequests?.take(keyId, this.#clock.nowMs(), weight) ?? 0
    this.#refuseFor(retryAfterMs, 'key-requests', 'answer; too many requests of this key in a short time')
  }

  /** False when requests of API keys are not limited. */
  get limitsKeyRequests(): boolean {
    return this.#keyRequests !== undefined
  }

  /** Refuses a request of a key that has taken its token, if results since then left a debt. */
  refuseKeyDebt(keyId: string): void {
    const retryAfterMs = this.#keyRequests?.waitForDebt(keyId, this.#clock.nowMs()) ?? 0
    this.#refuseFor(retryAfterMs, 'key-requests', 'answer; too many requests of this key in a short time')
  }

  /** Charges the key a cost that is known only after the request. Never refuses. */
  chargeKeyRequest(keyId: string, weight: number): void {
    this.#keyRequests?.charge(keyId, this.#clock.nowMs(), weight)
  }

  /** Takes added members from the limit of the user who adds them. */
  takeMembers(userId: string, count: number): void {
    this.#take('members', userId, count)
  }

  /**
   * False when adding strangers is not limited. The caller then need not look up which users are
   * strangers.
   */
  get limitsStrangers(): boolean {
    return this.#buckets.strangers !== undefined
  }

  /**
   * Takes the added strangers from the limit of the user who adds and from the limit of each added
   * user.
   */
  takeStrangers(adderId: string, addedIds: readonly string[]): void {
    if (addedIds.length === 0) return
    this.#take('strangers', `by:${adderId}`, addedIds.length)
    for (const addedId of addedIds) this.#take('strangers', `to:${addedId}`, 1)
  }

  /** Takes one opened connection from the user's limit. */
  takeConnect(userId: string): void {
    this.#take('connects', userId, 1)
  }

  /** Takes one opened connection from the address's limit. */
  takeConnectFrom(address: string): void {
    const retryAfterMs = this.#connectsAddress?.take(limitKeyOf(address), this.#clock.nowMs()) ?? 0
    this.#refuseFor(retryAfterMs, 'connects-address', 'connect; too many connections from this address in a short time')
  }

  /**
   * Returns an error if the server must not even accept a connection from this address. Normally, a
   * connection over the limit is accepted, so that it can receive the error. After too many such
   * connections the address is refused earlier, so that a flood does not create an Engine.IO
   * session for each packet.
   */
  refusalOfWire(address: string): ChorusError | undefined {
    const key = limitKeyOf(address)
    const nowMs = this.#clock.nowMs()
    if (this.#connectsAddress === undefined || this.#connectsAddress.peek(key, nowMs) === 0) return undefined
    const retryAfterMs = this.#connectRefusals?.take(key, nowMs) ?? 0
    if (retryAfterMs === 0) return undefined
    this.#onRefusal('connects-address')
    return rateLimited('connect; too many connections from this address in a short time', retryAfterMs)
  }

  /**
   * Takes the bytes of a body or packet that is to be parsed from the limit of its user, or of its
   * address if there is no session. Does nothing when requests are not limited.
   */
  takeBytes(key: string, bytes: number): void {
    if (this.#buckets.requests === undefined) return
    const retryAfterMs = this.#inputBytes.take(key, this.#clock.nowMs(), bytes)
    this.#refuseFor(retryAfterMs, 'requests', 'answer; too many bytes in a short time')
  }

  /**
   * Takes one sign-in attempt for this account from this address. Unknown accounts are counted like
   * existing ones. The first limit counts per account and network, so wrong passwords from other
   * networks never use it up. The second limit counts per account over all networks, which stops
   * guesses from many networks. It does not apply to a network from which the account signed in
   * recently, so that guesses do not lock the owner out.
   */
  async takeSignIn(handle: string, address: string): Promise<void> {
    await this.takeSignUp(address)
    const account = foldHandle(handle)
    const pair = pairOf(account, limitKeyOf(address))
    const what = 'sign in; too many attempts for this account'
    const nowMs = this.#clock.nowMs()
    this.#refuseFor(this.#signIns?.take(pair, nowMs) ?? 0, 'sign-ins', what)
    this.#refuseFor((await this.#shared?.takeAttempt('pair', pair)) ?? 0, 'sign-ins', what)
    if (this.#knownNetworks.has(pair)) return
    const retryAfterMs =
      (this.#signInsWide?.take(account, nowMs) ?? 0) || ((await this.#shared?.takeAttempt('account', account)) ?? 0)
    if (retryAfterMs > 0 && (await this.#shared?.isKnown(pair)) !== true) this.#refuse('sign-ins', what, retryAfterMs)
  }

  /** Records a successful sign-in, so that its network counts as known for the account. */
  noteSignedIn(handle: string, address: string): void {
    const pair = pairOf(foldHandle(handle), limitKeyOf(address))
    this.#knownNetworks.take(pair)
    this.#knownNetworks.put(pair, true)
    this.#shared?.noteKnown(pair)
  }

  /** Takes one sign-up from the address's limit. */
  async takeSignUp(address: string): Promise<void> {
    const network = limitKeyOf(address)
    const what = 'sign in; too many attempts from this address'
    const retryAfterMs = this.#signInsAddress?.take(network, this.#clock.nowMs()) ?? 0
    this.#refuseFor(retryAfterMs, 'sign-ins-address', what)
    this.#refuseFor((await this.#shared?.takeAttempt('address', network)) ?? 0, 'sign-ins-address', what)
  }

  /** Takes one user that a token of this API key creates. */
  async takeNewTokenUser(keyId: string): Promise<void> {
    const what = 'create the user; tokens of this API key name too many new users in a short time'
    this.#refuseFor(this.#newTokenUsers?.take(keyId, this.#clock.nowMs()) ?? 0, 'new-token-users', what)
    this.#refuseFor((await this.#shared?.takeAttempt('token-users', keyId)) ?? 0, 'new-token-users', what)
  }

  /**
   * Takes one new session of a user token. A user gets as many as sign-ins of an account over all
   * networks.
   */
  takeTokenSession(userId: string): void {
    const retryAfterMs = this.#tokenSessions?.take(userId, this.#clock.nowMs()) ?? 0
    this.#refuseFor(retryAfterMs, 'sign-ins', 'begin a session; too many new devices or connections without a device')
  }

  /**
   * Counts one more open connection from this address. Returns a function to call when the
   * connection has closed.
   */
  openConnection(address: string): () => void {
    const key = limitKeyOf(address)
    const count = this.#connections.get(key) ?? 0
    if (count >= this.#connectionsMax)
      this.#refuse('connections', 'connect; too many connections from this address', 5_000)
    this.#connections.set(key, count + 1)
    let isOpen = true
    return () => {
      if (!isOpen) return
      isOpen = false
      const left = (this.#connections.get(key) ?? 1) - 1
      if (left <= 0) this.#connections.delete(key)
      else this.#connections.set(key, left)
    }
  }

  #take(limit: BucketName, key: string, weight: number): void {
    const bucket = this.#buckets[limit]
    if (bucket === undefined) return
    this.#refuseFor(bucket.take(key, this.#clock.nowMs(), weight), limit, refusals[limit])
    this.#shared?.noteTaken(limit, bucket, key, weight)
  }

  #refuseFor(retryAfterMs: number, limit: LimitName, what: string): void {
    if (retryAfterMs > 0) this.#refuse(limit, what, retryAfterMs)
  }

  #refuse(limit: LimitName, what: string, retryAfterMs: number): never {
    this.#onRefusal(limit)
    throw rateLimited(what, retryAfterMs)
  }
}

/** Joins account and network with a line end, which no handle and no address contains. */
function pairOf(account: string, network: string): string {
  return `${account}\n${network}`
}

/** Texts of the refusals, by limit. Each completes "unable to …". */
const refusals: { readonly [Name in BucketName]: string } = {
  sends: 'send message; too many messages in a short time',
  requests: 'answer; too many requests in a short time',
  members: 'add members; too many were added in a short time',
  strangers: 'add members; too many people who share no conversation with each other were added in the last hour',
  connects: 'connect; too many connections of this account in a short time',
}

function rateLimited(what: string, retryAfterMs: number): ChorusError {
  return new ChorusError('rate-limited', `unable to ${what}`, { retryAfterMs })
}
