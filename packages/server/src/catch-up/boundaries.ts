/**
 * Known boundaries of one conversation. The boundary of a position is the last seq that a client
 * with a cursor at this position already has. A later position never has a lower boundary, so many
 * boundaries are inferred from their neighbours without a read.
 */

/** Maximum number of boundaries kept for one conversation. */
const positionsMax = 32

/** Boundary of one position. `found` is set once the read of the boundary has finished. */
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
  /**
   * Time of the last read that returned a boundary together with the segment of the log after it.
   */
  missedReadAtMs = Number.NEGATIVE_INFINITY
  /** Cache key of the last full segment of this conversation. */
  segmentKey: string | undefined

  /**
   * Pending read of a full segment. Other requests wait for it, because they mostly need the same
   * changes.
   */
  get reading(): Promise<void> | undefined {
    return this.#reading
  }

  /** Marks a read as pending. Waiting requests continue when it ends, even if it fails. */
  noteReading(read: Promise<unknown>): void {
    const over = (): void => {
      if (this.#reading === reading) this.#reading = undefined
    }
    const reading = read.then(over, over)
    this.#reading = reading
  }

  /**
   * Infers a boundary from the cached ones. A position between two equal boundaries has the same
   * boundary. If the next later position has no boundary (undefined: its client has missed too
   * much), this earlier position has none either.
   */
  infer(position: number): Promise<number | undefined> | undefined {
    const same = this.#byPosition.get(position)
    if (same !== undefined) return same.finding
    const { below, above } = this.nearest(position)
    if (above === undefined || (above.seq !== undefined && (below === undefined || below.seq !== above.seq)))
      return undefined
    return Promise.resolve(above.seq)
  }

  /** Returns the boundaries of the next earlier and the next later position that are known. */
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

  /** Caches a boundary that is being read. If the read fails, the entry is removed again. */
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
