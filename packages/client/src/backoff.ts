/**
 * Full-jitter back-off: each wait is a random part of a ceiling that doubles, so that a thousand clients cut off together
 * do not come back together (rule LIM2). What the server asks for (`retryAfterMs`) is the least.
 */
import type { Clock } from './clock.ts'

export const backoffFirstMs = 500
export const backoffMaxMs = 30_000

/** How long to wait before attempt number `attempt` (from 0). */
export function backoffDelayMs(attempt: number, clock: Pick<Clock, 'random'>, retryAfterMs = 0): number {
  const ceilingMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(attempt, 16))
  const jitteredMs = clock.random() * ceilingMs
  // What the server asks for is jittered too, upwards: it gave the same number to everybody.
  return retryAfterMs > 0 ? retryAfterMs + clock.random() * Math.min(retryAfterMs, ceilingMs) : jitteredMs
}
