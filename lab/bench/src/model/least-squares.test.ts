import { describe, expect, it } from 'vitest'
import { fitNonNegative } from './least-squares.ts'

const exact = (amounts: readonly number[], value: number) => ({ amounts, value, tolerance: 1 })

describe('non-negative least squares', () => {
  it('non-negative least squares finds the true coefficients at any scale', () => {
    const truth = [40, 0.5, 3_000]
    const observations = [
      [1, 10, 0.1],
      [20, 4_000, 0],
      [300, 100, 2],
      [5, 90_000, 1],
    ].map((amounts) =>
      exact(
        amounts,
        amounts.reduce((sum, amount, term) => sum + amount * (truth[term] ?? 0), 0),
      ),
    )
    const found = fitNonNegative(observations, 3)
    truth.forEach((coefficient, term) => expect(found[term]).toBeCloseTo(coefficient, 4))
  })

  it('non-negative least squares finds the best line through inexact points', () => {
    // The points follow y = 1 + 2x with errors +1, −1, −1, +1, which do not change the best line.
    const found = fitNonNegative(
      [1, 2, 3, 4].map((x, index) => exact([1, x], 1 + 2 * x + (index === 0 || index === 3 ? 1 : -1))),
      2,
    )
    expect(found[0]).toBeCloseTo(1, 6)
    expect(found[1]).toBeCloseTo(2, 6)
  })

  it('a term that would need a negative coefficient gets 0', () => {
    const found = fitNonNegative([exact([1, 1], 5), exact([1, 2], 4), exact([1, 3], 3)], 2)
    expect(found[1]).toBe(0)
    expect(found[0]).toBeCloseTo(4, 6)
  })

  it('values with a smaller tolerance weigh more in the fit', () => {
    const [level = 0] = fitNonNegative(
      [
        { amounts: [1], value: 10, tolerance: 0.1 },
        { amounts: [1], value: 20, tolerance: 10 },
      ],
      1,
    )
    expect(level).toBeCloseTo(10, 1)
  })

  it('a term that never occurs gets the coefficient 0', () => {
    expect(fitNonNegative([exact([2, 0], 6)], 2)).toEqual([3, 0])
  })
})
