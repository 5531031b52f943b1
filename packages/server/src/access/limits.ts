/**
 * How much one user, account or address may ask of this server. Every limit comes from the configuration, 0 switches it
 * off, and what is over it is `rate-limited` with the time after which it would pass. Time is monotonic. Memory is
 * bounded: at most `keysMax` keys a limit; past that the one unused for longest is forgotten.
 */
import { ChorusError } from '@chorus/protocol'
import { limitKeyOf } from '../support/address.ts'
import type { Clock } from '../support/clock.ts'

export interface LimitSettings {
  /** Messages a second and user; bursts of twice as many. */
  readonly limitSends: number
  /** Other requests a second and user. */
  readonly limitRequests: number
  /** Sign-ins a minute and account. */
  readonly limitSignIns: number
  /** Sign-ins and sign-ups a minute and address. */
  readonly limitSignInsAddress: number
  /** Connections at a time and address. */
  readonly limitConnections: number
}

export type LimitName = 'sends' | 'requests' | 'sign-ins' | 'sign-ins-address' | 'connections'

const keysMax = 100_000

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

  put(key: string, value: Value): void {
    if (this.#values.size >= keysMax) {
      const oldest = this.#values.keys().next()
      if (oldest.done !== true) this.#values.delete(oldest.value)
    }
    this.#values.set(key, value)
  }
}

/** A steady rate with bursts: `burst` tokens, refilled at `perSecond`. */
class TokenBucket {
  readonly #perMs: number
  readonly #burst: number
  readonly #buckets = new RecentKeys<{ tokens: number; atMs: number }>()

  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1_000
    this.#burst = burst
  }

  /** Milliseconds until it would pass; 0 when it passed. */
  take(key: string, nowMs: number): number {
    const bucket = this.#buckets.take(key) ?? { tokens: this.#burst, atMs: nowMs }
    const tokens = Math.min(this.#burst, bucket.tokens + (nowMs - bucket.atMs) * this.#perMs)
    const passes = tokens >= 1
    this.#buckets.put(key, { tokens: passes ? tokens - 1 : tokens, atMs: nowMs })
    return passes ? 0 : Math.max(1, Math.ceil((1 - tokens) / this.#perMs))
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

interface Gate {
  take(key: string, nowMs: number): number
}

const open: Gate = { take: () => 0 }

export class Limits {
  readonly #clock: Clock
  readonly #onRefusal: (limit: LimitName) => void
  readonly #sends: Gate
  readonly #requests: Gate
  readonly #signIns: Gate
  readonly #signInsAddress: Gate
  readonly #connectionsMax: number
  /** Open connections by address; no more keys than connections. */
  readonly #connections = new Map<string, number>()

  constructor(settings: LimitSettings, clock: Clock, onRefusal: (limit: LimitName) => void = () => undefined) {
    this.#clock = clock
    this.#onRefusal = onRefusal
    this.#sends = settings.limitSends === 0 ? open : new TokenBucket(settings.limitSends, 2 * settings.limitSends)
    this.#requests =
      settings.limitRequests === 0 ? open : new TokenBucket(settings.limitRequests, settings.limitRequests)
    this.#signIns = settings.limitSignIns === 0 ? open : new MinuteWindow(settings.limitSignIns)
    this.#signInsAddress = settings.limitSignInsAddress === 0 ? open : new MinuteWindow(settings.limitSignInsAddress)
    this.#connectionsMax = settings.limitConnections === 0 ? Number.POSITIVE_INFINITY : settings.limitConnections
  }

  /** One message of this user. */
  takeSend(userId: string): void {
    this.#take(this.#sends, 'sends', userId, 'send message; too many messages in a short time')
  }

  /** One other request of this user. */
  takeRequest(userId: string): void {
    this.#take(this.#requests, 'requests', userId, 'answer; too many requests in a short time')
  }

  /** One attempt to sign in to this account from this address. Unknown accounts count like known ones. */
  takeSignIn(handle: string, address: string): void {
    this.takeSignUp(address)
    this.#take(this.#signIns, 'sign-ins', handle.toLowerCase(), 'sign in; too many attempts for this account')
  }

  /** One new account from this address. */
  takeSignUp(address: string): void {
    this.#take(
      this.#signInsAddress,
      'sign-ins-address',
      limitKeyOf(address),
      'sign in; too many attempts from this address',
    )
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

  #take(gate: Gate, limit: LimitName, key: string, what: string): void {
    const retryAfterMs = gate.take(key, this.#clock.nowMs())
    if (retryAfterMs > 0) this.#refuse(limit, what, retryAfterMs)
  }

  #refuse(limit: LimitName, what: string, retryAfterMs: number): never {
    this.#onRefusal(limit)
    throw new ChorusError('rate-limited', `unable to ${what}`, { retryAfterMs })
  }
}
