/**
 * Boundaries of one conversation: for a position, the last seq that a client with it already has.
 * Boundaries rise with positions, so many are inferred from their neighbours without a read.
 */

/** Maximum number of boundaries in one conversation. */
const positionsMax = 32

/** Boundary of one position. `found` is set once the look-up has finished. */
interface Boundary {
  readonly finding: Promise<number | undefined>
  found: { readonly seq: number | undefined } | undefined
}

interface FoundBoundary {
  readonly position: number
  readonly seq: number | undefined
}

export class Boundaries {
  readonly #byPosition = new Map<number, Boundary>()
  #reading: Promise<void> | undefined
  /** Time of the last read that returned a boundary together with its segment. */
  missedReadAtMs = Number.NEGATIVE_INFINITY
  /** Cache key of the last full segment. */
  segmentKey: string | undefined

  /**
   * Pending read of a full segment. Other requests wait for it, because they mostly need the same
   * changes.
   */
  get reading(): Promise<void> | undefined {
    return this.#reading
  }

  /** Marks a read as pending. Waiting requests continue when it ends, also when it fails. */
  noteReading(read: Promise<unknown>): void {
    const over = (): void => {
      if (this.#reading === reading) this.#reading = undefined
    }
    const reading = read.then(over, over)
    this.#reading = reading
  }

  /**
   * Infers a boundary from cached ones. Boundaries rise with positions, so a position between two
   * equal boundaries has the same one. If the next later position is too far back (undefined), this
   * one is too.
   */
  infer(position: number): Promise<number | undefined> | undefined {
    const same = this.#byPosition.get(position)
    if (same !== undefined) return same.finding
    const { below, above } = this.nearest(position)
    if (above === undefined || (above.seq !== undefined && (below === undefined || below.seq !== above.seq)))
      return undefined
    return Promise.resolve(above.seq)
  }

  /** Returns the known boundaries of the next earlier and the next later position. */
  nearest(position: number): { readonly below: FoundBoundary | undefined; readonly above: FoundBoundary | undefined } {
    let below: FoundBoundary | undefined
    let above: FoundBoundary | undefined
    for (const [other, { found }] of this.#byPosition) {
      if (found === undefined) continue
      if (other < position && (below === undefined || other > below.position)) below = { position: other, ...found }
      if (other > position && (above === undefined || other < above.position)) above = { position: other, ...found }
    }
    return { below, above }
  }

  /** Caches a boundary look-up. A failed look-up is removed again. */
  remember(position: number, finding: Promise<number | undefined>): Promise<number | undefined> {
    const boundary: Boundary = { finding, found: undefined }
    this.#byPosition.set(position, boundary)
    finding.then(
      (seq) => {
        boundary.found = { seq }
      },
      () => this.#byPosition.delete(position),
    )
    const [oldest] = this.#byPosition.keys()
    if (this.#byPosition.size > positionsMax && oldest !== undefined) this.#byPosition.delete(oldest)
    return finding
  }
}
