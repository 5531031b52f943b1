/**
 * Measures two chaos runs without other faults: how fast clients recover from a reconnection storm,
 * and how much memory slow clients cost.
 */
import { readResidentBytes } from '@chorus/testkit'
import { readTops } from './dump-log.ts'
import { withRun } from './run.ts'
import type { Run, RunOptions } from './run.ts'

const stormQuietMs = 2_000
const stormAwayMs = 500
const slowMs = 20_000
const memoryEveryMs = 200

export interface StormFigures {
  /**
   * Time between the cut of all connections and the moment when all clients are back and have
   * caught up.
   */
  readonly recoveryMs: number
  /** Largest number of reads of one conversation's changes from Postgres by one server. */
  readonly readsAtMost: number
}

/** Cuts all client connections at the same time, and measures the recovery. */
export function measureStorm(options: RunOptions): Promise<StormFigures> {
  return withRun(options, async (run) => {
    const { lab } = run
    await run.wait(stormQuietMs)
    for (const reads of lab.reads) reads.reset()
    const cutAt = performance.now()
    for (const front of lab.fronts) front.reset()
    // Messages sent in this time are those that the offline clients must catch up.
    await run.wait(stormAwayMs)
    await run.awaitTops('storm')
    const recoveryMs = performance.now() - cutAt
    const conversations = new Set((await readTops(lab)).map(({ conversation }) => conversation))
    let readsAtMost = 0
    let most = ''
    for (const [server, { counts }] of lab.reads.entries()) {
      for (const [id, byStatement] of counts) {
        const reads = [...byStatement.values()].reduce((sum, count) => sum + count, 0)
        // Reads are counted by the id of a conversation or a user. Use only the counts of
        // conversations.
        if (!conversations.has(id) || reads <= readsAtMost) continue
        readsAtMost = reads
        most = `server-${server + 1} read ${id}: ${[...byStatement].map(([name, count]) => `${count} ${name}`).join(', ')}`
      }
    }
    options.say(most)
    return { recoveryMs, readsAtMost }
  })
}

/**
 * Measures how much more memory the servers use while some clients do not read. Returns the largest
 * growth of one server, in bytes.
 */
export function measureSlowGrowthBytes(options: RunOptions, pausedShare: number): Promise<number> {
  return withRun(options, async (run) => {
    const before = await watchMemory(run, slowMs)
    run.tellDrivers({ kind: 'pause', share: pausedShare, isPaused: true })
    const during = await watchMemory(run, slowMs)
    run.tellDrivers({ kind: 'pause', share: 1, isPaused: false })
    await run.awaitTops('slow')
    return Math.max(...during.map((bytes, index) => bytes - (before[index] ?? 0)))
  })
}

/** Returns the highest memory of each server during the given time. */
async function watchMemory(run: Run, forMs: number): Promise<number[]> {
  const most = run.lab.servers.map(() => 0)
  const endsAt = performance.now() + forMs
  while (performance.now() < endsAt) {
    for (const [index, { pid }] of run.lab.servers.entries()) {
      most[index] = Math.max(most[index] ?? 0, readResidentBytes(pid))
    }
    await run.wait(memoryEveryMs)
  }
  return most
}
