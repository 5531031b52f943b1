/**
 * The one clock of a history. On Linux every process reads the same CLOCK_MONOTONIC, so times of several driver
 * processes can be compared; a number of microseconds stays exact for 285 years of uptime.
 */
import type { Micros } from './events.ts'

export function nowMicros(): Micros {
  return Number(process.hrtime.bigint() / 1000n)
}
