/**
 * Measures the processor time and memory of other processes between two moments, from /proc. On
 * request it includes a process's children.
 */
import { readFileSync, readdirSync } from 'node:fs'

export interface WatchedProcess {
  /** Role of the process in the benchmark: `server`, `database` and so on. */
  readonly role: string
  readonly pid: number
  /** Whether to include the process's children. Postgres does its work in child processes. */
  readonly withChildren?: boolean
}

/** Resources that all processes of one role used together. */
export interface ProcessUsage {
  readonly role: string
  /** Average number of processor cores in use. 1 means one core all the time. */
  readonly cpuShare: number
  readonly residentMb: number
  readonly residentPeakMb: number
}

/**
 * Number of clock ticks per second. Linux counts processor time in hundredths of a second on all
 * our machines.
 */
const ticksPerSecond = 100

export class ProcessWatch {
  readonly #processes: readonly WatchedProcess[]
  #startedAtMs = 0
  #startTicks: readonly number[] = []

  constructor(processes: readonly WatchedProcess[]) {
    this.#processes = processes
  }

  begin(): void {
    this.#startedAtMs = performance.now()
    this.#startTicks = this.#processes.map(ticksOf)
  }

  end(): ProcessUsage[] {
    const elapsedSeconds = (performance.now() - this.#startedAtMs) / 1_000
    const used = this.#processes.map((watched, index) => ({
      role: watched.role,
      cpuShare: (ticksOf(watched) - (this.#startTicks[index] ?? 0)) / ticksPerSecond / elapsedSeconds,
      residentMb: readStatusMb(watched.pid, 'VmRSS'),
      residentPeakMb: readStatusMb(watched.pid, 'VmHWM'),
    }))
    return [...new Set(used.map(({ role }) => role))].map((role) => {
      const those = used.filter((each) => each.role === role)
      const sum = (value: (each: ProcessUsage) => number): number =>
        those.reduce((total, each) => total + value(each), 0)
      return {
        role,
        cpuShare: Math.round(sum(({ cpuShare }) => cpuShare) * 1_000) / 1_000,
        residentMb: sum(({ residentMb }) => residentMb),
        residentPeakMb: sum(({ residentPeakMb }) => residentPeakMb),
      }
    })
  }
}

function ticksOf({ pid, withChildren }: WatchedProcess): number {
  const ticks = (each: number): number => readStat(each)?.ticks ?? 0
  const children = withChildren === true ? childrenOf(pid) : []
  return children.reduce((sum, child) => sum + ticks(child), ticks(pid))
}

function readStat(pid: number): { readonly parent: number; readonly ticks: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) }
  } catch {
    return undefined // The process has ended.
  }
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((child) => readStat(child)?.parent === pid)
}

function readStatusMb(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  try {
    const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return Math.round(Number(match?.[1] ?? 0) / 102.4) / 10
  } catch {
    return 0
  }
}
