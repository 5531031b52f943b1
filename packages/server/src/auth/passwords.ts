/**
 * Hashes passwords with argon2id (19 MiB, two passes), in NFC form, so that the same password from
 * another keyboard matches. Few hashes run at a time, so that sign-ins cannot take all memory and
 * leave a processor to the event loop. A bounded number waits, and more are refused as
 * `unavailable`. An unknown user costs the same hash as a known one.
 */
import { availableParallelism } from 'node:os'
import { hash, verify } from '@node-rs/argon2'
import { ChorusError } from '@chorus/protocol'

const argon2idOptions = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** Hashes at the same time on a machine with three processors or more. */
const parallelMax = 2

export interface PasswordOptions {
  /**
   * Maximum number of hashes computed at the same time. Each takes 19 MiB and one processor.
   * Default: one less than there are processors, 1 to 2.
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
   * Hash to compare with for unknown users. It is the hash of random bytes, so no password matches.
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
   * Returns true if the password is right. `undefined` means an unknown user, which takes as long
   * and never matches.
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
      // Pass the turn directly to the next waiting hash, so that no new call can take it.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}
