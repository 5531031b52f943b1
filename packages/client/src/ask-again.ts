/**
 * Asks once more, after a moment, what was certainly not done: the server asked first may just be leaving, and by then
 * another one answers. What may have been done is never repeated here (rule ACK2).
 */
import { ChorusError } from '@chorus/protocol'
import type { Clock } from './clock.ts'

/** A server that wants more time than this has a problem that a user should hear of. */
export const askAgainMaxMs = 2_000

export async function askAgain<Result>(
  ask: () => Promise<Result>,
  clock: Pick<Clock, 'after' | 'random'>,
  signal?: AbortSignal,
): Promise<Result> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof ChorusError) || error.code !== 'unavailable' || signal?.aborted === true) throw error
    const { retryAfterMs = 0 } = error
    if (retryAfterMs > askAgainMaxMs) throw error
    await new Promise<void>((resolve) => void clock.after(Math.max(retryAfterMs, 100 + 400 * clock.random()), resolve))
    return ask()
  }
}
