/**
 * Returns the current time for the events of a history. On Linux, all processes of a machine read
 * the same CLOCK_MONOTONIC, so times of different processes are comparable. Microseconds in a
 * double stay exact for 285 years of uptime.
 */
import type { Micros } from './events.ts'

export function nowMicros(): Micros {
  return Number(process.hrtime.bigint() / 1000n)
}
