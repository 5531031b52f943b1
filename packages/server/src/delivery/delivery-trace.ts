/**
 * Trace of recent changes on this server: when each was published, received over Redis, read
 * because its hint over Redis was missing, and delivered to connections. Operators use it to look
 * up one message.
 *
 * The trace is a ring of fixed size in flat arrays: an entry costs a few writes per batch of
 * changes and no garbage. New entries overwrite the oldest.
 */
import type { Id } from '@chorus/protocol'

/**
 * Maximum number of batches in the trace: minutes on a busy server, days on a quiet one. About 1
 * MB.
 */
const entriesMax = 16_384

const kinds = ['published', 'received', 'repaired', 'delivered'] as const
export type TraceKind = (typeof kinds)[number]

export interface TraceFact {
  readonly what: TraceKind
  /** Time of the entry, on the server's monotonic clock. */
  readonly atMs: number
  /** Number of connections that received a delivered batch. */
  readonly connections: number
}

export class DeliveryTrace {
  readonly #nowMs: () => number
  readonly #kinds = new Uint8Array(entriesMax)
  readonly #conversations: Id[] = []
  readonly #firsts = new Float64Array(entriesMax)
  readonly #lasts = new Float64Array(entriesMax)
  readonly #times = new Float64Array(entriesMax)
  readonly #connections = new Uint32Array(entriesMax)
  #count = 0

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  note(kind: TraceKind, conversation: Id, first: number, last: number, connections = 0): void {
    const at = this.#count++ % entriesMax
    this.#kinds[at] = kinds.indexOf(kind)
    this.#conversations[at] = conversation
    this.#firsts[at] = first
    this.#lasts[at] = last
    this.#times[at] = this.#nowMs()
    this.#connections[at] = connections
  }

  /**
   * Returns the trace entries for one change, in order of time. Scans the whole ring, which takes
   * some tenths of a millisecond.
   */
  find(conversation: Id, seq: number): TraceFact[] {
    const facts: TraceFact[] = []
    for (let index = Math.max(0, this.#count - entriesMax); index < this.#count; index++) {
      const at = index % entriesMax
      if (this.#conversations[at] !== conversation) continue
      if (seq < (this.#firsts[at] ?? 0) || seq > (this.#lasts[at] ?? 0)) continue
      facts.push({
        what: kinds[this.#kinds[at] ?? 0] ?? 'published',
        atMs: this.#times[at] ?? 0,
        connections: this.#connections[at] ?? 0,
      })
    }
    return facts
  }

  /** Time of the oldest entry in the trace; undefined while no entry has been overwritten. */
  get knownSinceMs(): number | undefined {
    return this.#count <= entriesMax ? undefined : this.#times[this.#count % entriesMax]
  }
}
