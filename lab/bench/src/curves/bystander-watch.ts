/**
 * Measures the processor time of Chorus servers without connections, and of Postgres on their
 * behalf, while other servers handle the load. This is the cost of the sweep, in which a server
 * polls the log for rows that other servers stored. It is too small for the usual process times,
 * which count hundredths of a second. So this file reads the scheduler's counters, which count
 * nanoseconds.
 */
import { readFileSync, readdirSync } from 'node:fs'
import type { Databases } from '@chorus/testkit'

export interface ControlConnection {
  readonly pid: number
  readonly port: number
}

/** Sum of the processor time that all servers without connections have used so far, in microseconds. */
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
  // Every Chorus server names its Postgres connections. The name ends with the server's port, or
  // with its process id if the operating system chose the port.
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
 * Returns the extra processor time that the load caused, in microseconds: the use between the
 * second and the third reading, minus the use of an equally long silent period. The silent period
 * lies between the first and the second reading.
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
