/**
 * A set of integers, stored as ordered, disjoint ranges. Numbers that are added in order form one
 * range of any length, so a set of a million consecutive numbers takes almost no memory. Adding a
 * number out of order takes a binary search and moves the ranges behind it.
 */
export class Intervals {
  /** First and last number of each range: from, to, from, to … */
  readonly #bounds: number[] = []

  has(value: number): boolean {
    const index = this.#rangeAtOrBefore(value)
    return index >= 0 && value <= (this.#bounds[index + 1] ?? -1)
  }

  add(from: number, to = from): void {
    if (to < from) return
    const bounds = this.#bounds
    const lastTo = bounds.at(-1)
    if (lastTo === undefined || from > lastTo + 1) {
      bounds.push(from, to)
      return
    }
    if (from === lastTo + 1) {
      bounds[bounds.length - 1] = to
      return
    }
    let first = this.#rangeAtOrBefore(from)
    if (first < 0 || (bounds[first + 1] ?? 0) + 1 < from) first += 2
    let end = first
    let mergedFrom = from
    let mergedTo = to
    while (end < bounds.length && (bounds[end] ?? 0) <= to + 1) {
      mergedFrom = Math.min(mergedFrom, bounds[end] ?? from)
      mergedTo = Math.max(mergedTo, bounds[end + 1] ?? to)
      end += 2
    }
    bounds.splice(first, end - first, mergedFrom, mergedTo)
  }

  /** Returns the ranges of missing numbers between the first and the last number of the set. */
  gaps(): readonly { readonly from: number; readonly to: number }[] {
    const gaps: { from: number; to: number }[] = []
    for (let index = 2; index < this.#bounds.length; index += 2) {
      gaps.push({ from: (this.#bounds[index - 1] ?? 0) + 1, to: (this.#bounds[index] ?? 0) - 1 })
    }
    return gaps
  }

  /**
   * Returns the index of the last range that begins at or before `value`; -2 when there is no such
   * range.
   */
  #rangeAtOrBefore(value: number): number {
    const bounds = this.#bounds
    let low = 0
    let high = bounds.length / 2 - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      if ((bounds[middle * 2] ?? 0) <= value) low = middle + 1
      else high = middle - 1
    }
    return high * 2
  }
}
