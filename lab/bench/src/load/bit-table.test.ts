import { describe, expect, it } from 'vitest'
import { BitTable } from './bit-table.ts'

describe('the bit table', () => {
  it('the bit table keeps each pair of row and column separate, and reports new pairs', () => {
    const table = new BitTable(3, 13)
    const pairs = [0, 1, 2].flatMap((row) => [0, 7, 8, 12].map((column) => [row, column] as const))
    for (const [row, column] of pairs) {
      expect(table.has(row, column)).toBe(false)
      expect(table.add(row, column)).toBe(true)
      expect(table.add(row, column)).toBe(false)
    }
    expect(table.has(1, 6)).toBe(false)
    table.clearRow(1)
    for (const [row, column] of pairs) expect(table.has(row, column)).toBe(row !== 1)
  })
})
