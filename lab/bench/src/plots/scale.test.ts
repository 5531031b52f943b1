import { describe, expect, it } from 'vitest'
import { nameTick, scaleOf } from './scale.ts'

describe('the axis scale', () => {
  it('a logarithmic axis spans whole decades', () => {
    const { ticks, place } = scaleOf('log', [10, 19_800])
    expect(ticks).toEqual([10, 100, 1_000, 10_000, 100_000])
    expect(place(10)).toBe(0)
    expect(place(1_000)).toBeCloseTo(0.5)
    expect(place(100_000)).toBe(1)
  })

  it('a logarithmic axis of few decades has ticks at 1, 2 and 5', () => {
    expect(scaleOf('log', [0.3, 4]).ticks).toEqual([0.2, 0.5, 1, 2, 5])
  })

  it('a logarithmic axis puts 0 at its lower end', () => {
    expect(scaleOf('log', [0, 1, 10]).place(0)).toBe(0)
  })

  it('a linear axis starts at 0 and ends above the largest value', () => {
    const { ticks, place } = scaleOf('linear', [120, 430])
    expect(ticks).toEqual([0, 100, 200, 300, 400, 500])
    expect(place(250)).toBe(0.5)
    expect(scaleOf('linear', [1, 2, 3, 4]).ticks).toEqual([0, 1, 2, 3, 4])
  })

  it('an axis handles a single value and no values', () => {
    expect(scaleOf('log', [7]).ticks.length).toBeGreaterThan(1)
    expect(scaleOf('log', []).ticks.length).toBeGreaterThan(1)
    expect(scaleOf('linear', [0]).place(0)).toBe(0)
  })

  it('axis labels are short: 20k, 2.5M', () => {
    expect([0.05, 1, 300, 3_000, 20_000, 2_500_000].map(nameTick)).toEqual(['0.05', '1', '300', '3000', '20k', '2.5M'])
  })
})
