/**
 * The JWK sets of the registered URLs, in memory.
 *
 * A set is loaded when a token first needs it, used for ten minutes, and refreshed before that.
 * While its URL is down, its last keys are used for up to a day.
 *
 * A token whose `kid` no set has may be garbage, or signed with a key that was published a moment
 * ago. Loading the set for each such token would make this server a tool for attacks on its host.
 * One cool-down for all of them, as libraries have it, lets garbage keep the cool-down running, and
 * refuses the fresh key. Therefore:
 * - Each network may cause two loads of a URL a minute, so garbage of one network costs the others
 *   nothing: their fresh key is found at once.
 * - All networks together cause one load of a URL in 5 s, after a burst of three. Each load brings all
 *   keys, whichever token caused it, so a fresh key is found 5 s later at the latest.
 * - A kid is refused only after a load that began after it was asked for. Until then the answer is
 *   `unavailable` with the time of the next attempt, and the client tries again. So no client
 *   with a fresh key receives a final refusal.
 * - Few tokens with unknown kids wait for a load at the same time, of one network and of all. The
 *   others get `unavailable` at once, so a flood during a slow load occupies no further places.
 */
import { ChorusError } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import type { NamedJwk } from './fetch-key-set.ts'

export const jwksTimings = {
  /** Age at which a set in use is loaded again in the background. */
  refreshAfterMs: 300_000,
  /** Age at which a set is loaded again before it is used. */
  freshMs: 600_000,
  /** Age up to which a set is used while it cannot be loaded. */
  staleMs: 86_400_000,
  /** Time after which a failed refresh is tried again. */
  retryMs: 30_000,
  /** Time between two loads of one URL, after a burst of {@link loadBurst}. */
  intervalMs: 5_000,
  /** Time in which unknown kids from one network cause at most {@link loadsPerNetwork} loads. */
  windowMs: 60_000,
  /** Time for which a kid that a load did not bring is refused without another load. */
  absentMs: 30_000,
} as const

const loadBurst = 3
const loadsPerNetwork = 2
/** Maximum number of tokens with unknown kids that wait for a load. */
export const waitingMax = { ofNetwork: 100, ofAll: 1_000 } as const
/** Maximum number of absent kids that a set remembers. */
const absentMax = 100
const retryMinMs = 500

export interface JwksCacheOptions {
  readonly fetch: (url: string) => Promise<readonly NamedJwk[]>
  readonly clock: Clock
  /** Called after each load. `error`: why it failed. */
  readonly onLoad?: (url: string, error: unknown, staleForMs: number) => void
}

/** A key that a set has under the kid. */
export interface FoundJwk {
  readonly url: string
  readonly jwk: NamedJwk['jwk']
}

export class JwksCache {
  readonly #options: JwksCacheOptions
  readonly #sets = new Map<string, KeySet>()
  /** Number of tokens with unknown kids that wait, by network. */
  readonly #waiting = new Map<string, number>()
  #waitingOfAll = 0

  constructor(options: JwksCacheOptions) {
    this.#options = options
  }

  /**
   * Returns the keys with this kid. `urls` are all registered URLs; sets of others are dropped.
   * Rejects with `unavailable` while nothing is known about the kid.
   */
  async find(kid: string, urls: readonly string[], network: string): Promise<readonly FoundJwk[]> {
    const sets = this.#setsOf(urls)
    if (this.#collect(sets, kid).length > 0) return this.#search(kid, sets, network)
    const waiting = this.#waiting.get(network) ?? 0
    if (waiting >= waitingMax.ofNetwork || this.#waitingOfAll >= waitingMax.ofAll) throw unknownYet(retryMinMs)
    this.#waiting.set(network, waiting + 1)
    this.#waitingOfAll++
    try {
      return await this.#search(kid, sets, network)
    } finally {
      const left = (this.#waiting.get(network) ?? 0) - 1
      if (left > 0) this.#waiting.set(network, left)
      else this.#waiting.delete(network)
      this.#waitingOfAll--
    }
  }

  async #search(kid: string, sets: readonly KeySet[], network: string): Promise<readonly FoundJwk[]> {
    const loaded = await Promise.all(sets.map((set) => set.beCurrent()))
    let found = this.#collect(sets, kid)
    if (found.length > 0) return found
    const judged = await Promise.all(sets.map((set, index) => set.judge(kid, network, loaded[index] === true)))
    found = this.#collect(sets, kid)
    if (found.length > 0) return found
    const open = sets.filter((_set, index) => judged[index] !== true)
    if (open.length === 0) return []
    throw unknownYet(Math.max(retryMinMs, Math.min(...open.map((set) => set.nextLoadInMs(network)))))
  }

  /**
   * Returns the keys with this kid that are known. Loads missing and old sets, for no kid, and waits
   * only for the first load: a dead host delays no token whose key is registered elsewhere.
   */
  async peek(kid: string, urls: readonly string[]): Promise<readonly FoundJwk[]> {
    const sets = this.#setsOf(urls)
    await Promise.all(sets.map((set) => set.beCurrent('first-load')))
    return this.#collect(sets, kid)
  }

  #setsOf(urls: readonly string[]): KeySet[] {
    if (this.#sets.size > urls.length)
      for (const url of this.#sets.keys()) if (!urls.includes(url)) this.#sets.delete(url)
    return urls.map((url) => {
      let set = this.#sets.get(url)
      if (set === undefined) this.#sets.set(url, (set = new KeySet(url, this.#options)))
      return set
    })
  }

  #collect(sets: readonly KeySet[], kid: string): FoundJwk[] {
    return sets.flatMap((set) => set.keysOf(kid).map((jwk) => ({ url: set.url, jwk })))
  }
}

function unknownYet(retryAfterMs: number): ChorusError {
  return new ChorusError('unavailable', 'unable to check the token; its key is not known yet', { retryAfterMs })
}

class KeySet {
  readonly url: string
  readonly #options: JwksCacheOptions
  #keys: readonly NamedJwk[] = []
  #loadedAtMs = Number.NEGATIVE_INFINITY
  #beganAtMs = Number.NEGATIVE_INFINITY
  #hasFailed = false
  /** Load in progress. Resolves to true if it succeeded. */
  #loading: Promise<boolean> | undefined
  /** Times of the loads that each network caused in the last minute. Few, because loads are. */
  readonly #causedAtMs = new Map<string, readonly number[]>()
  /** Loads that may begin now. */
  #burst: number = loadBurst
  #burstAtMs = Number.NEGATIVE_INFINITY
  /** Kids that a load did not bring, with its time. */
  readonly #absentAtMs = new Map<string, number>()

  constructor(url: string, options: JwksCacheOptions) {
    this.url = url
    this.#options = options
  }

  get #nowMs(): number {
    return this.#options.clock.nowMs()
  }

  keysOf(kid: string): NamedJwk['jwk'][] {
    if (this.#nowMs - this.#loadedAtMs > jwksTimings.staleMs) return []
    return this.#keys.filter((key) => key.kid === kid).map(({ jwk }) => jwk)
  }

  /**
   * Loads the set if it is missing or old. Resolves to true if this call began a load that
   * succeeded. `first-load`: does not wait for a set that could not be loaded before.
   */
  async beCurrent(waitsFor: 'every-load' | 'first-load' = 'every-load'): Promise<boolean> {
    const ageMs = this.#nowMs - this.#loadedAtMs
    if (ageMs < jwksTimings.refreshAfterMs) return false
    const isUsable = ageMs <= jwksTimings.staleMs
    const isAwaited = waitsFor === 'every-load' || !this.#hasFailed
    if (this.#loading !== undefined) {
      if (!isUsable && isAwaited) await this.#loading
      return false
    }
    if (isUsable && this.#nowMs - this.#beganAtMs < jwksTimings.retryMs) return false
    if (this.#burstInMs() > 0) return false
    const loading = this.#load()
    // Stale keys are used at once while the URL is down, so that no token waits for a dead host.
    if (!isAwaited || (isUsable && (ageMs < jwksTimings.freshMs || this.#hasFailed))) return false
    return loading
  }

  /**
   * Resolves to true if the set certainly does not have the kid, or has it by now. `hasLoaded`: the
   * caller has begun a load for this kid, and it succeeded.
   */
  async judge(kid: string, network: string, hasLoaded: boolean): Promise<boolean> {
    const absentAtMs = this.#absentAtMs.get(kid)
    if (absentAtMs !== undefined && this.#nowMs - absentAtMs < jwksTimings.absentMs) return true
    if (!hasLoaded) {
      if (this.#loading !== undefined) {
        // It may have begun before the key was published, so it refuses nothing.
        await this.#loading
        return false
      }
      // A load that failed a moment ago would only make this token wait twice.
      if (this.#hasFailed && this.#nowMs - this.#beganAtMs < jwksTimings.intervalMs) return false
      if (this.nextLoadInMs(network) > 0) return false
      const loading = this.#load()
      this.#noteCause(network)
      if (!(await loading)) return false
    } else if (this.keysOf(kid).length === 0) this.#noteCause(network)
    this.#absentAtMs.delete(kid)
    if (this.keysOf(kid).length === 0) this.#absentAtMs.set(kid, this.#beganAtMs)
    const [oldest] = this.#absentAtMs.keys()
    if (this.#absentAtMs.size > absentMax && oldest !== undefined) this.#absentAtMs.delete(oldest)
    return true
  }

  /** Returns the time until this network may cause a load. */
  nextLoadInMs(network: string): number {
    const [first, ...others] = this.#loadsOf(network)
    const inMs =
      first === undefined || others.length < loadsPerNetwork - 1 ? 0 : first + jwksTimings.windowMs - this.#nowMs
    return Math.ceil(Math.max(inMs, this.#burstInMs()))
  }

  #loadsOf(network: string): readonly number[] {
    const sinceMs = this.#nowMs - jwksTimings.windowMs
    return (this.#causedAtMs.get(network) ?? []).filter((atMs) => atMs > sinceMs)
  }

  #noteCause(network: string): void {
    for (const other of this.#causedAtMs.keys()) if (this.#loadsOf(other).length === 0) this.#causedAtMs.delete(other)
    this.#causedAtMs.set(network, [...this.#loadsOf(network), this.#beganAtMs])
  }

  /** Returns the time until any load may begin. */
  #burstInMs(): number {
    const nowMs = this.#nowMs
    this.#burst = Math.min(loadBurst, this.#burst + (nowMs - this.#burstAtMs) / jwksTimings.intervalMs)
    this.#burstAtMs = nowMs
    return this.#burst >= 1 ? 0 : (1 - this.#burst) * jwksTimings.intervalMs
  }

  /** Begins a load. {@link #burstInMs} has returned 0. */
  #load(): Promise<boolean> {
    this.#burst--
    this.#beganAtMs = this.#nowMs
    this.#loading = this.#fetch(this.#beganAtMs).finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #fetch(beganAtMs: number): Promise<boolean> {
    const { fetch, onLoad } = this.#options
    try {
      this.#keys = await fetch(this.url)
      this.#loadedAtMs = beganAtMs
      this.#hasFailed = false
      onLoad?.(this.url, undefined, 0)
      return true
    } catch (error) {
      this.#hasFailed = true
      onLoad?.(this.url, error, this.#nowMs - this.#loadedAtMs)
      return false
    }
  }
}
