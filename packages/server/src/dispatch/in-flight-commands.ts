/**
 * Wraps the handlers of all commands, on every transport. Takes the cost of each command from the
 * user's rate limits (rule LIM3), and counts the commands in flight. It can be closed, so that a
 * stopping server answers every command in flight before it ends. Commands that arrive after
 * closing are refused, with an error which guarantees that they were not run.
 */
import { ChorusError, type CommandInput, type CommandName, type CommandResult } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import type {
  Command,
  CommandContext,
  CommandCost,
  CommandHandler,
  CommandHandlers,
  CommandTable,
} from '../commands/command.ts'
import { LargeAnswers } from './large-answers.ts'
import { chargeAnswer, isWeighed, takeWeight } from './weigh-command.ts'

export class InFlightCommands {
  /**
   * The handlers of all commands, each wrapped so that its cost is taken and it counts as in
   * flight.
   */
  readonly handlers: CommandHandlers
  readonly #clock: Clock
  readonly #largeAnswers = new LargeAnswers()
  readonly #whenIdle: (() => void)[] = []
  #isClosed = false
  #underWay = 0
  #begun = 0
  #lastAtMs = Number.NEGATIVE_INFINITY

  constructor(table: CommandTable, clock: Clock) {
    this.#clock = clock
    this.handlers = Object.fromEntries(
      Object.entries(table).map(([name, command]) => [name, this.#guard(command as Command<CommandName>)]),
    ) as unknown as CommandHandlers
  }

  get underWay(): number {
    return this.#underWay
  }

  /** Number of commands that have begun since the start of the server. */
  get begun(): number {
    return this.#begun
  }

  /** Time since the last command began. */
  get quietForMs(): number {
    return this.#clock.nowMs() - this.#lastAtMs
  }

  close(): void {
    this.#isClosed = true
  }

  /**
   * Resolves when every command has ended and its response was handed to the transport, or after
   * `atMostMs`.
   */
  async whenIdle(atMostMs: number): Promise<void> {
    if (this.#underWay > 0) {
      let timer: Timer | undefined
      await new Promise<void>((resolve) => {
        this.#whenIdle.push(resolve)
        timer = this.#clock.setTimer(resolve, atMostMs)
      })
      timer?.cancel()
    }
    // The transport writes the response after the handler's promise has resolved, so wait one more
    // turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve))
  }

  #guard({ cost, run }: Command<CommandName>): CommandHandler<CommandName> {
    const weighs = isWeighed(cost)
    // Not async: a handler must begin in the turn of the event loop in which its command arrived
    // (ORD2).
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
      const answer = weighs ? this.#weigh(cost, run, context, input) : run(context, input)
      const end = (): void => {
        connection?.commandEnded()
        this.#end()
      }
      // Registered before the caller's own listeners, so the counters drop before the caller
      // continues.
      answer.then(end, end)
      return answer
    }
  }

  /**
   * Runs the handler and takes the cost of the command. The handler still begins in the turn of the
   * event loop in which its command arrived, unless its result may be large and others of the user
   * are being built.
   */
  async #weigh(
    cost: CommandCost<CommandName>,
    run: CommandHandler<CommandName>,
    context: CommandContext,
    input: CommandInput<CommandName>,
  ): Promise<CommandResult<CommandName>> {
    takeWeight(cost, context, input)
    if (cost.answer === undefined) return run(context, input)
    return this.#largeAnswers.run(context, async () => {
      const result = await run(context, input)
      chargeAnswer(cost, context, result)
      return result
    })
  }

  #end(): void {
    this.#underWay--
    if (this.#underWay > 0) return
    for (const resolve of this.#whenIdle.splice(0)) resolve()
  }
}
