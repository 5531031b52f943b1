/**
 * Asks once more, after a moment, what was certainly not done: the server asked first may just be leaving, and by then
 * another one answers. What may have been done is never repeated here (rule ACK2), and nothing is repeated behind a newer
 * command about the same thing: that would undo what the user did last.
 */
import { ChorusError } from '@chorus/protocol'
import type { Clock } from './clock.ts'

/** A server that wants more time than this has a problem that a user should hear of. */
export const askAgainMaxMs = 2_000

/** Commands of one client that are under way or wait for their turn. */
export const askedMax = 1_000

type Timers = Pick<Clock, 'after' | 'random'>

/** There is no repeat once `replaced` says so. */
export async function askAgain<Result>(
  ask: () => Promise<Result>,
  clock: Timers,
  replaced: Promise<boolean> = new Promise(() => undefined),
): Promise<Result> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof ChorusError) || error.code !== 'unavailable') throw error
    const { retryAfterMs = 0 } = error
    if (retryAfterMs > askAgainMaxMs) throw error
    const wait = new Promise<void>(
      (resolve) => void clock.after(Math.max(retryAfterMs, 100 + 400 * clock.random()), resolve),
    )
    if ((await Promise.race([replaced, wait])) === true) throw error
    return ask()
  }
}

/**
 * Asks what is about one thing one after the other in the order it was given, whichever link each takes. `replaces`: what
 * went before about it is not repeated any more; otherwise its repeat is waited for.
 */
type AskInOrder = <Result>(about: string, replaces: boolean, ask: () => Promise<Result>) => Promise<Result>

interface Turn {
  readonly answer: Promise<unknown>
  readonly replace: (isReplaced: boolean) => void
}

export function createAskInOrder(clock: Timers): AskInOrder {
  const newest = new Map<string, Turn>()
  let asked = 0
  return async (about, replaces, ask) => {
    if (asked >= askedMax) {
      throw new ChorusError('rate-limited', `unable to ask; ${askedMax} commands are under way already`)
    }
    asked += 1
    const before = newest.get(about)
    if (replaces) before?.replace(true)
    let replace: Turn['replace'] = () => undefined
    const replaced = new Promise<boolean>((resolve) => {
      replace = resolve
    })
    const run = () => askAgain(ask, clock, replaced)
    const answer = before === undefined ? run() : before.answer.then(run, run)
    const turn: Turn = { answer, replace }
    newest.set(about, turn)
    try {
      return await answer
    } finally {
      asked -= 1
      if (newest.get(about) === turn) newest.delete(about)
    }
  }
}
