/**
 * Least squares with coefficients that are not negative: a cost cannot be, and a fit that may use negative ones explains
 * noise by terms that cancel out. Coordinate descent on the normal equations: few terms, so it need not be clever. It
 * comes as near to the optimum (there is one: the problem is convex) as the bound on rounds allows.
 */
const roundsMax = 200_000
const precision = 1e-13

export interface Observation {
  /** One amount for each term. */
  readonly amounts: readonly number[]
  readonly value: number
  /** How far off `value` may be: what is known better weighs more. */
  readonly tolerance: number
}

/** Returns a coefficient for each term. */
export function fitNonNegative(observations: readonly Observation[], terms: number): number[] {
  // Columns of length 1, or terms with large amounts would be known better than the others.
  const rows = observations.map(({ amounts, value, tolerance }) => ({
    amounts: Array.from({ length: terms }, (_, term) => (amounts[term] ?? 0) / tolerance),
    value: value / tolerance,
  }))
  const lengths = Array.from({ length: terms }, (_, term) =>
    Math.sqrt(rows.reduce((sum, { amounts }) => sum + (amounts[term] ?? 0) ** 2, 0)),
  )
  const column = (row: { readonly amounts: readonly number[] }, term: number): number =>
    (row.amounts[term] ?? 0) / (lengths[term] || 1)
  const products = Array.from({ length: terms }, (_, a) =>
    Array.from({ length: terms }, (__, b) => rows.reduce((sum, row) => sum + column(row, a) * column(row, b), 0)),
  )
  const targets = Array.from({ length: terms }, (_, term) =>
    rows.reduce((sum, row) => sum + column(row, term) * row.value, 0),
  )
  const scaled = Array.from({ length: terms }, () => 0)
  for (let round = 0; round < roundsMax; round++) {
    let moved = 0
    for (let term = 0; term < terms; term++) {
      if (lengths[term] === 0) continue
      const others = scaled.reduce(
        (sum, value, other) => (other === term ? sum : sum + value * (products[term]?.[other] ?? 0)),
        0,
      )
      const next = Math.max(0, (targets[term] ?? 0) - others)
      moved = Math.max(moved, Math.abs(next - (scaled[term] ?? 0)))
      scaled[term] = next
    }
    if (moved <= precision * Math.max(...scaled, Number.MIN_VALUE)) break
  }
  return scaled.map((value, term) => value / (lengths[term] || 1))
}
