/** Types that all benchmark scenarios use: their result and their progress lines. */
import type { ScenarioResult } from '../report/result.ts'

export interface ScenarioRun {
  readonly result: ScenarioResult
  /** Versions of the programs (such as Postgres) that the scenario started, by name. */
  readonly versions: Readonly<Record<string, string>>
}

/** Function that prints a line about the progress of a scenario. */
export type Progress = (line: string) => void
