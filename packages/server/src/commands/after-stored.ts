/**
 * What follows a change that is stored, only so that the answer can show it. Its failure must not be told as the change's
 * own: `unavailable` and `not-found` would say that certainly nothing was stored (rule ACK2).
 */
import { ChorusError } from '@chorus/protocol'

/** `what` completes "unable to …". Whatever fails, and an answer that is gone meanwhile, is `unknown`. */
export async function afterStored<T>(what: string, follow: () => Promise<T | undefined>): Promise<T> {
  let cause: unknown
  try {
    const answer = await follow()
    if (answer !== undefined) return answer
  } catch (error) {
    cause = error
  }
  throw new ChorusError('unknown', `unable to ${what} and show it; it was stored, and could not be read back`, {
    retryAfterMs: 1_000,
    cause,
  })
}
