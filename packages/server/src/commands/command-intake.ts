/**
 * The door in front of the command table, on every transport: weighs what a command costs (rule LIM3), counts the commands
 * under way and can be closed, so that a server that stops ends with nobody left waiting for an answer. What comes after is
 * told that it was certainly not done.
 */
import { ChorusError, type CommandInput, type CommandName, type CommandResult } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import type { CommandContext, CommandHandler, CommandTable } from './command.ts'
import { chargeAnswer, isWeighed, takeWeight } from './weigh-command.ts'

export class CommandIntake {
  /** The same commands, behind the door. */
  readonly table: CommandTable
  readonly #clock: Clock
  readonly #whenIdle: (() => void)[] = []
  #isClosed = false
  #underWay = 0
  #begun = 0
  #lastAtMs = Number.NEGATIVE_INFINITY

  constructor(table: CommandTable, clock: Clock) {
    this.#clock = clock
    this.table = Object.fromEntries(
      Object.entries(table).map(([name, handler]) => [
        name,
        this.#guard(name as CommandName, handler as CommandHandler<CommandName>),
      ]),
    ) as unknown as CommandTable
  }

  get underWay(): number {
    return this.#underWay
  }

  /** Commands since the start. */
  get begun(): number {
    return this.#begun
  }

  /** How long nobody has asked for anything. */
  get quietForMs(): number {
    return this.#clock.nowMs() - this.#lastAtMs
  }

  close(): void {
    this.#isClosed = true
  }

  /** Resolves when every command has ended and its answer was handed to the wire, or after `atMostMs`. */
  async whenIdle(atMostMs: number): Promise<void> {
    if (this.#underWay > 0) {
      let timer: Timer | undefined
      await new Promise<void>((resolve) => {
        this.#whenIdle.push(resolve)
        timer = this.#clock.setTimer(resolve, atMostMs)
      })
      timer?.cancel()
    }
    // Answers are written by whoever asked, when the handler's promise has resolved.
    await new Promise((resolve) => setImmediate(resolve))
  }

  #guard(name: CommandName, handler: CommandHandler<CommandName>): CommandHandler<CommandName> {
    const weighs = isWeighed(name)
    // Not async: a handler begins in the turn in which its command came (ORD2).
    return (context, input) => {
      if (this.#isClosed) {
        const refusal = new ChorusError('unavailable', 'unable to answer; the server is stopping', {
          retryAfterMs: 1_000,
        })
        return Promise.reject(refusal)
      }
      this.#underWay++
      this.#begun++
      this.#lastAtMs = this.#clock.nowMs()
      const { connection } = context
      connection?.commandBegan(this.#lastAtMs)
      const answer = weighs ? this.#weigh(name, handler, context, input) : handler(context, input)
      const end = (): void => {
        connection?.commandEnded()
        this.#end()
      }
      // Ends before whoever waits for the answer goes on.
      answer.then(end, end)
      return answer
    }
  }

  /** The handler still begins in the turn in which its command came. */
  async #weigh(
    name: CommandName,
    handler: CommandHandler<CommandName>,
    context: CommandContext,
    input: CommandInput<CommandName>,
  ): Promise<CommandResult<CommandName>> {
    takeWeight(name, context, input)
    const result = await handler(context, input)
    chargeAnswer(name, context, result)
    return result
  }

  #end(): void {
    this.#underWay--
    if (this.#underWay > 0) return
    for (const resolve of this.#whenIdle.splice(0)) resolve()
  }
}
