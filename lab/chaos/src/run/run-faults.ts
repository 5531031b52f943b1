/**
 * Executes one chaos run, from starting the cluster to the finished history. Warms up, then injects
 * and heals faults by schedule while clients send. At the end it stops the load and records the
 * final state. Nothing is judged here: the checker does that, and gets only the history.
 */
import { faults as allFaults, notRun } from '../faults/catalogue.ts'
import type { LabShape } from '../faults/fault.ts'
import { Random } from '../random/random.ts'
import { injectFaults } from './inject-faults.ts'
import { recordFinalState } from './record-final-state.ts'
import { frontCount, withRun } from './run.ts'
import type { Run, RunOptions } from './run.ts'
import { describeScheduled, makeSchedule } from './schedule.ts'

/** Maximum time for sending more messages after the last fault. */
const topUpMaxMs = 30 * 60_000

export async function runFaults(options: RunOptions): Promise<void> {
  const { say } = options
  const shape: LabShape = { servers: options.servers, fronts: frontCount, isLong: options.isLong }
  const fitting = allFaults.filter(({ kind }) => options.only.length === 0 || options.only.includes(kind))
  const possible = fitting.filter((fault) => fault.missing?.() === undefined)
  const random = new Random(`chaos ${options.seed}`).branch('schedule')
  const schedule = makeSchedule(random, possible, options.faults, shape)
  say(`seed ${options.seed}: ${options.faults} faults`)
  for (const scheduled of schedule) say(describeScheduled(scheduled))
  for (const fault of fitting) {
    const why = fault.missing?.()
    if (why !== undefined) say(`not run: ${fault.kind} ${fault.name}; ${why}`)
  }
  for (const { kind, why } of notRun) say(`not run: ${kind}; ${why}`)

  await withRun(options, async (run) => {
    await injectFaults(run, schedule)
    await topUp(run)
    await recordFinalState(run)
  })
}

/** Sends as fast as possible until the requested number of messages is acknowledged. */
async function topUp(run: Run): Promise<void> {
  const { messages, say } = run.options
  const endsAt = performance.now() + topUpMaxMs
  if (run.acknowledged >= messages) return
  say(`${run.acknowledged} acknowledged so far; sending on until ${messages}`)
  run.tellDrivers({ kind: 'burst', isOn: true })
  while (run.acknowledged < messages && performance.now() < endsAt) await run.wait(200)
  run.tellDrivers({ kind: 'burst', isOn: false })
}
