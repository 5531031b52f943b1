/**
 * Returns memory to the operating system while the server is idle. Under load, V8's memory for
 * young objects grows to two halves of 64 MB, and V8 keeps them: the heartbeats of an idle server
 * never trigger a full collection that reduces memory. So an idle server sets V8 to prefer low
 * memory over speed. V8's memory reducer then collects two or three times in small steps, shrinks
 * this memory, and rests until the heap has grown again. A busy server sets V8 to prefer speed.
 */
import { setFlagsFromString } from 'node:v8'

export const heapTrimmerLimits = {
  /** Number of consecutive idle seconds after which memory is returned. */
  quietSeconds: 5,
  /**
   * Maximum number of commands, deliveries, connects and disconnects per second for a server that
   * counts as idle.
   */
  workMax: 100,
} as const

export type Preference = 'memory' | 'speed'

export interface IdleHeapTrimmerOptions {
  /** Returns the total amount of work done since the start. */
  readonly workDone: () => number
  readonly prefer: (preference: Preference) => void
}

export class IdleHeapTrimmer {
  readonly #options: IdleHeapTrimmerOptions
  #workSeen = 0
  #quietSeconds = 0
  #preference: Preference = 'speed'

  constructor(options: IdleHeapTrimmerOptions) {
    this.#options = options
  }

  /**
   * Counts the last second as idle or busy, and changes the preference if needed. Must be called
   * once a second.
   */
  look(): void {
    const workDone = this.#options.workDone()
    const isQuiet = workDone - this.#workSeen <= heapTrimmerLimits.workMax
    this.#workSeen = workDone
    this.#quietSeconds = isQuiet ? this.#quietSeconds + 1 : 0
    this.#prefer(this.#quietSeconds >= heapTrimmerLimits.quietSeconds ? 'memory' : 'speed')
  }

  #prefer(preference: Preference): void {
    if (preference === this.#preference) return
    this.#preference = preference
    this.#options.prefer(preference)
  }
}

const flags: Readonly<Record<Preference, readonly string[]>> = {
  // A growth factor of 1 keeps the memory for young objects as small as the reducer has made it.
  // Otherwise, heartbeats would make it grow again within minutes.
  memory: ['--optimize-for-size', '--semi-space-growth-factor=1'],
  speed: ['--no-optimize-for-size', '--semi-space-growth-factor=2'],
}

/**
 * Sets these flags of V8 for the whole process. V8 reads them whenever it plans a collection, so
 * they take effect at once.
 */
export function setV8Flags(preference: Preference): void {
  for (const flag of flags[preference]) setFlagsFromString(flag)
}
