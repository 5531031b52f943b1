/**
 * Measures the processor time of servers without connections, and their share of Postgres, while
 * other servers work. That is the cost of sweeping rows that other servers store. It is too small
 * for the usual process times, which count hundredths of a second. So this reads the scheduler's
 * counters, which count nanoseconds.
 */
import { readFileSync, readdirSync } from 'node:fs'
import type { Databases } from '@chorus/testkit'

export interface ControlConnection {
  readonly pid: number
  readonly port: number
}

/** Processor time used so far by all bystanders together, in microseconds. */
export interface BystanderUse {
  readonly serverUs: number
  readonly databaseUs: number
  readonly atMs: number
}

export async function readBystanders(
  bystanders: readonly ControlConnection[],
  databases: Databases,
  databaseUrl: string,
): Promise<BystanderUse> {
  // Servers give Postgres an application name that ends with the port, or with the pid if the port
  // was chosen freely.
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

/**
 * Returns how much more the second period used than the first, scaled to its duration, in
 * microseconds.
 */
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
    return 0 // The process has ended.
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
