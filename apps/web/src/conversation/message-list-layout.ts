/**
 * The arithmetic of a list that keeps only the rows near the screen in the page: which rows those are, and how much room the
 * others take above and below. Pure. A row that was never measured counts with an estimate, so a sum can be off by what the
 * estimates are off; `message-list-scroller.ts` therefore never derives a position on the screen from these sums alone.
 */

/** A row that was never on the screen. */
export const estimatedRowPx = 56

/** A half-open range of row indexes. */
export interface RowRange {
  readonly from: number
  readonly to: number
}

export class RowHeights {
  readonly #byKey = new Map<string, number>()
  #keys: readonly string[] = []
  /** `#tops[i]` is the sum of the heights before row `i`; valid up to `#validTo`. */
  #tops: number[] = [0]
  #validTo = 0

  /** Takes the keys of all rows, in order. Forgets the heights of rows that are gone. */
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

  /** Forgets every height: the width has changed. */
  clear(): void {
    this.#byKey.clear()
    this.#validTo = 0
  }

  /** The room before row `index`; the room of all rows for the index behind the last. */
  topOf(index: number): number {
    const to = Math.max(0, Math.min(index, this.#keys.length))
    for (let at = this.#validTo; at < to; at += 1) {
      const key = this.#keys[at] ?? ''
      this.#tops[at + 1] = (this.#tops[at] ?? 0) + (this.#byKey.get(key) ?? estimatedRowPx)
    }
    this.#validTo = Math.max(this.#validTo, to)
    return this.#tops[to] ?? 0
  }

  /** The room of some rows, of any list: for drawing one that is not taken yet. */
  sumOf(keys: readonly string[], from: number, to: number): number {
    let px = 0
    for (let at = from; at < to; at += 1) px += this.#byKey.get(keys[at] ?? '') ?? estimatedRowPx
    return px
  }

  get totalPx(): number {
    return this.topOf(this.#keys.length)
  }

  /** The row at a distance from the top of the first; the first or the last where there is none. */
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

  /** The rows that touch a stretch. */
  rangeOf(fromPx: number, toPx: number): RowRange {
    if (this.#keys.length === 0) return { from: 0, to: 0 }
    return { from: this.indexAt(fromPx), to: this.indexAt(toPx) + 1 }
  }
}

/** Names a range by the rows at its ends, so that it stays the same rows when others come before them. */
export interface RangeKeys {
  readonly first: string
  readonly last: string
  /** Whether it reaches the end of the list, and grows with it. */
  readonly isToEnd: boolean
}

export function keysOf(range: RowRange, keys: readonly string[]): RangeKeys | undefined {
  const first = keys[range.from]
  const last = keys[range.to - 1]
  return first === undefined || last === undefined ? undefined : { first, last, isToEnd: range.to >= keys.length }
}

/** The rows that a first picture draws before anything is measured. */
const firstRows = 24

/** Where a range is now; the rows around `center`, or the last ones, when its own rows are gone. */
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

/** More new rows than this are not drawn at once. */
const growthMaxRows = 100

export function aroundIndex(index: number, count: number): RowRange {
  const half = firstRows / 2
  return { from: Math.max(0, index - half), to: Math.min(count, index + half + 1) }
}
