/**
 * How much one user, account or address may ask. A request takes what it costs, not one (rule LIM3): commands/command-costs.ts
 * says what each command takes from which limit. Every limit comes from the configuration, 0 switches it off, and what is
 * over it is `rate-limited` with the time after which it would pass. Time is monotonic. Memory is bounded: at most
 * `keysMax` keys a limit; past that the one unused for longest is forgotten.
 *
 * Everything is counted on this server; where there are several, sign-ins, messages and requests are counted together, too
 * (shared-limits.ts). Connections are counted by each server alone: they are what a server has to carry.
 */
import { ChorusError } from '@chorus/protocol'
import { limitKeyOf } from '../support/address.ts'
import type { Clock } from '../support/clock.ts'
import { foldHandle } from '../support/fold-text.ts'
import type { BucketName, CorrectedBucket, SharedLimits } from './shared-limits.ts'

export interface LimitSettings {
  /** Changes of a log a second and user: messages, edits, reactions, members, names. Bursts of twice as many. */
  readonly limitSends: number
  /** Other requests a second and user. */
  readonly limitRequests: number
  /** Members added a second and user; bursts of ten times as many. */
  readonly limitMembers: number
  /** Additions an hour of people who share nothing with the adder, for the adder and for each of those added. */
  readonly limitStrangers: number
  /** Sign-ins a minute, account and network; {@link wideSignInsFactor} times as many over all networks. */
  readonly limitSignIns: number
  /** Sign-ins and sign-ups a minute and address. */
  readonly limitSignInsAddress: number
  /** Connections at a time and address. */
  readonly limitConnections: number
  /** Connections opened a second and user; bursts of ten times as many. */
  readonly limitConnects: number
  /** Connections opened a second and address; bursts of ten times as many. */
  readonly limitConnectsAddress: number
}

export type LimitName = BucketName | 'connects-address' | 'sign-ins' | 'sign-ins-address' | 'connections'

const keysMax = 100_000
/** A burst of members and connections, as a multiple of a second of them. */
const longBurst = 10
const secondsPerHour = 3_600

/** An account may be tried so many times as often from all networks together as from one. */
export const wideSignInsFactor = 5

/** Values by key, the least recently used first; never more than `keysMax`. */
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
 * A steady rate with bursts: `size` tokens, refilled at `perSecond`. What weighs more than a whole bucket passes when the
 * bucket is full and leaves a debt, at most one bucket deep.
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

  /** Milliseconds until it would pass; 0 when it passed. */
  take(key: string, nowMs: number, weight = 1): number {
    const tokens = this.#refilled(key, nowMs)
    const needed = Math.min(weight, this.size)
    const passes = tokens >= needed
    this.#buckets.put(key, { tokens: passes ? this.#lowered(tokens, weight) : tokens, atMs: nowMs })
    return passes ? 0 : Math.max(1, Math.ceil((needed - tokens) / this.#perMs))
  }

  /** Takes what is known only afterwards: it always passes, and the next ones wait for it. */
  charge(key: string, nowMs: number, weight: number): void {
    this.#buckets.put(key, { tokens: this.#lowered(this.#refilled(key, nowMs), weight), atMs: nowMs })
  }

  #lowered(tokens: number, weight: number): number {
    return Math.max(-this.size, tokens - weight)
  }

  /** Milliseconds until one would pass; takes nothing. */
  peek(key: string, nowMs: number): number {
    const tokens = this.#refilled(key, nowMs)
    this.#buckets.put(key, { tokens, atMs: nowMs })
    return tokens >= 1 ? 0 : Math.max(1, Math.ceil((1 - tokens) / this.#perMs))
  }

  /** What is left, taken out of the map. */
  #refilled(key: string, nowMs: number): number {
    const bucket = this.#buckets.take(key) ?? { tokens: this.size, atMs: nowMs }
    return Math.min(this.size, bucket.tokens + (nowMs - bucket.atMs) * this.#perMs)
  }
}

/** At most `max` in a minute that begins with the first: strict, for what guards passwords. */
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

/** What a user may send for parsing: a body of many small values costs 10 ms for each 128 kB. */
export const inputBounds = {
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
  /** By account and network. */
  readonly #signIns: MinuteWindow | undefined
  /** By account. */
  readonly #signInsWide: MinuteWindow | undefined
  /** Accounts with the networks from which they signed in lately. */
  readonly #knownNetworks = new RecentKeys<true>()
  readonly #signInsAddress: MinuteWindow | undefined
  /** Counted by this server alone: what it parses is its own work. */
  readonly #inputBytes: TokenBucket
  readonly #connectionsMax: number
  /** Open connections by address; no more keys than connections. */
  readonly #connections = new Map<string, number>()

  constructor(
    settings: LimitSettings,
    clock: Clock,
    onRefusal: (limit: LimitName) => void = () => undefined,
    shared?: SharedLimits,
  ) {
    const { limitSignIns, limitSignInsAddress, limitConnectsAddress } = settings
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
    this.#connectRefusals = bucketOf(limitConnectsAddress, longBurst * limitConnectsAddress)
    this.#signIns = limitSignIns === 0 ? undefined : new MinuteWindow(limitSignIns)
    this.#signInsWide = limitSignIns === 0 ? undefined : new MinuteWindow(limitSignIns * wideSignInsFactor)
    this.#signInsAddress = limitSignInsAddress === 0 ? undefined : new MinuteWindow(limitSignInsAddress)
    this.#inputBytes = new TokenBucket(inputBounds.bytesPerSecond, inputBounds.burstBytes, clock)
    this.#connectionsMax = settings.limitConnections === 0 ? Number.POSITIVE_INFINITY : settings.limitConnections
  }

  /** One change of a log by this user: a message, or what else appends. */
  takeSend(userId: string): void {
    this.#take('sends', userId, 1)
  }

  /** Another request of this user, which costs as much as `weight` plain ones. */
  takeRequest(userId: string, weight = 1): void {
    this.#take('requests', userId, weight)
  }

  /** What a request of this user turned out to cost. Refuses nothing; the user's next requests wait for it. */
  chargeRequest(userId: string, weight: number): void {
    const bucket = this.#buckets.requests
    if (bucket === undefined) return
    bucket.charge(userId, this.#clock.nowMs(), weight)
    this.#shared?.noteTaken('requests', bucket, userId, weight)
  }

  /** So many members added by this user. */
  takeMembers(userId: string, count: number): void {
    this.#take('members', userId, count)
  }

  /** False when additions of strangers are not limited: then nobody has to find out who is one. */
  get limitsStrangers(): boolean {
    return this.#buckets.strangers !== undefined
  }

  /** People whom this user adds and who share nothing with them. Counted for both sides. */
  takeStrangers(adderId: string, addedIds: readonly string[]): void {
    if (addedIds.length === 0) return
    this.#take('strangers', `by:${adderId}`, addedIds.length)
    for (const addedId of addedIds) this.#take('strangers', `to:${addedId}`, 1)
  }

  /** One connection of this user is opened. */
  takeConnect(userId: string): void {
    this.#take('connects', userId, 1)
  }

  /** One connection is opened from this address. */
  takeConnectFrom(address: string): void {
    const retryAfterMs = this.#connectsAddress?.take(limitKeyOf(address), this.#clock.nowMs()) ?? 0
    this.#refuseFor(retryAfterMs, 'connects-address', 'connect; too many connections from this address in a short time')
  }

  /**
   * One refusal is told to this address over a wire that is opened for it. When that has been done too often, the refusal
   * of the wire itself: a flood does not get a session of Engine.IO for each packet.
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
   * A body or packet of so many bytes that this user (or, without a session, this address) wants to have parsed. Off where
   * requests are not limited.
   */
  takeBytes(key: string, bytes: number): void {
    if (this.#buckets.requests === undefined) return
    const retryAfterMs = this.#inputBytes.take(key, this.#clock.nowMs(), bytes)
    this.#refuseFor(retryAfterMs, 'requests', 'answer; too many bytes in a short time')
  }

  /**
   * One attempt to sign in to this account from this address. Unknown accounts count like known ones. The first bound is
   * that of the account *at this network*: wrong passwords from elsewhere never use it up. The wider bound over all networks
   * stops guesses that come from many; a network from which the account signed in lately passes it, so that guesses do not
   * lock the owner out.
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

  /** The account signed in from this address: the network is known from now on. */
  noteSignedIn(handle: string, address: string): void {
    const pair = pairOf(foldHandle(handle), limitKeyOf(address))
    this.#knownNetworks.take(pair)
    this.#knownNetworks.put(pair, true)
    this.#shared?.noteKnown(pair)
  }

  /** One new account from this address. */
  async takeSignUp(address: string): Promise<void> {
    const network = limitKeyOf(address)
    const what = 'sign in; too many attempts from this address'
    const retryAfterMs = this.#signInsAddress?.take(network, this.#clock.nowMs()) ?? 0
    this.#refuseFor(retryAfterMs, 'sign-ins-address', what)
    this.#refuseFor((await this.#shared?.takeAttempt('address', network)) ?? 0, 'sign-ins-address', what)
  }

  /** One more connection from this address; call what it returns when the connection is gone. */
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

/** No handle and no address contains a line end. */
function pairOf(account: string, network: string): string {
  return `${account}\n${network}`
}

/** Each completes "unable to …". */
const refusals: { readonly [Name in BucketName]: string } = {
  sends: 'send message; too many messages in a short time',
  requests: 'answer; too many requests in a short time',
  members: 'add members; too many were added in a short time',
  strangers: 'add members; too many people who share no conversation were added in the last hour',
  connects: 'connect; too many connections of this account in a short time',
}

function rateLimited(what: string, retryAfterMs: number): ChorusError {
  return new ChorusError('rate-limited', `unable to ${what}`, { retryAfterMs })
}
