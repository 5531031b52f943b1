/** The shape of a result file: everything needed to judge a figure, and every raw round. */
import type { Environment } from '../machine/environment.ts'
import type { Options, ScenarioName } from '../options.ts'

/** One target in one round. */
export interface Round {
  readonly round: number
  readonly target: string
  /** Which of the scenario's loads: `window 8`. */
  readonly variant: string
  /** Named with their units. */
  readonly figures: Readonly<Record<string, number>>
  /** Why the figures are none: messages were lost, doubled or refused, connections ended. */
  readonly invalid?: string | undefined
  /** Whatever else was seen. */
  readonly raw: unknown
}

export interface Goal {
  /** `P1` and so on of the performance goals, or the letters that docs/performance.md gives. */
  readonly id: string
  readonly met: boolean
  /** The figure and what it had to be. */
  readonly text: string
}

export interface ScenarioResult {
  readonly scenario: ScenarioName
  /** What each target is. */
  readonly targets: Readonly<Record<string, string>>
  readonly settings: Readonly<Record<string, unknown>>
  readonly rounds: readonly Round[]
  readonly goals: readonly Goal[]
  /** What a reader must know besides. */
  readonly notes: readonly string[]
}

export interface BenchResult {
  readonly format: 1
  readonly environment: Environment
  readonly options: Options
  readonly scenarios: readonly ScenarioResult[]
}
