/**
 * Records the resources that the cluster uses: memory and open files of processes, and Redis keys
 * that never expire.
 */
import { readdirSync } from 'node:fs'
import { readResidentBytes } from '@chorus/testkit'
import type { Redis } from '@chorus/testkit'
import { nowMicros } from '../history/index.ts'
import type { HistoryWriter } from '../history/index.ts'
import type { Lab } from '../faults/lab.ts'

const samplesMax = 5
const keysMax = 100_000

export function writeResources(lab: Lab, writer: HistoryWriter, phase: 'baseline' | 'during' | 'quiet'): void {
  for (const { name, pid } of lab.servers) {
    try {
      const fds = readdirSync(`/proc/${pid}/fd`).length
      writer.write({
        t: nowMicros(),
        op: 'resources',
        part: name,
        pid,
        phase,
        rssBytes: readResidentBytes(pid),
        fds,
      })
    } catch {
      // The process is being killed now. The next measurement finds the process that replaces it.
    }
  }
}

/**
 * Key of BullMQ's description of a queue. It is one small key per queue and contains no jobs, so it
 * may lack an expiry.
 */
const queueDescription = /:\{jobs\}:\w+:meta$/

/** Scans all Chorus keys in Redis for keys without an expiry, and records the result. */
export async function writeRedisKeys(redis: Redis, writer: HistoryWriter): Promise<void> {
  let scanned = 0
  let withoutExpiry = 0
  const samples: string[] = []
  let cursor = '0'
  do {
    const [next, keys] = (await redis.command('SCAN', cursor, 'MATCH', 'chorus:*', 'COUNT', 1_000)) as [
      string,
      string[],
    ]
    cursor = next
    for (const key of keys) {
      scanned += 1
      if (queueDescription.test(key)) continue
      if (Number(await redis.command('PTTL', key)) !== -1) continue
      withoutExpiry += 1
      if (samples.length < samplesMax) samples.push(key)
    }
  } while (cursor !== '0' && scanned < keysMax)
  writer.write({ t: nowMicros(), op: 'redis-keys', redis: redis.url, scanned, withoutExpiry, samples })
}
