/**
 * Holds all live API keys in memory and finds the key of a secret.
 *
 * Guarantees: every server refuses a revoked or ended key within a second (rule ACL2), because it
 * reads a list older than half a second again before it uses it, and the read takes less than a
 * second. Requests with unknown secrets cause no further queries, because the list is complete: there
 * are at most a hundred live keys.
 */
import { createHash } from 'node:crypto'
import { ChorusError } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import type { ApiKey } from './key-store.ts'

export const registryTimings = {
  /** Age at which the list is read again before its next use. */
  trustedMs: 500,
  /** Minimum time between two writes of the times of last use. */
  touchMs: 60_000,
} as const

export interface KeyRegistryOptions {
  readonly load: () => Promise<readonly ApiKey[]>
  /** Stores that these keys were used. */
  readonly touch: (ids: readonly string[]) => Promise<void>
  readonly clock: Clock
  /** Called with errors of background work. */
  readonly onProblem: (problem: unknown) => void
}

interface LoadedKeys {
  readonly keys: readonly ApiKey[]
  /** Time at which the read began. A key revoked after it may be in the list. */
  readonly atMs: number
}

/** Returns the SHA-256 of a secret in hex. Only this hash is stored. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

export class KeyRegistry {
  readonly #options: KeyRegistryOptions
  #loaded: LoadedKeys | undefined
  #loading: Promise<LoadedKeys> | undefined
  readonly #used = new Set<string>()
  #touchedAtMs = Number.NEGATIVE_INFINITY
  #touchTimer: Timer | undefined

  constructor(options: KeyRegistryOptions) {
    this.#options = options
  }

  /** Returns the live key of a secret. Rejects with `unavailable` if the keys cannot be read. */
  async findBySecret(secret: string): Promise<ApiKey | undefined> {
    const hash = hashSecret(secret)
    const key = (await this.live()).find(({ secretHashes }) => secretHashes.includes(hash))
    if (key !== undefined) this.noteUse(key.id)
    return key
  }

  /** Returns whether the key is live. Rejects with `unavailable` if the keys cannot be read. */
  async isLive(id: string): Promise<boolean> {
    return (await this.live()).some((key) => key.id === id)
  }

  /** Returns the live keys. Rejects with `unavailable` if they cannot be read. */
  async live(): Promise<readonly ApiKey[]> {
    const { clock } = this.#options
    if (this.#loaded !== undefined && clock.nowMs() - this.#loaded.atMs < registryTimings.trustedMs)
      return this.#loaded.keys
    this.#loading ??= this.#load()
    try {
      return (await this.#loading).keys
    } catch (error) {
      throw new ChorusError('unavailable', 'unable to check the key; the database does not answer', {
        retryAfterMs: 1_000,
        cause: error,
      })
    }
  }

  async #load(): Promise<LoadedKeys> {
    const atMs = this.#options.clock.nowMs()
    try {
      this.#loaded = { keys: await this.#options.load(), atMs }
      return this.#loaded
    } finally {
      this.#loading = undefined
    }
  }

  /** Notes that the key was used. Its time of last use is stored at most once a minute. */
  noteUse(id: string): void {
    const { clock } = this.#options
    this.#used.add(id)
    const delayMs = Math.max(0, this.#touchedAtMs + registryTimings.touchMs - clock.nowMs())
    this.#touchTimer ??= clock.setTimer(() => void this.#touch(), delayMs)
  }

  async #touch(): Promise<void> {
    this.#touchTimer = undefined
    this.#touchedAtMs = this.#options.clock.nowMs()
    const used = [...this.#used]
    this.#used.clear()
    try {
      await this.#options.touch(used)
    } catch (error) {
      this.#options.onProblem(error)
    }
  }

  /** Stops the registry, and stores the times of last use that were not written yet. */
  async stop(): Promise<void> {
    this.#touchTimer?.cancel()
    if (this.#used.size > 0) await this.#touch()
  }
}
