/**
 * Measures one point of a curve: connects the clients, applies the load, and records the cost for
 * each kind of process (server, Postgres, Redis).
 */
import { readFileSync } from 'node:fs'
import type { Redis } from '@chorus/testkit'
import { readResidentBytes } from '@chorus/testkit'
import type { Load, Outcome } from '../load/job.ts'
import type { ProcessUsage } from '../machine/process-watch.ts'
import type { Options } from '../options/options.ts'
import { measure } from '../scenarios/measure.ts'
import type { Audience, Target } from '../targets/target.ts'
import type { CurvePoint, Work } from '../points/point.ts'

export interface PointOptions {
  readonly target: Target
  readonly audience: Audience
  readonly load: Load
  /** Number of servers that clients connect to. The other servers run without connections. */
  readonly serving: number
  readonly rooms: number
  /** Number of rooms of each client. */
  readonly roomsEach: number
  readonly times: Pick<Options, 'textChars' | 'warmUpMs' | 'measureMs' | 'drainMs'>
}

export type Measured = Pick<CurvePoint, 'work' | 'processorUs' | 'figures' | 'invalid'> & {
  /** Number of messages acknowledged in the whole run, including warm-up. */
  readonly acknowledgedInAll: number
  /**
   * Memory of all Chorus servers together at the end of the measurement, with all clients
   * connected.
   */
  readonly residentMb: number
}

interface Raw {
  readonly outcome: Outcome
  readonly usage: readonly ProcessUsage[]
}

export async function measurePoint(options: PointOptions): Promise<Measured> {
  const { target, audience, load, serving, rooms, roomsEach, times } = options
  const limit = { ...target, ports: target.ports.slice(0, serving) }
  const { figures, invalid, raw } = await measure(limit, audience, load, times)
  const { outcome, usage } = (raw ?? {}) as Partial<Raw>
  const isChorus = target.name === 'chorus'
  const oneUnless = (figure: number | undefined): number => (isChorus && figure ? figure : 1)
  const coresOf = (role: string): number => usage?.find((used) => used.role === role)?.cpuShare ?? 0
  const work: Work = {
    servers: target.ports.length,
    serving,
    connections: audience.members.length,
    hearers: audience.members.filter(({ hears }) => hears).length,
    subscriptions: audience.members.length * roomsEach,
    rooms,
    messages: figures.ackPerSecond ?? 0,
    deliveries: figures.deliveriesPerSecond ?? 0,
    changesPerWrite: oneUnless(figures.changesPerEvent),
    rowsPerCommit: oneUnless(figures.rowsPerCommit),
  }
  const isTimed = load.kind !== 'idle'
  return {
    work,
    processorUs: {
      server: Math.round(coresOf('server') * 1_000_000),
      database: Math.round(coresOf('database') * 1_000_000),
      redis: Math.round(coresOf('redis') * 1_000_000),
    },
    figures: {
      ...keep('generatorCpu', figures.generatorCpu),
      ...(isTimed && {
        ...keep('ackP50Ms', figures.ackP50Ms),
        ...keep('ackP99Ms', figures.ackP99Ms),
        ...keep('deliveryP50Ms', figures.deliveryP50Ms),
        ...keep('deliveryP99Ms', figures.deliveryP99Ms),
        ...keep('lastDeliveryP99Ms', figures.lastDeliveryP99Ms),
      }),
    },
    invalid,
    acknowledgedInAll: outcome?.acknowledged ?? 0,
    residentMb: Math.round((figures.serverResidentMb ?? 0) * 10) / 10,
  }
}

function keep<Name extends string>(name: Name, value: number | undefined): Partial<Record<Name, number>> {
  return value === undefined ? {} : ({ [name]: value } as Partial<Record<Name, number>>)
}

/** Returns how many bytes Redis has received and sent since it started, by its own counters. */
export async function bytesOf(redis: Redis): Promise<number> {
  return Number(await redis.info('total_net_input_bytes')) + Number(await redis.info('total_net_output_bytes'))
}

/** Returns the resident memory of all servers of the measured system together, in megabytes. */
export function residentMb({ processes }: Target): number {
  const bytes = processes
    .filter(({ role }) => role === 'server')
    .reduce((sum, { pid }) => sum + readResidentBytes(pid), 0)
  return Math.round(bytes / 104_857.6) / 10
}

/**
 * Returns how many connections one process can open on this machine: its limit of open files, minus
 * some files for the process itself.
 */
export function connectionsMax(): number {
  const files = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 1_024)
  return files - reservedFiles
}

const reservedFiles = 200
