/** What the attempts at one message say together. */
import type { LogicalSend } from './history.ts'

/**
 * Was the sender told for certain, at every attempt, that nothing was stored? `conflict` does not count: it says that
 * another message has this identity.
 */
export function certainlyFailed({ attempts }: LogicalSend): boolean {
  return attempts.every(({ outcome }) => outcome?.type === 'fail' && outcome.code !== 'conflict')
}

/** The seq under which it is known: by its row, else by an acknowledgement. */
export function seqOf({ attempts, row }: LogicalSend): number | undefined {
  return row?.seq ?? attempts.find(({ outcome }) => outcome?.seq !== undefined)?.outcome?.seq
}

/** When its first acknowledgement came. */
export function acknowledgedT({ attempts }: LogicalSend): number | undefined {
  let t: number | undefined
  for (const { outcome } of attempts) {
    if (outcome?.type === 'ok' && (t === undefined || outcome.t < t)) t = outcome.t
  }
  return t
}

/** When its first attempt began. */
export function firstInvokeT({ attempts }: LogicalSend): number {
  return attempts.reduce((t, attempt) => Math.min(t, attempt.t), Number.POSITIVE_INFINITY)
}
