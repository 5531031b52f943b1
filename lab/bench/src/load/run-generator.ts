/**
 * Starts a new load generator process with a job. Measures the resource use of the watched server
 * processes exactly while the generator measures.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { ProcessWatch } from '../machine/process-watch.ts'
import type { ProcessUsage, WatchedProcess } from '../machine/process-watch.ts'
import type { Finished, FromGenerator, ToGenerator } from './job.ts'

export interface GeneratorRun {
  readonly finished: Finished
  /** Resource use of the watched processes during the measurement, by role. */
  readonly usage: readonly ProcessUsage[]
}

export interface GeneratorOptions {
  readonly processes: readonly WatchedProcess[]
  readonly timeoutMs: number
  /** Called when the measurement begins and when it ends. */
  readonly onPhase?: (phase: 'measuring' | 'measured') => void
}

export function runGenerator(
  order: ToGenerator,
  { processes, timeoutMs, onPhase }: GeneratorOptions,
): Promise<GeneratorRun> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./generator.js', import.meta.url)), [], {
      execArgv: ['--max-semi-space-size=32'],
    })
    const watch = new ProcessWatch(processes)
    let usage: readonly ProcessUsage[] = []
    const timer = setTimeout(
      () => finish(() => reject(new Error('unable to measure; the generator does not answer'))),
      timeoutMs,
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
          onPhase?.('measuring')
          return
        case 'measured':
          usage = watch.end()
          onPhase?.('measured')
          return
        case 'done':
        case 'stormed':
          finish(() => resolve({ finished: message, usage }))
          return
        case 'failed':
          finish(() => reject(new Error(message.message)))
      }
    })
    child.send(order)
  })
}
