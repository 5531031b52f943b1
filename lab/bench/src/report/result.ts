/**
 * The format of the benchmark's result file: everything needed to judge a figure, and all rounds.
 */
import type { Environment } from '../machine/environment.ts'
import type { Options, ScenarioName } from '../options/options.ts'

/** Measurement of one system (Chorus or a compared system) in one round. */
export interface Round {
  readonly round: number
  readonly target: string
  /** Name of the load, such as `window 8` for 8 unacknowledged messages per sender. */
  readonly variant: string
  /** Measured figures by name. Each name includes the unit. */
  readonly figures: Readonly<Record<string, number>>
  /**
   * Reason why the figures are not valid: messages were lost, repeated or refused, or connections
   * closed.
   */
  readonly invalid?: string | undefined
  /** All other data that the scenario recorded. */
  readonly raw: unknown
}

export interface Goal {
  /** Id of the goal: `P1` and so on as in the spec, or letters that docs/performance.md defines. */
  readonly id: string
  readonly met: boolean
  /** Text with the measured figure and its required value. */
  readonly text: string
}

export interface ScenarioResult {
  readonly scenario: ScenarioName
  /** Description of each measured system, by its name. */
  readonly targets: Readonly<Record<string, string>>
  readonly settings: Readonly<Record<string, unknown>>
  readonly rounds: readonly Round[]
  readonly goals: readonly Goal[]
  /** Remarks for the reader of the report. */
  readonly notes: readonly string[]
}

export interface BenchResult {
  readonly format: 1
  readonly environment: Environment
  readonly options: Options
  readonly scenarios: readonly ScenarioResult[]
}
