import { describe, expect, it } from 'vitest'
import { aroundIndex, estimatedRowPx, keysOf, resolveRange, RowHeights } from './message-list-layout.ts'

const keys = (...names: string[]): string[] => names

describe('[READ1] the row heights of the message list', () => {
  it('[READ1] the list height sums measured and estimated row heights', () => {
    const heights = new RowHeights()
    heights.setKeys(keys('a', 'b', 'c'))
    heights.setHeight(1, 100)
    expect(heights.topOf(1)).toBe(estimatedRowPx)
    expect(heights.topOf(2)).toBe(estimatedRowPx + 100)
    expect(heights.totalPx).toBe(2 * estimatedRowPx + 100)
    expect(heights.topOf(99)).toBe(heights.totalPx)
  })

  it('[READ1] measured row heights are kept when rows are added or removed', () => {
    const heights = new RowHeights()
    heights.setKeys(keys('b', 'c'))
    heights.setHeight(0, 10)
    heights.setHeight(1, 20)
    expect(heights.totalPx).toBe(30)
    heights.setKeys(keys('a', 'b', 'c'))
    expect(heights.topOf(2)).toBe(estimatedRowPx + 10)
    expect(heights.totalPx).toBe(estimatedRowPx + 30)
    heights.setKeys(keys('c'))
    expect(heights.totalPx).toBe(20)
  })

  it('[READ1] a row that grows moves all rows below it', () => {
    const heights = new RowHeights()
    heights.setKeys(keys('a', 'b', 'c'))
    for (const index of [0, 1, 2]) heights.setHeight(index, 10)
    expect(heights.totalPx).toBe(30)
    heights.setHeight(0, 15)
    expect([heights.topOf(0), heights.topOf(1), heights.topOf(2), heights.totalPx]).toEqual([0, 15, 25, 35])
    heights.clear()
    expect(heights.totalPx).toBe(3 * estimatedRowPx)
  })

  it('[READ1] the row at a given distance from the list’s top is found', () => {
    const heights = new RowHeights()
    heights.setKeys(keys('a', 'b', 'c'))
    for (const index of [0, 1, 2]) heights.setHeight(index, 10)
    expect([-5, 0, 9, 10, 29, 30, 1_000].map((px) => heights.indexAt(px))).toEqual([0, 0, 0, 1, 2, 2, 2])
    expect(heights.rangeOf(5, 15)).toEqual({ from: 0, to: 2 })
    heights.setKeys([])
    expect(heights.rangeOf(0, 100)).toEqual({ from: 0, to: 0 })
  })

  it('[READ1] row offsets equal the sum of row heights after random changes', () => {
    const heights = new RowHeights()
    let seed = 7
    const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below
    let present = Array.from({ length: 20 }, (_, index) => `row ${index}`)
    const known = new Map<string, number>()
    heights.setKeys(present)
    for (let round = 0; round < 500; round += 1) {
      if (random(4) === 0) {
        const at = random(present.length)
        present = random(2) === 0 ? present.toSpliced(at, 1) : present.toSpliced(at, 0, `row ${100 + round}`)
        if (present.length === 0) present = ['last']
        heights.setKeys(present)
      }
      const index = random(present.length)
      const key = present[index] ?? ''
      known.set(key, 1 + random(300))
      heights.setHeight(index, known.get(key) ?? 0)
      const to = random(present.length + 1)
      const sum = present.slice(0, to).reduce((px, name) => px + (known.get(name) ?? estimatedRowPx), 0)
      expect(heights.topOf(to)).toBe(sum)
    }
  })
})

describe('[READ1] the range of drawn rows', () => {
  const names = Array.from({ length: 100 }, (_, index) => `row ${index}`)

  it('[READ1] the drawn rows stay the same when older rows are added', () => {
    const range = keysOf({ from: 40, to: 60 }, names)
    expect(resolveRange(range, ['x', 'y', ...names], undefined)).toEqual({ from: 42, to: 62 })
  })

  it('[READ1] the range of drawn rows at the list’s end includes new rows', () => {
    const range = keysOf({ from: 90, to: 100 }, names)
    expect(resolveRange(range, [...names, 'new'], undefined)).toEqual({ from: 90, to: 101 })
    expect(resolveRange(keysOf({ from: 80, to: 99 }, names), [...names, 'new'], undefined)).toEqual({
      from: 80,
      to: 99,
    })
  })

  it('[READ1] the range of drawn rows does not grow by hundreds of new rows', () => {
    const range = keysOf({ from: 90, to: 100 }, names)
    const many = [...names, ...Array.from({ length: 500 }, (_, index) => `new ${index}`)]
    expect(resolveRange(range, many, undefined)).toEqual({ from: 90, to: 100 })
  })

  it('[READ1] after the drawn rows are removed, the end or the wanted row is drawn', () => {
    const gone = { first: 'gone', last: 'gone too', isToEnd: false }
    expect(resolveRange(gone, names, undefined)).toEqual({ from: 76, to: 100 })
    expect(resolveRange(undefined, names, 50)).toEqual(aroundIndex(50, 100))
    expect(resolveRange(undefined, names.slice(0, 3), undefined)).toEqual({ from: 0, to: 3 })
  })

  it.each([
    [{ first: 'gone', last: 'row 30', isToEnd: false }],
    [{ first: 'row 90', last: 'gone', isToEnd: false }],
    [{ first: 'row 30', last: 'row 20', isToEnd: false }],
  ])('[READ1] the range of drawn rows is never empty or out of bounds: %o', (range) => {
    const { from, to } = resolveRange(range, names, undefined)
    expect(from).toBeGreaterThanOrEqual(0)
    expect(to).toBeGreaterThan(from)
    expect(to).toBeLessThanOrEqual(100)
  })

  it('[READ1] the range of drawn rows is empty for an empty list', () => {
    expect(resolveRange(undefined, [], undefined)).toEqual({ from: 0, to: 0 })
    expect(keysOf({ from: 0, to: 0 }, [])).toBeUndefined()
  })
})
