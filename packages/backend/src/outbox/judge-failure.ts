/**
 * Decides what a failed post means for its row, its lane and the whole relay.
 *
 * Guarantee: a row is given up only for a reason of its own: Chorus refused it for ever, or it has
 * failed for longer than `giveUpAfterMs`. A server that is down, a key that is refused and a rate
 * limit never kill a row.
 */
import { ChorusApiError } from '../api/api-error.ts'
import { backoffMs } from '../support/delays.ts'

export const failureBounds = {
  /** Back-off of a lane whose first row fails. */
  laneFirstMs: 500,
  laneMaxMs: 60_000,
  /** Longest delay that the server may ask for. */
  retryAfterMaxMs: 600_000,
  /** Pause of the relay while the server cannot be reached. */
  unreachableFirstMs: 200,
  unreachableMaxMs: 5_000,
  /** Pause of the relay while its key is refused. */
  refusedKeyFirstMs: 1_000,
  refusedKeyMaxMs: 30_000,
  /** Pause after `rate-limited` without `Retry-After`. */
  rateLimitedMs: 1_000,
} as const

export interface FailedRow {
  /** Earlier attempts. */
  readonly attempts: number
  readonly ageMs: number
}

export type Verdict =
  /** The row can never succeed. */
  | { readonly kind: 'dead'; readonly reason: string }
  /** Only this lane waits. */
  | { readonly kind: 'lane-waits'; readonly reason: string; readonly delayMs: number }
  /** Every lane waits, because the next row would fail in the same way. */
  | {
      readonly kind: 'relay-pauses'
      readonly cause: 'unreachable' | 'refused-key' | 'rate-limited'
      readonly reason: string
      readonly delayMs: number
    }

/** `pauses`: number of pauses of the relay since its last success. */
export function judgeFailure(error: unknown, row: FailedRow, pauses: number, giveUpAfterMs: number): Verdict {
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof ChorusApiError)) return laneWaits(message, row, undefined, giveUpAfterMs)
  const { code, failure, retry, retryAfterMs } = error
  const reason = `${code}: ${message}`
  // A connection that broke during the post may be the fault of this row; one that never opened is not.
  if (failure === 'unreachable' && code === 'unavailable') {
    const delayMs = pauseMs(pauses, failureBounds.unreachableFirstMs, failureBounds.unreachableMaxMs)
    return { kind: 'relay-pauses', cause: 'unreachable', reason, delayMs }
  }
  if (failure === 'refused' && code === 'unauthenticated') {
    const delayMs = pauseMs(pauses, failureBounds.refusedKeyFirstMs, failureBounds.refusedKeyMaxMs)
    return { kind: 'relay-pauses', cause: 'refused-key', reason, delayMs }
  }
  if (code === 'rate-limited') {
    const askedMs = Math.min(retryAfterMs ?? failureBounds.rateLimitedMs, failureBounds.retryAfterMaxMs)
    const delayMs = backoffMs(0, { firstMs: askedMs, maxMs: askedMs, retryAfterMs: askedMs })
    return { kind: 'relay-pauses', cause: 'rate-limited', reason, delayMs }
  }
  // A proxy's 404 says nothing about the row.
  if (failure === 'refused' && retry === 'never') return { kind: 'dead', reason }
  return laneWaits(reason, row, retryAfterMs, giveUpAfterMs)
}

function laneWaits(reason: string, row: FailedRow, retryAfterMs: number | undefined, giveUpAfterMs: number): Verdict {
  if (row.ageMs > giveUpAfterMs)
    return { kind: 'dead', reason: `given up after ${row.attempts + 1} attempts; ${reason}` }
  const { laneFirstMs: firstMs, laneMaxMs: maxMs, retryAfterMaxMs } = failureBounds
  const askedMs = retryAfterMs === undefined ? undefined : Math.min(retryAfterMs, retryAfterMaxMs)
  return { kind: 'lane-waits', reason, delayMs: backoffMs(row.attempts, { firstMs, maxMs, retryAfterMs: askedMs }) }
}

function pauseMs(pauses: number, firstMs: number, maxMs: number): number {
  return backoffMs(pauses, { firstMs, maxMs })
}
