/** Reads the resident memory of a process, as the kernel counts it. */
import { readFileSync } from 'node:fs'

export function readResidentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  if (kilobytes === undefined) throw new Error(`unable to read the memory of ${pid}; it has ended`)
  return Number(kilobytes) * 1024
}
