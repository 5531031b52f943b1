/** What every scenario gives back. */
import type { ScenarioResult } from '../report/result.ts'

export interface ScenarioRun {
  readonly result: ScenarioResult
  /** Of what it started. */
  readonly versions: Readonly<Record<string, string>>
}

/** Tells a person who waits what was just seen. */
export type Progress = (line: string) => void
