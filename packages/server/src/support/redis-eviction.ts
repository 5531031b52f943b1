/**
 * Notices a Redis that throws keys away to make room. Leases, live values and jobs then vanish at any moment; servers repair
 * that, and it costs. Every key of Chorus has an expiry, so `maxmemory-policy` has to be `noeviction`. Asked by INFO, which an
 * account may use that is not allowed to read the configuration.
 */
import type { Clock, Timer } from './clock.ts'
import type { Logger } from './logger.ts'
import type { Redis } from './redis.ts'

export const evictionBounds = {
  lookEveryMs: 3_000,
  /** How long an eviction is reported after it was last seen. */
  reportForMs: 60_000,
  /** Keys that are spread over the masters of a cluster: each of the masters is most likely asked by one. */
  placesMax: 16,
} as const

export interface RedisEvictionOptions {
  readonly redis: Pick<Redis, 'command' | 'problem' | 'keyOf' | 'isCluster'>
  readonly clock: Clock
  readonly logger: Logger
}

export class RedisEviction {
  readonly #options: RedisEvictionOptions
  /** Evictions so far, by the run of a Redis. */
  #counts = new Map<string, number>()
  #lastSeenAtMs = Number.NEGATIVE_INFINITY
  #policy = ''
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: RedisEvictionOptions) {
    this.#options = options
    this.#lookLater(0)
  }

  /** Undefined: nothing was evicted lately, as far as is known. */
  problem(): string | undefined {
    if (this.#options.clock.nowMs() - this.#lastSeenAtMs > evictionBounds.reportForMs) return undefined
    return `Redis evicts keys (maxmemory-policy ${this.#policy}); set noeviction, or give it more memory`
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #lookLater(delayMs: number): void {
    if (this.#isStopped) return
    this.#timer = this.#options.clock.setTimer(() => {
      void this.#look().finally(() => this.#lookLater(evictionBounds.lookEveryMs))
    }, delayMs)
  }

  async #look(): Promise<void> {
    const { redis } = this.#options
    if (redis.problem() !== undefined) return
    const places = redis.isCluster ? evictionBounds.placesMax : 1
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
    if (isNews)
      this.#options.logger.warn(`${this.problem() ?? ''}; presence, live values and jobs are repaired at a cost`)
  }
}

function fieldOf(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? ''
}
