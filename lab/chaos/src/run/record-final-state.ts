/**
 * The end of a chaos run: stops the load, waits until all clients have caught up, then reads
 * everything and records it.
 */
import { readResidentBytes } from '@chorus/testkit'
import { defaultSettings } from '../checker/rule.ts'
import { nowMicros } from '../history/index.ts'
import { dumpLog, readTops } from './dump-log.ts'
import { writeRedisKeys, writeResources } from './resources.ts'
import type { Run } from './run.ts'

const restMs = 2_500
const memoryEveryMs = 200
/** Maximum time to wait until idle servers have returned the memory that they used under load. */
const memoryReturnMaxMs = 30_000

export async function recordFinalState(run: Run): Promise<void> {
  const { lab, drivers, writer, patienceMs } = run
  run.tellRate(0)
  const waiting = await Promise.all(drivers.map((driver) => driver.settle(patienceMs)))
  const unsettled = waiting.reduce((sum, count) => sum + count, 0)
  if (unsettled > 0) run.note(`${unsettled} messages had no outcome after ${patienceMs} ms without faults`)
  await run.awaitTops('rest')
  await run.wait(restMs)
  await awaitMemory(run)
  run.phase('quiet')
  writeResources(lab, writer, 'quiet')
  await writeRedisKeys(lab.primary, writer)
  const tops = await readTops(lab)
  run.options.say('reading everything again, with the running clients and with a new client')
  for (const driver of drivers) await driver.readFinally(tops)
  await dumpLog(lab, writer)
  for (const { name } of lab.servers) {
    writer.write({ t: nowMicros(), op: 'server', server: name, what: 'scanned', lines: lab.logLines.get(name) ?? 0 })
  }
  for (const driver of drivers) await driver.end()
  run.phase('end')
}

/**
 * Waits until each server's memory is within the limit of checker rule A16. V8 returns the memory
 * that it used under load only after some seconds without work (decision 0019). So a measurement
 * right after the last message would show the load and not a leak.
 */
async function awaitMemory(run: Run): Promise<void> {
  const endsAt = performance.now() + memoryReturnMaxMs
  const isSettled = (): boolean =>
    run.lab.servers.every(({ name, pid }) => {
      const baselineBytes = run.baselineBytes.get(name)
      if (baselineBytes === undefined) return true
      return readResidentBytes(pid) - baselineBytes <= defaultSettings.rssGrowthMaxBytes
    })
  while (!isSettled() && performance.now() < endsAt) await run.wait(memoryEveryMs)
}
