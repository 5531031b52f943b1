/**
 * Delivers webhooks lane by lane. A lane holds the due deliveries of one conversation to one
 * endpoint; they are sent one after another in seq order (rule OFF1). A failed delivery blocks its
 * lane and is retried with growing delays. After the configured time it becomes a dead letter (it
 * is given up, but kept for operators), and the lane continues. Other conversations and endpoints
 * are not delayed.
 *
 * An endpoint is disabled when it responds 410, or when it has accepted no delivery for twice the
 * configured time.
 */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Job } from './queue.ts'
import type { AttemptOutcome, WebhookAttempt } from './send-webhook.ts'

export const webhookWorkerLimits = {
  /**
   * Lifetime of a worker's claim on a webhook lane (one conversation, one endpoint). It is longer
   * than one attempt, so that no other worker claims the lane during it.
   */
  claimMs: 30_000,
  /**
   * Maximum number of deliveries that one job sends from a webhook lane. After that the lane moves
   * to the end of the queue.
   */
  deliveriesPerTurn: 50,
  /**
   * Maximum number of webhook lanes of one endpoint that one server works on at a time, so that a
   * slow endpoint leaves capacity for other endpoints.
   */
  perEndpoint: 8,
  crowdedDelayMs: 500,
  firstDelayMs: 5_000,
  delayMaxMs: 4 * 3_600_000,
} as const

export interface Lane {
  readonly endpoint: string
  readonly conversation: string
}

interface Claimed extends Lane {
  readonly url: string
  readonly secrets: readonly string[]
  readonly seq: number
  readonly eventId: string
  readonly attempts: number
  readonly triedForMs: number
  readonly failingForMs: number
}

interface Settlement {
  readonly outcome: 'delivered' | 'retry' | 'dead'
  readonly status: number | null
  readonly error: string | null
  readonly delayMs: number
}

/** Database operations of the webhook worker; implemented in jobs/webhooks.ts. */
export interface WebhookRecords {
  claim(lane: Lane, claim: string, leaseMs: number): Promise<Claimed | undefined>
  settle(
    lane: Lane,
    claim: string,
    seq: number,
    settlement: Settlement,
    leaseMs: number,
  ): Promise<'more' | 'wait' | 'idle' | 'lost'>
  release(lane: Lane, claim: string): Promise<void>
  disable(endpoint: string, reason: string): Promise<boolean>
  /** Returns the change as JSON, as clients see it, or undefined if the change no longer exists. */
  readChange(conversation: string, seq: number): Promise<string | undefined>
}

export interface WebhookWorkerOptions {
  readonly records: WebhookRecords
  readonly send: (attempt: WebhookAttempt) => Promise<AttemptOutcome>
  /** Returns the database's time. */
  readonly now: () => Date
  readonly clock: Clock
  readonly logger: Logger
  /** Time after which a delivery that keeps failing becomes a dead letter. */
  readonly giveUpAfterMs: number
  readonly addJobs: (jobs: readonly Job[]) => void
  readonly observer: {
    ended(outcome: 'delivered' | 'retried' | 'dead'): void
    disabled(reason: 'gone' | 'failing'): void
  }
  /** Delay before the first retry. Tests set a short one. */
  readonly firstDelayMs?: number
}

export function keyOfLane({ endpoint, conversation }: Lane): string {
  return `${endpoint}/${conversation}`
}

/**
 * Parses the key of a webhook lane. Returns undefined if the key is invalid: keys come from Redis,
 * which is not trusted.
 */
export function laneOfKey(key: string): Lane | undefined {
  const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
  const match = new RegExp(`^(${uuid})/(${uuid})$`).exec(key)
  return match === null ? undefined : { endpoint: match[1] as string, conversation: match[2] as string }
}

/**
 * Returns the delay before the next attempt: it grows fourfold per attempt, with random jitter of
 * ±20 %.
 */
export function retryDelayMs(attempts: number, firstDelayMs: number, random = Math.random()): number {
  const delayMs = Math.min(webhookWorkerLimits.delayMaxMs, firstDelayMs * 4 ** Math.min(attempts, 20))
  return delayMs * (0.8 + 0.4 * random)
}

export class WebhookWorker {
  readonly #options: WebhookWorkerOptions
  readonly #busy = new Map<string, number>()
  readonly #stopping = new AbortController()

  constructor(options: WebhookWorkerOptions) {
    this.#options = options
  }

  /**
   * Aborts running attempts, because the server stops. Aborted attempts do not count as failures.
   */
  stop(): void {
    this.#stopping.abort()
  }

  async work(lane: Lane): Promise<void> {
    const { addJobs, clock } = this.#options
    if (this.#stopping.signal.aborted) return
    const busy = this.#busy.get(lane.endpoint) ?? 0
    if (busy >= webhookWorkerLimits.perEndpoint) {
      const delayMs = webhookWorkerLimits.crowdedDelayMs * (1 + Math.random())
      addJobs([{ kind: 'webhook', key: keyOfLane(lane), delayMs }])
      return
    }
    this.#busy.set(lane.endpoint, busy + 1)
    try {
      const claim = randomUUID()
      const endsAtMs = clock.nowMs() + webhookWorkerLimits.claimMs
      for (let count = 1; ; count++) {
        const next = await this.#deliver(lane, claim)
        if (next === 'over') return
        if (next !== 'more') {
          addJobs([{ kind: 'webhook', key: keyOfLane(lane), delayMs: next }])
          return
        }
        if (count < webhookWorkerLimits.deliveriesPerTurn && clock.nowMs() < endsAtMs) continue
        await this.#options.records.release(lane, claim)
        addJobs([{ kind: 'webhook', key: keyOfLane(lane) }])
        return
      }
    } catch (error) {
      // After an error, the claim on the lane expires, and the dispatcher adds the lane to the
      // queue again.
      this.#options.logger.warn({ err: error, ...lane }, 'unable to deliver a webhook; trying again')
    } finally {
      const left = (this.#busy.get(lane.endpoint) ?? 1) - 1
      if (left <= 0) this.#busy.delete(lane.endpoint)
      else this.#busy.set(lane.endpoint, left)
    }
  }

  /**
   * Sends the next delivery of a webhook lane. Resolves to `more` if the lane has another due
   * delivery, to `over` if this worker is done with it, or to the milliseconds until the next
   * attempt.
   */
  async #deliver(lane: Lane, claim: string): Promise<'more' | 'over' | number> {
    const { records, send, now, observer } = this.#options
    const claimed = await records.claim(lane, claim, webhookWorkerLimits.claimMs)
    if (claimed === undefined) return 'over'
    const body = await this.#bodyOf(claimed)
    const outcome: AttemptOutcome =
      body === undefined
        ? { kind: 'accepted', status: 0 }
        : await send({
            url: claimed.url,
            id: claimed.eventId,
            body,
            secrets: claimed.secrets,
            now: now(),
            signal: this.#stopping.signal,
          })
    if (outcome.kind !== 'accepted' && this.#stopping.signal.aborted) {
      await records.release(lane, claim)
      return 'over'
    }
    const settlement = this.#judge(claimed, outcome)
    const next = await records.settle(lane, claim, claimed.seq, settlement, webhookWorkerLimits.claimMs)
    observer.ended(settlement.outcome === 'retry' ? 'retried' : settlement.outcome)
    if (await this.#disableIfHopeless(claimed, outcome)) return 'over'
    switch (next) {
      case 'more':
        return 'more'
      case 'wait':
        // Wait slightly longer than the retry delay, because this server's clock differs from the
        // clock of the database, which decides what is due.
        return settlement.delayMs + 50
      case 'idle':
      case 'lost':
        return 'over'
    }
  }

  async #bodyOf({ conversation, seq }: Claimed): Promise<string | undefined> {
    const json = await this.#options.records.readChange(conversation, seq)
    if (json === undefined) return undefined
    const { type, at } = JSON.parse(json) as { type: string; at?: string }
    // Only changes of type `skip` have no time. They mark seqs that will never get a change, so
    // endpoints do not need them.
    if (at === undefined) return undefined
    // The stored JSON is reused, so the endpoint gets the same bytes as clients, and the signature
    // covers them.
    return `{"type":${JSON.stringify(type)},"timestamp":${JSON.stringify(at)},"data":{"conversation":"${conversation}","change":${json}}}`
  }

  #judge({ attempts, triedForMs, ...claimed }: Claimed, outcome: AttemptOutcome): Settlement {
    if (outcome.kind === 'accepted') return { outcome: 'delivered', status: outcome.status, error: null, delayMs: 0 }
    const error = outcome.kind === 'gone' ? 'answered 410' : outcome.reason
    const { status } = outcome
    const delayMs = retryDelayMs(attempts, this.#options.firstDelayMs ?? webhookWorkerLimits.firstDelayMs)
    const isOver = outcome.kind === 'failed' && attempts > 0 && triedForMs + delayMs > this.#options.giveUpAfterMs
    if (!isOver) return { outcome: 'retry', status, error, delayMs }
    const { endpoint, conversation, seq } = claimed
    this.#options.logger.warn({ endpoint, conversation, seq, status, error }, 'a webhook became a dead letter')
    return { outcome: 'dead', status, error, delayMs: 0 }
  }

  async #disableIfHopeless({ endpoint, failingForMs }: Claimed, outcome: AttemptOutcome): Promise<boolean> {
    if (outcome.kind === 'accepted') return false
    const { records, observer, logger, giveUpAfterMs } = this.#options
    const isFailing = failingForMs > 2 * giveUpAfterMs
    if (outcome.kind !== 'gone' && !isFailing) return false
    const kind = outcome.kind === 'gone' ? 'gone' : 'failing'
    const reason = kind === 'gone' ? 'answered 410' : `accepted nothing for ${Math.round(failingForMs / 1_000)} s`
    if (await records.disable(endpoint, reason)) {
      observer.disabled(kind)
      logger.warn({ endpoint, reason }, 'a webhook endpoint was disabled')
    }
    return true
  }
}
