/**
 * Back-off with full jitter: the delay before each retry is a random part of a ceiling that grows
 * with each attempt.
 *
 * Guarantee: a thousand clients that lose their connections together do not reconnect together
 * (rule LIM2). The delay is never shorter than the server asks for (`retryAfterMs`). The ceiling
 * grows slowly at first, because a restarting server is back within seconds and users are waiting.
 */
import type { Clock } from './clock.ts'

export const backoffFirstMs = 500
export const backoffMaxMs = 30_000
export const backoffGrowth = 1.6

/** Returns the delay before attempt number `attempt` (the first is 0), in milliseconds. */
export function backoffDelayMs(attempt: number, clock: Pick<Clock, 'random'>, retryAfterMs = 0): number {
  const ceilingMs = Math.min(backoffMaxMs, backoffFirstMs * backoffGrowth ** Math.min(attempt, 16))
  const jitteredMs = clock.random() * ceilingMs
  // Add a random time to the server's delay, because the server sends the same delay to every
  // client.
  return retryAfterMs > 0 ? retryAfterMs + clock.random() * Math.min(retryAfterMs, ceilingMs) : jitteredMs
}
