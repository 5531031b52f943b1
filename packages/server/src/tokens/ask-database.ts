/**
 * Asks the database for the check of a token, within a time limit. Every failure becomes
 * `unavailable`, because the request itself has not begun.
 */
import { ChorusError } from '@chorus/protocol'
import { DatabaseError } from '../database/database-errors.ts'
import type { Clock, Timer } from '../support/clock.ts'

/** Maximum time of one question, waiting and a second attempt included. */
export const askMaxMs = 1_500

export function unavailable(reason: string, cause?: unknown): ChorusError {
  return new ChorusError('unavailable', `unable to check the token; ${reason}`, { retryAfterMs: 1_000, cause })
}

/**
 * Runs a statement that may run twice: it is repeated once after a conflict or a lost connection.
 */
export async function askDatabase<T>(clock: Clock, ask: () => Promise<T>): Promise<T> {
  let timer: Timer | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = clock.setTimer(() => reject(unavailable('the database does not answer')), askMaxMs)
  })
  try {
    return await Promise.race([repeatOnce(ask), late])
  } catch (error) {
    if (error instanceof DatabaseError) throw unavailable('the database does not answer', error)
    throw error
  } finally {
    timer?.cancel()
  }
}

async function repeatOnce<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof DatabaseError && (error.kind === 'retryable' || error.kind === 'lost')) return ask()
    throw error
  }
}
