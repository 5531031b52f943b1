/** The result of a scenario. */
import type { ScenarioResult } from '../report/result.ts'

export interface ScenarioRun {
  readonly result: ScenarioResult
  /** Versions of the programs that the scenario started. */
  readonly versions: Readonly<Record<string, string>>
}

/** Prints a line about the progress of the scenario. */
export type Progress = (line: string) => void
