/**
 * A least-squares fit with non-negative coefficients. A cost cannot be negative, and a fit that
 * allows negative coefficients explains measurement noise by terms that cancel each other. The best
 * non-negative fit is the plain least-squares fit of some subset of the terms. So this tries all
 * subsets, which is exact, and fast enough for a few terms.
 */
const termsMax = 12
/**
 * Smallest accepted pivot of the Gaussian elimination. A smaller pivot means that a term depends on
 * the terms before it, so this subset of terms has no unique solution.
 */
const leastPivot = 1e-9

export interface Observation {
  /** Amount of each term in this observation. */
  readonly amounts: readonly number[]
  readonly value: number
  /** Expected error of `value`. Observations with a smaller tolerance weigh more. */
  readonly tolerance: number
}

/** Returns the non-negative coefficient of each term that together fit the observations best. */
export function fitNonNegative(observations: readonly Observation[], terms: number): number[] {
  if (terms > termsMax) throw new Error(`unable to fit ${terms} terms; the maximum is ${termsMax}`)
  const rows = observations.map(({ amounts, value, tolerance }) => ({
    amounts: Array.from({ length: terms }, (_, term) => (amounts[term] ?? 0) / tolerance),
    value: value / tolerance,
  }))
  // Scale the column of each term to length 1. The amounts of terms differ in size, and all pivots
  // are compared with the same minimum.
  const lengths = Array.from({ length: terms }, (_, term) =>
    Math.hypot(...rows.map(({ amounts }) => amounts[term] ?? 0)),
  )
  const scaled = rows.map(({ amounts, value }) => ({
    amounts: amounts.map((amount, term) => amount / (lengths[term] || 1)),
    value,
  }))
  const products = lengths.map((_, a) =>
    lengths.map((__, b) => scaled.reduce((sum, { amounts }) => sum + (amounts[a] ?? 0) * (amounts[b] ?? 0), 0)),
  )
  const targets = lengths.map((_, term) =>
    scaled.reduce((sum, { amounts, value }) => sum + (amounts[term] ?? 0) * value, 0),
  )
  let best: { readonly explained: number; readonly coefficients: readonly number[] } = {
    explained: 0,
    coefficients: lengths.map(() => 0),
  }
  for (let subset = 1; subset < 2 ** terms; subset++) {
    const chosen = lengths.flatMap((_, term) => ((subset >> term) & 1 ? [term] : []))
    const solved = solve(
      chosen.map((a) => chosen.map((b) => products[a]?.[b] ?? 0)),
      chosen.map((term) => targets[term] ?? 0),
    )
    if (solved === undefined || solved.some((value) => value < 0)) continue
    // The amount by which this subset of terms reduces the sum of squared errors.
    const explained = solved.reduce((sum, value, index) => sum + value * (targets[chosen[index] ?? 0] ?? 0), 0)
    if (explained <= best.explained) continue
    const coefficients = lengths.map(() => 0)
    chosen.forEach((term, index) => {
      coefficients[term] = solved[index] ?? 0
    })
    best = { explained, coefficients }
  }
  return best.coefficients.map((value, term) => value / (lengths[term] || 1))
}

/**
 * Solves the linear equations by Gaussian elimination. Returns undefined if there is no unique
 * solution.
 */
function solve(matrix: number[][], right: number[]): number[] | undefined {
  const count = right.length
  const rows = matrix.map((row, index) => [...row, right[index] ?? 0])
  for (let column = 0; column < count; column++) {
    let pivot = column
    for (let row = column + 1; row < count; row++)
      if (Math.abs(rows[row]?.[column] ?? 0) > Math.abs(rows[pivot]?.[column] ?? 0)) pivot = row
    const top = rows[pivot]
    const swapped = rows[column]
    if (top === undefined || swapped === undefined || Math.abs(top[column] ?? 0) < leastPivot) return undefined
    rows[pivot] = swapped
    rows[column] = top
    for (let row = 0; row < count; row++) {
      const other = rows[row]
      if (row === column || other === undefined) continue
      const factor = (other[column] ?? 0) / (top[column] ?? 1)
      for (let index = column; index <= count; index++) other[index] = (other[index] ?? 0) - factor * (top[index] ?? 0)
    }
  }
  return rows.map((row, index) => (row[count] ?? 0) / (row[index] ?? 1))
}
