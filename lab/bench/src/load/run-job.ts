/** Runs one job in a fresh generator, and looks at the processes under test exactly while it measures. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { ProcessWatch } from '../machine/process-watch.ts'
import type { ProcessUsage, WatchedProcess } from '../machine/process-watch.ts'
import type { FromGenerator, Job, Outcome, ToGenerator } from './job.ts'
import { firstSerialOf } from './marker.ts'

export interface JobRun {
  readonly outcome: Outcome
  /** Of the measured part, by role. */
  readonly usage: readonly ProcessUsage[]
}

/** Longest time beyond what the job asks for: connecting, and settling the account. */
const marginMs = 120_000

let runs = 0

export function runJob(order: Omit<Job, 'firstSerial'>, processes: readonly WatchedProcess[]): Promise<JobRun> {
  const job: Job = { ...order, firstSerial: firstSerialOf(runs++) }
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./generator.js', import.meta.url)), [], {
      execArgv: ['--max-semi-space-size=32'],
    })
    const watch = new ProcessWatch(processes)
    let usage: readonly ProcessUsage[] = []
    const timer = setTimeout(
      () => finish(() => reject(new Error('unable to measure; the generator does not answer'))),
      job.warmUpMs + job.measureMs + job.drainMs + marginMs,
    )
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      child.off('exit', onExit)
      child.kill('SIGKILL')
      settle()
    }
    const onExit = (code: number | null): void =>
      finish(() => reject(new Error(`unable to measure; the generator ended with ${code ?? 'a signal'}`)))
    child.once('exit', onExit)
    child.on('message', (message: FromGenerator) => {
      switch (message.kind) {
        case 'measuring':
          watch.begin()
          return
        case 'measured':
          usage = watch.end()
          return
        case 'done':
          finish(() => resolve({ outcome: message.outcome, usage }))
          return
        case 'failed':
          finish(() => reject(new Error(message.message)))
      }
    })
    child.send({ kind: 'job', job } satisfies ToGenerator)
  })
}
