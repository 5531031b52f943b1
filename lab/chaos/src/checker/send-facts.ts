/** Facts about a sent message, derived from all its attempts. */
import type { LogicalSend } from './history.ts'

/**
 * Returns whether every attempt to send the message got a final refusal, so that the message must
 * not be stored. The error `conflict` does not count: it means that another message with this
 * identity exists.
 */
export function certainlyFailed({ attempts }: LogicalSend): boolean {
  return attempts.every(({ outcome }) => outcome?.type === 'fail' && outcome.code !== 'conflict')
}

/**
 * Returns the sequence number (seq) of the message, from its row or else from an acknowledgement.
 */
export function seqOf({ attempts, row }: LogicalSend): number | undefined {
  return row?.seq ?? attempts.find(({ outcome }) => outcome?.seq !== undefined)?.outcome?.seq
}

/** Returns the time of the message's first acknowledgement. */
export function acknowledgedT({ attempts }: LogicalSend): number | undefined {
  let t: number | undefined
  for (const { outcome } of attempts) {
    if (outcome?.type === 'ok' && (t === undefined || outcome.t < t)) t = outcome.t
  }
  return t
}

/** Returns the time of the first attempt to send the message. */
export function firstInvokeT({ attempts }: LogicalSend): number {
  return attempts.reduce((t, attempt) => Math.min(t, attempt.t), Number.POSITIVE_INFINITY)
}
