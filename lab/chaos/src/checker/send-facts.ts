/** Facts about a send, derived from all its attempts. */
import type { LogicalSend } from './history.ts'

/**
 * Returns whether every attempt got a final refusal, so that nothing was stored. `conflict` does
 * not count: it means that another message has this identity.
 */
export function certainlyFailed({ attempts }: LogicalSend): boolean {
  return attempts.every(({ outcome }) => outcome?.type === 'fail' && outcome.code !== 'conflict')
}

/** Returns the seq of the message, from its row or else from an acknowledgement. */
export function seqOf({ attempts, row }: LogicalSend): number | undefined {
  return row?.seq ?? attempts.find(({ outcome }) => outcome?.seq !== undefined)?.outcome?.seq
}

/** Returns the time of the first acknowledgement. */
export function acknowledgedT({ attempts }: LogicalSend): number | undefined {
  let t: number | undefined
  for (const { outcome } of attempts) {
    if (outcome?.type === 'ok' && (t === undefined || outcome.t < t)) t = outcome.t
  }
  return t
}

/** Returns the time of the first attempt. */
export function firstInvokeT({ attempts }: LogicalSend): number {
  return attempts.reduce((t, attempt) => Math.min(t, attempt.t), Number.POSITIVE_INFINITY)
}
