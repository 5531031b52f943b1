/**
 * Gives memory back while there is little to do. Under load the young generation grows to two halves of 64 MB, and V8 keeps
 * them for good: heartbeats alone never bring it to a full collection that is meant to save memory. So a quiet server
 * tells V8 to prefer memory to speed. V8's own memory reducer then collects, in small steps beside the work, two or three
 * times, shrinks the young generation and rests until the heap has grown again. A server with work prefers speed.
 */
import { setFlagsFromString } from 'node:v8'

export const quietBounds = {
  /** Seconds in a row with little to do; then memory is given back. */
  quietSeconds: 5,
  /** Commands, deliveries, arrivals and departures in one second: with more it is busy. */
  workMax: 100,
} as const

export type Preference = 'memory' | 'speed'

export interface QuietCollectionOptions {
  /** How much was done since the start. */
  readonly workDone: () => number
  readonly prefer: (preference: Preference) => void
}

export class QuietCollection {
  readonly #options: QuietCollectionOptions
  #workSeen = 0
  #quietSeconds = 0
  #preference: Preference = 'speed'

  constructor(options: QuietCollectionOptions) {
    this.#options = options
  }

  /** Called once a second. */
  look(): void {
    const workDone = this.#options.workDone()
    const isQuiet = workDone - this.#workSeen <= quietBounds.workMax
    this.#workSeen = workDone
    this.#quietSeconds = isQuiet ? this.#quietSeconds + 1 : 0
    this.#prefer(this.#quietSeconds >= quietBounds.quietSeconds ? 'memory' : 'speed')
  }

  #prefer(preference: Preference): void {
    if (preference === this.#preference) return
    this.#preference = preference
    this.#options.prefer(preference)
  }
}

const flags: Readonly<Record<Preference, readonly string[]>> = {
  // The young generation stays as small as the reducer leaves it: heartbeats would make it grow again within minutes.
  memory: ['--optimize-for-size', '--semi-space-growth-factor=1'],
  speed: ['--no-optimize-for-size', '--semi-space-growth-factor=2'],
}

/** Of the whole process. V8 reads these whenever it plans a collection, so they take effect at once. */
export function tellV8(preference: Preference): void {
  for (const flag of flags[preference]) setFlagsFromString(flag)
}
