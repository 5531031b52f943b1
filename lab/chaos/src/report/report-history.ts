/**
 * Makes a report from the folder of a chaos run: reads and checks its history, and copies the run's
 * settings from it.
 */
import { type CheckSettings, checkHistory, loadHistory } from '../checker/index.ts'
import type { RunReport } from './report-run.ts'

export interface ReportOptions {
  readonly mutant?: string
  readonly peer?: string
  readonly checkSettings?: Partial<CheckSettings>
}

export function reportHistory(folder: string, { mutant, peer, checkSettings }: ReportOptions = {}): RunReport {
  const history = loadHistory(folder)
  const { run } = history
  return {
    format: 1,
    name: run?.name ?? 'a run without a name',
    seed: run?.seed ?? 0,
    commit: run?.commit ?? 'unknown',
    machine: run?.machine ?? 'unknown',
    startedAt: run?.startedAt ?? 'unknown',
    settings: run?.settings ?? {},
    ...(mutant !== undefined && { mutant }),
    ...(peer !== undefined && { peer }),
    result: checkHistory(history, checkSettings),
  }
}
