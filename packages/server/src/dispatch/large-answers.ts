/**
 * Runs the commands whose result may be large, at most `parallelMax` of a user at a time. Others
 * wait in the order of their arrival. Guarantee: the size of a result is charged before the user's
 * next waiting command begins, so a user who sends many requests at once gets no more bytes than by
 * sending them one after another (rule LIM3).
 *
 * A user has at most as many waiting commands as the burst of the request limit, because each has
 * taken a token from it. Nothing waits when requests are not limited.
 */
import type { Id } from '@chorus/protocol'
import type { Limits } from '../auth/limits.ts'

/** Maximum number of commands of one user that run at a time. */
const parallelMax = 2

interface UserTurns {
  running: number
  readonly waiting: (() => void)[]
}

export class LargeAnswers {
  readonly #users = new Map<Id, UserTurns>()

  /**
   * Runs the command and charges its result, when it is the user's turn. Rejects with
   * `rate-limited` if earlier results used up the limit while the command was waiting.
   */
  async run<Result>(limits: Limits, user: Id, command: () => Promise<Result>): Promise<Result> {
    if (!limits.limitsRequests) return command()
    const turns = this.#users.get(user) ?? { running: 0, waiting: [] }
    this.#users.set(user, turns)
    if (turns.running < parallelMax) turns.running++
    else await new Promise<void>((begin) => turns.waiting.push(begin))
    try {
      limits.refuseDebt(user)
      return await command()
    } finally {
      this.#endTurn(user, turns)
    }
  }

  #endTurn(user: Id, turns: UserTurns): void {
    const next = turns.waiting.shift()
    if (next !== undefined) return next()
    turns.running--
    if (turns.running === 0) this.#users.delete(user)
  }
}
