/**
 * The pre-send hook: asks the integrator's back end whether a message may be stored (rules HOOK1 to
 * HOOK3). Used only if `PRE_SEND_HOOK_URL` is set.
 *
 * Guarantees: at most {@link slotLimits} questions at once, each for at most a second; nothing is
 * asked while the hook does not answer (circuit breaker); no database connection or lock is held
 * while it waits. If the hook fails, `PRE_SEND_HOOK_FAILURE` decides. If this server has too many
 * questions, the message is refused as `unavailable` under both settings: otherwise a flood of
 * messages would let unchecked ones through.
 */
import { randomUUID } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { ChorusError, type HookQuestion, type Id, signWebhook } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Metrics } from '../support/metrics.ts'
import { CircuitBreaker } from './circuit-breaker.ts'
import { exchange, HookFailure } from './exchange.ts'
import { QuestionSlots, slotLimits } from './question-slots.ts'
import { readAnswer, type Verdict } from './read-answer.ts'
import { SenderQueues } from './sender-queues.ts'

/** Minimum time between two log lines about failures. */
const reportIntervalMs = 5_000

export interface PreSendHookOptions {
  readonly url: string
  readonly secret: string
  /** Decision about a message that the hook could not be asked about. */
  readonly failure: 'open' | 'closed'
  readonly clock: Clock
  /** Returns the time by the database's clock. It becomes the signed timestamp. */
  readonly now: () => Date
  readonly logger: Pick<Logger, 'info' | 'warn'>
  readonly metrics: Metrics
  readonly timeoutMs?: number
}

/** Verdict that lets the message be stored. */
export type Permission = Extract<Verdict, { readonly action: 'allow' | 'replace' }>

export class PreSendHook {
  readonly queues: SenderQueues
  readonly #options: PreSendHookOptions
  readonly #url: URL
  readonly #agent: HttpAgent
  readonly #slots: QuestionSlots
  readonly #breaker: CircuitBreaker
  #reportedAtMs = Number.NEGATIVE_INFINITY
  /** Sends in progress, by the key of their request. */
  readonly #running = new Map<string, Promise<unknown>>()

  constructor(options: PreSendHookOptions) {
    const { clock, logger } = options
    this.#options = options
    this.#url = new URL(options.url)
    const agentOptions = { keepAlive: true, maxSockets: slotLimits.concurrentMax, timeout: 30_000 }
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions)
    this.queues = new SenderQueues(clock)
    this.#slots = new QuestionSlots(clock)
    this.#breaker = new CircuitBreaker({
      clock,
      onChange: (state) =>
        state === 'open'
          ? logger.warn({ failure: options.failure }, 'the pre-send hook does not answer; asking it rarely')
          : logger.info('the pre-send hook answers; asking it about every message'),
    })
  }

  /**
   * Runs a send. If another one with the same key is in progress, returns its result instead, so
   * that both share one question (rule HOOK3).
   */
  async share<Result extends { readonly duplicate?: true }>(key: string, run: () => Promise<Result>): Promise<Result> {
    const first = this.#running.get(key) as Promise<Result> | undefined
    if (first !== undefined) return { ...(await first), duplicate: true }
    const running = run().finally(() => this.#running.delete(key))
    this.#running.set(key, running)
    return running
  }

  /**
   * Asks the hook. `what` completes the error text "unable to …". Rejects with `forbidden` if the
   * hook refuses, and with `unavailable` if the message may not be stored unchecked.
   */
  async ask(question: HookQuestion, what: string): Promise<Permission> {
    const verdict = await this.#askWithinLimits(question, what)
    switch (verdict.action) {
      case 'allow':
      case 'replace':
        return verdict
      case 'refuse':
        throw new ChorusError('forbidden', verdict.reason ?? `unable to ${what}; its content is not allowed here`)
      case 'bad-replacement':
        throw refuseReplacement(what)
    }
  }

  stop(): void {
    this.#agent.destroy()
  }

  async #askWithinLimits(question: HookQuestion, what: string): Promise<Verdict> {
    if (this.#breaker.closedForMs > 0) return this.#withoutAnswer('skipped', what)
    if (!(await this.#slots.take())) {
      this.#count('overloaded')
      throw new ChorusError('unavailable', `unable to ${what}; too many messages are being checked`, {
        retryAfterMs: 1_000,
      })
    }
    try {
      if (!this.#breaker.admit()) return this.#withoutAnswer('skipped', what)
      return await this.#exchange(question, what)
    } finally {
      this.#slots.release()
    }
  }

  async #exchange(question: HookQuestion, what: string): Promise<Verdict> {
    const { secret, clock, now, metrics, timeoutMs } = this.#options
    const startedAtMs = clock.nowMs()
    let verdict: Verdict
    try {
      const body = JSON.stringify(question)
      const headers = await signWebhook({ id: `hook_${randomUUID()}`, timestamp: now(), body, secrets: [secret] })
      const text = await exchange({
        url: this.#url,
        body,
        headers,
        agent: this.#agent,
        ...(timeoutMs !== undefined && { timeoutMs }),
      })
      verdict = readAnswer(text)
    } catch (error) {
      if (error instanceof HookFailure && error.kind === 'unusable') this.#breaker.succeed()
      else this.#breaker.fail()
      this.#report(error, question.conversation)
      return this.#withoutAnswer('failed', what)
    } finally {
      metrics.hookSeconds.observe((clock.nowMs() - startedAtMs) / 1_000)
    }
    this.#breaker.succeed()
    this.#count(outcomes[verdict.action])
    if (verdict.action === 'bad-replacement')
      this.#report(new HookFailure('unusable', 'the replacement is not valid'), question.conversation)
    return verdict
  }

  /** Logs a failure, but not each failure of a hook that fails for every message. */
  #report(error: unknown, conversation: Id): void {
    const nowMs = this.#options.clock.nowMs()
    if (nowMs - this.#reportedAtMs < reportIntervalMs) return
    this.#reportedAtMs = nowMs
    this.#options.logger.warn({ err: error, conversation }, 'the pre-send hook gave no usable answer')
  }

  /** Decides about a message that was not checked. */
  #withoutAnswer(outcome: 'failed' | 'skipped', what: string): Verdict {
    this.#count(outcome)
    if (this.#options.failure === 'open') {
      this.#options.metrics.hookUnchecked.inc()
      return { action: 'allow' }
    }
    throw new ChorusError('unavailable', `unable to ${what}; it cannot be checked right now`, {
      retryAfterMs: Math.max(1_000, this.#breaker.closedForMs),
    })
  }

  #count(outcome: string): void {
    this.#options.metrics.hookQuestions.inc({ outcome })
  }
}

const outcomes: { readonly [Action in Verdict['action']]: string } = {
  allow: 'allowed',
  replace: 'replaced',
  refuse: 'refused',
  'bad-replacement': 'bad-replacement',
}

/** Returns the error for a message whose replacement cannot be stored. */
export function refuseReplacement(what: string): ChorusError {
  return new ChorusError('forbidden', `unable to ${what}; it must be changed, and the change is not valid`)
}
