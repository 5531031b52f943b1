/** The shape of a result file: everything needed to judge a figure, and all raw rounds. */
import type { Environment } from '../machine/environment.ts'
import type { Options, ScenarioName } from '../options/options.ts'

/** One target in one round. */
export interface Round {
  readonly round: number
  readonly target: string
  /** Name of one of the scenario's loads: `window 8`. */
  readonly variant: string
  /** Figures by name. The names include the units. */
  readonly figures: Readonly<Record<string, number>>
  /**
   * Reason why the figures are invalid: messages were lost, repeated or refused, or connections
   * closed.
   */
  readonly invalid?: string | undefined
  /** Any other observations. */
  readonly raw: unknown
}

export interface Goal {
  /** `P1` and so on of the performance goals, or the letters that docs/performance.md defines. */
  readonly id: string
  readonly met: boolean
  /** The figure and its required value. */
  readonly text: string
}

export interface ScenarioResult {
  readonly scenario: ScenarioName
  /** Description of each target. */
  readonly targets: Readonly<Record<string, string>>
  readonly settings: Readonly<Record<string, unknown>>
  readonly rounds: readonly Round[]
  readonly goals: readonly Goal[]
  /** Further notes for the reader. */
  readonly notes: readonly string[]
}

export interface BenchResult {
  readonly format: 1
  readonly environment: Environment
  readonly options: Options
  readonly scenarios: readonly ScenarioResult[]
}
