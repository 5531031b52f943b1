/**
 * Injects and heals faults by schedule, while clients send, join and leave. After each fault, waits
 * until all clients have caught up.
 */
import { nowMicros } from '../history/index.ts'
import { writeResources } from './resources.ts'
import type { Run } from './run.ts'
import type { ScheduledFault } from './schedule.ts'

export async function injectFaults(run: Run, schedule: readonly ScheduledFault[]): Promise<void> {
  run.phase('faults')
  run.tellDrivers({ kind: 'churn', isOn: true })
  let acknowledged = 0
  for (const scheduled of schedule) {
    const caughtUp = await inject(run, scheduled)
    run.options.say(`${caughtUp}; +${run.acknowledged - acknowledged} acknowledged`)
    acknowledged = run.acknowledged
    writeResources(run.lab, run.writer, 'during')
  }
  run.tellDrivers({ kind: 'churn', isOn: false })
}

/**
 * Injects and heals one fault. Returns a line for the terminal about how long the clients took to
 * catch up.
 */
async function inject(run: Run, { id, fault, drawn, afterMs }: ScheduledFault): Promise<string> {
  const { lab } = run
  const { kind, name, affects, boundMs } = fault
  const workload = {
    pauseReaders: (share: number, isPaused: boolean) => run.tellDrivers({ kind: 'pause', share, isPaused }),
  }
  const write = (phase: 'start' | 'heal'): void => {
    const { targets } = drawn
    run.writer.write({ t: nowMicros(), op: 'fault', id, kind, name, phase, targets, affects, boundMs })
  }
  await run.wait(afterMs)
  // Record the start before `begin`, so that no effect of the fault precedes it in time.
  write('start')
  await fault.begin(lab, drawn, workload)
  if (drawn.forMs > 0) await run.wait(drawn.forMs)
  await fault.heal(lab, drawn, workload)
  write('heal')
  const tookMs = await run.awaitTops(`fault ${id}`)
  await fault.restore?.(lab, drawn)
  const late = tookMs > boundMs ? `  (bound ${boundMs} ms)` : ''
  return `${String(id).padStart(4)} ${kind} ${name}: caught up after ${Math.round(tookMs)} ms${late}`
}
