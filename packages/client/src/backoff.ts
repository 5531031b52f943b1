/**
 * Full-jitter back-off: each wait is a random part of a ceiling that grows, so that a thousand clients cut off together
 * do not come back together (rule LIM2). What the server asks for (`retryAfterMs`) is the least. It grows slowly at first:
 * a server that restarts is back within seconds, and people are waiting.
 */
import type { Clock } from './clock.ts'

export const backoffFirstMs = 500
export const backoffMaxMs = 30_000
export const backoffGrowth = 1.6

/** How long to wait before attempt number `attempt` (from 0). */
export function backoffDelayMs(attempt: number, clock: Pick<Clock, 'random'>, retryAfterMs = 0): number {
  const ceilingMs = Math.min(backoffMaxMs, backoffFirstMs * backoffGrowth ** Math.min(attempt, 16))
  const jitteredMs = clock.random() * ceilingMs
  // What the server asks for is jittered too, upwards: it gave the same number to everybody.
  return retryAfterMs > 0 ? retryAfterMs + clock.random() * Math.min(retryAfterMs, ceilingMs) : jitteredMs
}
