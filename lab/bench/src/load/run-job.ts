/** Runs one load job or one reconnection storm in a new load generator, and returns its outcome. */
import type { ProcessUsage, WatchedProcess } from '../machine/process-watch.ts'
import type { Job, Outcome } from './job.ts'
import { firstSerialOf } from './marker.ts'
import { runGenerator } from './run-generator.ts'
import type { GeneratorOptions } from './run-generator.ts'
import type { StormJob, StormOutcome } from './storm-job.ts'

export interface JobRun {
  readonly outcome: Outcome
  /** Resource use of the watched processes during the measurement, by role. */
  readonly usage: readonly ProcessUsage[]
}

export interface StormRun {
  readonly outcome: StormOutcome
  readonly usage: readonly ProcessUsage[]
}

/**
 * Time that the load generator may take in addition to the job's own durations, for connecting and
 * for counting at the end.
 */
const marginMs = 120_000

let runs = 0

export async function runJob(order: Omit<Job, 'firstSerial'>, processes: readonly WatchedProcess[]): Promise<JobRun> {
  const job: Job = { ...order, firstSerial: firstSerialOf(runs++) }
  const timeoutMs = job.warmUpMs + job.measureMs + job.drainMs + marginMs
  const { finished, usage } = await runGenerator({ kind: 'job', job }, { processes, timeoutMs })
  if (finished.kind !== 'done') throw new Error('unable to measure; the generator answered another request')
  return { outcome: finished.outcome, usage }
}

export async function runStorm(storm: StormJob, options: Omit<GeneratorOptions, 'timeoutMs'>): Promise<StormRun> {
  const timeoutMs = storm.settleMs + storm.patienceMs + storm.drainMs + marginMs
  const { finished, usage } = await runGenerator({ kind: 'storm', storm }, { ...options, timeoutMs })
  if (finished.kind !== 'stormed') throw new Error('unable to measure; the generator answered another request')
  return { outcome: finished.outcome, usage }
}
