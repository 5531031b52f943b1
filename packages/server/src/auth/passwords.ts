/**
 * Hashes passwords with argon2id (19 MiB, two passes), in NFC form, so that the same password from
 * another keyboard matches. Only a few hashes are computed at a time, so that sign-ins cannot use
 * up the memory and one processor stays free for the event loop. A bounded number of hashes waits;
 * further ones are refused as `unavailable`. For an unknown user a hash is computed as well, so
 * that the response takes as long as for an existing one.
 */
import { availableParallelism } from 'node:os'
import { hash, verify } from '@node-rs/argon2'
import { ChorusError } from '@chorus/protocol'

const argon2idOptions = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** Number of hashes computed at the same time on a machine with three processors or more. */
const parallelMax = 2

export interface PasswordOptions {
  /**
   * Maximum number of hashes computed at the same time. Each uses 19 MiB and one processor.
   * Default: the number of processors less one, but at least 1 and at most 2.
   */
  readonly parallelMax?: number
  /** Maximum number of hashes that wait for their turn. */
  readonly waitingMax?: number
  /** Called with the duration of each hash. */
  readonly onHash?: (seconds: number) => void
}

export class Passwords {
  readonly #parallelMax: number
  readonly #waitingMax: number
  readonly #onHash: (seconds: number) => void
  #running = 0
  readonly #waiting: (() => void)[] = []
  /**
   * Hash that passwords of unknown users are compared with. It is the hash of random bytes, so no
   * password matches.
   */
  readonly #decoy: string

  private constructor(decoy: string, options: PasswordOptions) {
    this.#decoy = decoy
    this.#parallelMax = options.parallelMax ?? Math.max(1, Math.min(parallelMax, availableParallelism() - 1))
    this.#waitingMax = options.waitingMax ?? 100
    this.#onHash = options.onHash ?? (() => undefined)
  }

  static async create(options: PasswordOptions = {}): Promise<Passwords> {
    return new Passwords(await hash(crypto.getRandomValues(new Uint8Array(32)), argon2idOptions), options)
  }

  /** Number of hashes that wait for their turn. */
  get waitingCount(): number {
    return this.#waiting.length
  }

  async hash(password: string): Promise<string> {
    return this.#inTurn('hash the password', () => hash(password.normalize('NFC'), argon2idOptions))
  }

  /**
   * Returns true if the password is right. Pass `undefined` as the stored hash for an unknown user:
   * the check takes as long and never succeeds.
   */
  async verify(stored: string | undefined, password: string): Promise<boolean> {
    const isRight = await this.#inTurn('check the password', () =>
      verify(stored ?? this.#decoy, password.normalize('NFC')),
    )
    return isRight && stored !== undefined
  }

  async #inTurn<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#parallelMax) {
      if (this.#waiting.length >= this.#waitingMax) {
        throw new ChorusError('unavailable', `unable to ${what}; too many sign-ins at the moment`, {
          retryAfterMs: 1_000,
        })
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else {
      this.#running += 1
    }
    const startMs = performance.now()
    try {
      return await work()
    } finally {
      this.#onHash((performance.now() - startMs) / 1_000)
      // Pass the free place directly to the next waiting hash, so that no new call can take it.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}
