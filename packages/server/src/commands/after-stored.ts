/**
 * Runs a read whose only purpose is to return a stored change in the response. A failure of that
 * read must not look like a failure of the change: the errors `unavailable` and `not-found` would
 * promise that nothing was stored (rule ACK2).
 */
import { ChorusError } from '@chorus/protocol'

/**
 * Runs the read `follow` and returns its result. Throws the error `unknown` when the read fails or
 * finds nothing, because the row may be gone by then. `what` completes the error text "unable to
 * …".
 */
export async function afterStored<T>(what: string, follow: () => Promise<T | undefined>): Promise<T> {
  let cause: unknown
  try {
    const answer = await follow()
    if (answer !== undefined) return answer
  } catch (error) {
    cause = error
  }
  throw new ChorusError('unknown', `unable to ${what} and show it; it was stored, but could not be read back`, {
    retryAfterMs: 1_000,
    cause,
  })
}
