/**
 * What servers without connections use while others serve, and their share of Postgres: that is what it costs to sweep
 * what others store. It is so little that the hundredths of a second in which processes are counted are too coarse; the
 * scheduler's own count is in nanoseconds.
 */
import { readFileSync, readdirSync } from 'node:fs'
import type { Databases } from '@chorus/testkit'

export interface Bystander {
  readonly pid: number
  readonly port: number
}

/** So far, in microseconds, all bystanders together. */
export interface BystanderUse {
  readonly serverUs: number
  readonly databaseUs: number
  readonly atMs: number
}

export async function readBystanders(
  bystanders: readonly Bystander[],
  databases: Databases,
  databaseUrl: string,
): Promise<BystanderUse> {
  // Servers say their names to Postgres, and those end with the port, or with the process where the port was any.
  const backends = await databases.query<{ pid: number }>(
    `select pid from pg_stat_activity where split_part(application_name, ':', 2) = any ($1::text[])`,
    [bystanders.flatMap(({ pid, port }) => [String(port), `pid-${pid}`])],
    databaseUrl,
  )
  return {
    serverUs: sum(bystanders.map(({ pid }) => processorUsOf(pid))),
    databaseUs: sum(backends.map(({ pid }) => processorUsOf(pid))),
    atMs: performance.now(),
  }
}

/** What the second stretch used more than the first, if that went on as it was, in microseconds. */
export function extraUse(
  [start, middle, end]: readonly [BystanderUse, BystanderUse, BystanderUse],
  role: 'serverUs' | 'databaseUs',
): number {
  const silent = (middle[role] - start[role]) / (middle.atMs - start.atMs)
  return Math.max(0, end[role] - middle[role] - silent * (end.atMs - middle.atMs))
}

function processorUsOf(pid: number): number {
  try {
    return sum(
      readdirSync(`/proc/${pid}/task`).map(
        (task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1_000,
      ),
    )
  } catch {
    return 0 // It has ended.
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
