/**
 * Runs the commands whose result may be large, a bounded number of each user and API key at a time.
 * Others wait in the order of their arrival. Guarantee: the size of a result is charged before the
 * next waiting command begins, so who sends many requests at once gets no more bytes than by sending
 * them one after another (rule LIM3).
 *
 * At most as many commands wait as the burst of the request limit allows, because each has taken a
 * token from it. Nothing waits when requests are not limited.
 */
import type { CommandContext } from '../commands/command.ts'

/** Maximum number of commands that run at a time, for one user and for one API key. */
const parallelMax = { user: 2, key: 20 } as const

interface Turns {
  running: number
  readonly waiting: (() => void)[]
}

export class LargeAnswers {
  /** By the id of the user or of the API key. */
  readonly #turns = new Map<string, Turns>()

  /**
   * Runs the command and charges its result, when it is the turn of its user or key. Rejects with
   * `rate-limited` if earlier results used up the limit while the command was waiting.
   */
  async run<Result>({ parts, actor, key }: CommandContext, command: () => Promise<Result>): Promise<Result> {
    const { limits } = parts
    if (key === undefined ? !limits.limitsRequests : !limits.limitsKeyRequests) return command()
    const payer = key?.id ?? actor.userId
    const turns = this.#turns.get(payer) ?? { running: 0, waiting: [] }
    this.#turns.set(payer, turns)
    if (turns.running < parallelMax[key === undefined ? 'user' : 'key']) turns.running++
    else await new Promise<void>((begin) => turns.waiting.push(begin))
    try {
      if (key === undefined) limits.refuseDebt(actor.userId)
      else limits.refuseKeyDebt(key.id)
      return await command()
    } finally {
      this.#endTurn(payer, turns)
    }
  }

  #endTurn(payer: string, turns: Turns): void {
    const next = turns.waiting.shift()
    if (next !== undefined) return next()
    turns.running--
    if (turns.running === 0) this.#turns.delete(payer)
  }
}
