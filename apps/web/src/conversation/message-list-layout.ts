/**
 * Computes which rows of the message list to draw, and how much space to leave above and below
 * them. The list is virtual: only rows near the screen are in the DOM. Pure. A row that was never
 * measured counts with an estimated height, so a sum of heights may be wrong. Therefore
 * `message-list-scroller.ts` never derives a position on the screen from these sums alone.
 */

/** Estimated height of a row that was never on the screen. */
export const estimatedRowPx = 56

/** Range of row indexes. It includes `from` and excludes `to`. */
export interface RowRange {
  readonly from: number
  readonly to: number
}

export class RowHeights {
  readonly #byKey = new Map<string, number>()
  #keys: readonly string[] = []
  /**
   * `#tops[i]` is the distance of row `i` from the top of the list, which is the sum of the heights
   * of the rows before it. The entries up to `#validTo` are current.
   */
  #tops: number[] = [0]
  #validTo = 0

  /**
   * Sets the keys of all rows, in order. Deletes the heights of removed rows once they outnumber
   * the rows in the list.
   */
  setKeys(keys: readonly string[]): void {
    if (keys === this.#keys) return
    let same = 0
    while (same < keys.length && same < this.#keys.length && keys[same] === this.#keys[same]) same += 1
    this.#keys = keys
    this.#validTo = Math.min(this.#validTo, same)
    if (this.#byKey.size <= 2 * keys.length + 64) return
    const present = new Set(keys)
    for (const key of this.#byKey.keys()) if (!present.has(key)) this.#byKey.delete(key)
  }

  setHeight(index: number, heightPx: number): void {
    const key = this.#keys[index]
    if (key === undefined || this.#byKey.get(key) === heightPx) return
    this.#byKey.set(key, heightPx)
    this.#validTo = Math.min(this.#validTo, index)
  }

  isMeasured(index: number): boolean {
    const key = this.#keys[index]
    return key !== undefined && this.#byKey.has(key)
  }

  /**
   * Deletes all measured heights. Called when the width of the list has changed, because lines wrap
   * differently then.
   */
  clear(): void {
    this.#byKey.clear()
    this.#validTo = 0
  }

  /**
   * Returns the distance of row `index` from the top of the list. For the index after the last row,
   * returns the height of the whole list.
   */
  topOf(index: number): number {
    const to = Math.max(0, Math.min(index, this.#keys.length))
    for (let at = this.#validTo; at < to; at += 1) {
      const key = this.#keys[at] ?? ''
      this.#tops[at + 1] = (this.#tops[at] ?? 0) + (this.#byKey.get(key) ?? estimatedRowPx)
    }
    this.#validTo = Math.max(this.#validTo, to)
    return this.#tops[to] ?? 0
  }

  /**
   * Returns the sum of the heights of the rows `from` to `to` of `keys`. Works for rows that
   * `setKeys` has not received yet, so the first drawing of a list can use it.
   */
  sumOf(keys: readonly string[], from: number, to: number): number {
    let px = 0
    for (let at = from; at < to; at += 1) px += this.#byKey.get(keys[at] ?? '') ?? estimatedRowPx
    return px
  }

  get totalPx(): number {
    return this.topOf(this.#keys.length)
  }

  /**
   * Returns the index of the row that is `px` below the top of the list. Returns the first or the
   * last row for a distance outside the list.
   */
  indexAt(px: number): number {
    this.topOf(this.#keys.length)
    let low = 0
    let high = this.#keys.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if ((this.#tops[middle] ?? 0) <= px) low = middle
      else high = middle - 1
    }
    return Math.max(0, low)
  }

  /**
   * Returns the range of rows that lie, at least in part, between two distances from the top of the
   * list.
   */
  rangeOf(fromPx: number, toPx: number): RowRange {
    if (this.#keys.length === 0) return { from: 0, to: 0 }
    return { from: this.indexAt(fromPx), to: this.indexAt(toPx) + 1 }
  }
}

/**
 * Range of rows, named by the keys of its first and last row. Unlike indexes, keys still name the
 * same rows after older rows were added before them.
 */
export interface RangeKeys {
  readonly first: string
  readonly last: string
  /**
   * Whether the range reaches the end of the list. If so, rows added at the end of the list are
   * added to the range, too.
   */
  readonly isToEnd: boolean
}

export function keysOf(range: RowRange, keys: readonly string[]): RangeKeys | undefined {
  const first = keys[range.from]
  const last = keys[range.to - 1]
  return first === undefined || last === undefined ? undefined : { first, last, isToEnd: range.to >= keys.length }
}

/** Number of rows in the first drawing of a list, before any row is measured. */
const firstRows = 24

/**
 * Returns the current indexes of a range of rows. If its first and last row are no longer in the
 * list, returns the rows around the index `center` or, without a `center`, the last rows.
 */
export function resolveRange(
  range: RangeKeys | undefined,
  keys: readonly string[],
  center: number | undefined,
): RowRange {
  const first = range === undefined ? -1 : keys.indexOf(range.first)
  const last = range === undefined ? -1 : keys.lastIndexOf(range.last)
  if (range === undefined || (first === -1 && last === -1)) {
    if (center === undefined) return { from: Math.max(0, keys.length - firstRows), to: keys.length }
    return aroundIndex(center, keys.length)
  }
  const from = first === -1 ? Math.max(0, last - firstRows) : first
  const to = last === -1 ? Math.min(keys.length, from + firstRows) : last + 1
  return { from, to: range.isToEnd && keys.length - to <= growthMaxRows ? keys.length : Math.max(to, from + 1) }
}

/**
 * Maximum number of rows by which a range grows at once when rows were added at the end of the
 * list.
 */
const growthMaxRows = 100

export function aroundIndex(index: number, count: number): RowRange {
  const half = firstRows / 2
  return { from: Math.max(0, index - half), to: Math.min(count, index + half + 1) }
}
