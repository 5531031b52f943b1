/**
 * Detects a Redis that evicts keys to free memory. Leases, live values and jobs may then vanish at
 * any moment; the servers restore them, but that costs time. Every key of Chorus has an expiry, so
 * `maxmemory-policy` has to be `noeviction`. The number of evictions is read with INFO, which a
 * Redis account may use even if it may not read the configuration.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Redis } from './redis.ts'

export const evictionLimits = {
  lookEveryMs: 3_000,
  /** Time for which an eviction is reported after it was last seen. */
  reportForMs: 60_000,
  /**
   * Number of keys that are used to query a cluster. Each key selects a master, so most likely
   * every master is queried.
   */
  placesMax: 16,
} as const

export interface RedisEvictionOptions {
  readonly redis: Pick<Redis, 'command' | 'problem' | 'keyOf' | 'isCluster'>
  readonly clock: Clock
  readonly logger: Logger
}

export class RedisEviction {
  readonly #options: RedisEvictionOptions
  /** Number of evictions so far, by the run id of each Redis process. */
  #counts = new Map<string, number>()
  #lastSeenAtMs = Number.NEGATIVE_INFINITY
  #policy = ''
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: RedisEvictionOptions) {
    this.#options = options
    this.#lookLater(0)
  }

  /** Returns a description of recent evictions, or undefined if there are none. */
  problem(): string | undefined {
    if (this.#options.clock.nowMs() - this.#lastSeenAtMs > evictionLimits.reportForMs) return undefined
    return `Redis evicts keys (maxmemory-policy ${this.#policy}); set noeviction, or give it more memory`
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #lookLater(delayMs: number): void {
    if (this.#isStopped) return
    this.#timer = this.#options.clock.setTimer(() => {
      void this.#look().finally(() => this.#lookLater(evictionLimits.lookEveryMs))
    }, delayMs)
  }

  async #look(): Promise<void> {
    const { redis } = this.#options
    if (redis.problem() !== undefined) return
    const places = redis.isCluster ? evictionLimits.placesMax : 1
    const counts = new Map<string, number>()
    for (let place = 0; place < places; place += 1) {
      const info = await redis.command(redis.keyOf(`{${place}}:info`), ['INFO']).then(String, () => '')
      const run = fieldOf(info, 'run_id')
      const evicted = Number(fieldOf(info, 'evicted_keys'))
      if (run === '' || !Number.isSafeInteger(evicted)) continue
      counts.set(run, evicted)
      const before = this.#counts.get(run)
      if (before !== undefined && evicted > before) this.#note(fieldOf(info, 'maxmemory_policy'))
    }
    this.#counts = counts
  }

  #note(policy: string): void {
    const isNews = this.problem() === undefined
    this.#policy = policy
    this.#lastSeenAtMs = this.#options.clock.nowMs()
    if (isNews) this.#options.logger.warn(`${this.problem() ?? ''}; lost presence, live values and jobs need repairs`)
  }
}

function fieldOf(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? ''
}
