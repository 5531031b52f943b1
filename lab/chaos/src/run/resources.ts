/** What the parts hold: memory and open files of processes, and keys in Redis that would never go. */
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
      // It is being killed just now; the next look finds the one after it.
    }
  }
}

/** BullMQ's description of a queue: one small key that says what the queue is, not what is in it. */
const queueDescription = /:\{jobs\}:\w+:meta$/

/** Looks at every key of ours for one without an expiry. */
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
