/**
 * What happened here to recent changes: published, come over the bus, read for want of a hint, handed to connections. For
 * operators who ask about one message. A ring of fixed size in flat arrays, so that noting costs a few writes per batch and
 * no garbage; what is older is overwritten.
 */
import type { Id } from '@chorus/protocol'

/** Batches that are kept: some minutes of a busy server, days of a quiet one. About 1 MB. */
const entriesMax = 16_384

const kinds = ['published', 'received', 'repaired', 'delivered'] as const
export type TrailKind = (typeof kinds)[number]

export interface TrailFact {
  readonly what: TrailKind
  /** On the server's monotonic clock. */
  readonly atMs: number
  /** Of those delivered: to how many connections. */
  readonly connections: number
}

export class DeliveryTrail {
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

  note(kind: TrailKind, conversation: Id, first: number, last: number, connections = 0): void {
    const at = this.#count++ % entriesMax
    this.#kinds[at] = kinds.indexOf(kind)
    this.#conversations[at] = conversation
    this.#firsts[at] = first
    this.#lasts[at] = last
    this.#times[at] = this.#nowMs()
    this.#connections[at] = connections
  }

  /** In the order in which it happened. Walks over the whole ring: some tenths of a millisecond. */
  find(conversation: Id, seq: number): TrailFact[] {
    const facts: TrailFact[] = []
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

  /** What happened before is not known any more; undefined: everything since the start is. */
  get knownSinceMs(): number | undefined {
    return this.#count <= entriesMax ? undefined : this.#times[this.#count % entriesMax]
  }
}
