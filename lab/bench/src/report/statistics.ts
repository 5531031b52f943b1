/**
 * Medians and ratios of benchmark rounds. The machine is shared and noisy, so a median of rounds is
 * more reliable than a mean.
 */
import type { Round } from './result.ts'

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** Returns the values of one figure of one measured system, over its valid rounds. */
export function valuesOf(
  rounds: readonly Round[],
  { target, variant, figure }: { readonly target: string; readonly variant: string; readonly figure: string },
): number[] {
  return rounds
    .filter((round) => round.target === target && round.variant === variant && round.invalid === undefined)
    .flatMap((round) => round.figures[figure] ?? [])
}

/**
 * Returns the ratio of two measured systems: the median of the ratios within each round. A
 * disturbance in a round affects both systems, so it hardly changes their ratio. Returns undefined
 * when a round of either system is invalid.
 */
export function pairedRatio(
  rounds: readonly Round[],
  { target, peer, variant, figure }: { target: string; peer: string; variant: string; figure: string },
): number | undefined {
  const sides = (name: string) => rounds.filter((round) => round.target === name && round.variant === variant)
  const peers = sides(peer)
  const ratios: number[] = []
  for (const ours of sides(target)) {
    const theirs = peers.find(({ round }) => round === ours.round)
    const [above, below] = [ours.figures[figure], theirs?.figures[figure]]
    if (ours.invalid !== undefined || theirs === undefined || theirs.invalid !== undefined) return undefined
    if (above === undefined || below === undefined || below === 0) return undefined
    ratios.push(above / below)
  }
  return ratios.length === 0 ? undefined : median(ratios)
}
