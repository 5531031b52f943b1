/**
 * Main file of a workload process (a driver). It receives its job over the pipe from its parent,
 * and exits when the parent is gone.
 */
import { installPageLocks } from '../clients/page-locks.ts'
import { Recorder } from '../clients/recorder.ts'
import { HistoryWriter } from '../history/index.ts'
import { Driver } from './driver.ts'
import type { FromDriver, ToDriver } from './job.ts'

installPageLocks()

const statusEveryMs = 500
/** Maximum number of problems that a process reports. More would show nothing new. */
const problemsMax = 50

const tell = (message: FromDriver): void => {
  process.send?.(message)
}

let problemCount = 0
const onProblem = (text: string): void => {
  problemCount += 1
  if (problemCount <= problemsMax) tell({ kind: 'problem', text })
}

let driver: Driver | undefined
let writer: HistoryWriter | undefined

async function handle(message: ToDriver): Promise<void> {
  if (message.kind === 'job') {
    writer = new HistoryWriter({ folder: message.job.folder, origin: message.job.name })
    driver = new Driver(message.job, new Recorder(writer), onProblem)
    await driver.start()
    const started = driver
    setInterval(() => tell({ kind: 'status', status: started.status }), statusEveryMs).unref()
    tell({ kind: 'ready' })
    return
  }
  if (driver === undefined) throw new Error('unable to drive; there is no job')
  switch (message.kind) {
    case 'rate':
      driver.rate = message.perSecond
      return
    case 'burst':
      driver.isBursting = message.isOn
      return
    case 'churn':
      driver.isChurning = message.isOn
      return
    case 'pause':
      driver.pauseReaders(message.share, message.isPaused)
      return
    case 'await':
      tell({ kind: 'awaited', id: message.id, behind: await driver.awaitTops(message.tops, message.timeoutMs) })
      return
    case 'settle':
      tell({ kind: 'settled', waiting: await driver.settle(message.timeoutMs) })
      return
    case 'final':
      await driver.readFinally(message.tops)
      tell({ kind: 'final-done' })
      return
    case 'end':
      await driver.end()
      tell({ kind: 'status', status: driver.status })
      writer?.close()
      tell({ kind: 'ended' })
      return
  }
}

const fail = (error: unknown): void => {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  if (process.send === undefined) process.exit(1)
  process.send({ kind: 'failed', message } satisfies FromDriver, () => process.exit(1))
}

process.once('disconnect', () => process.exit(1))
process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)
process.on('message', (message: ToDriver) => {
  handle(message).catch(fail)
})
