/**
 * Retries requests once, after a short delay, when they were certainly not executed: the server may
 * be shutting down, and after the delay another server answers.
 *
 * Guarantee: a request that may have been executed is never retried here (rule ACK2). A request is
 * also not retried after a newer command for the same path, because the retry would undo the user's
 * last action.
 */
import { ChorusError } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'

/**
 * Maximum delay that a server can ask for before the retry. If it asks for a longer delay, the
 * caller gets the error.
 */
export const retryOnceMaxMs = 2_000

/** Maximum number of commands of one client that are in flight or waiting. */
export const requestsMax = 1_000

type Timers = Pick<Clock, 'after' | 'random'>

/**
 * Sends a request and retries it once if it failed with `unavailable`. Does not retry if `replaced`
 * resolves to true during the delay.
 */
export async function retryOnce<Result>(
  send: () => Promise<Result>,
  clock: Timers,
  replaced: Promise<boolean> = new Promise(() => undefined),
): Promise<Result> {
  try {
    return await send()
  } catch (error) {
    if (!(error instanceof ChorusError) || error.code !== 'unavailable') throw error
    const { retryAfterMs = 0 } = error
    if (retryAfterMs > retryOnceMaxMs) throw error
    const wait = new Promise<void>(
      (resolve) => void clock.after(Math.max(retryAfterMs, 100 + 400 * clock.random()), resolve),
    )
    if ((await Promise.race([replaced, wait])) === true) throw error
    return send()
  }
}

/**
 * Sends requests with the same key `about` one after another, in call order, over HTTP or the live
 * connection. With `replaces`, a new request cancels the retry of the previous request with that
 * key. Without it, the new request waits until that retry has ended.
 */
type RequestQueue = <Result>(about: string, replaces: boolean, send: () => Promise<Result>) => Promise<Result>

interface Turn {
  readonly answer: Promise<unknown>
  readonly replace: (isReplaced: boolean) => void
}

export function createRequestQueue(clock: Timers): RequestQueue {
  const newest = new Map<string, Turn>()
  let inProgress = 0
  return async (about, replaces, send) => {
    if (inProgress >= requestsMax) {
      throw new ChorusError('rate-limited', `unable to send request; ${requestsMax} requests are already in progress`)
    }
    inProgress += 1
    const before = newest.get(about)
    if (replaces) before?.replace(true)
    let replace: Turn['replace'] = () => undefined
    const replaced = new Promise<boolean>((resolve) => {
      replace = resolve
    })
    const run = () => retryOnce(send, clock, replaced)
    const answer = before === undefined ? run() : before.answer.then(run, run)
    const turn: Turn = { answer, replace }
    newest.set(about, turn)
    try {
      return await answer
    } finally {
      inProgress -= 1
      if (newest.get(about) === turn) newest.delete(about)
    }
  }
}
