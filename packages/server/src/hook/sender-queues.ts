/**
 * Keeps the order of one sender in one conversation while the hook is asked (rule HOOK2). A message
 * begins when its predecessor is queued for the log, which keeps the order from there on. Other
 * senders and conversations do not wait.
 */
import { ChorusError } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'

export const senderQueueLimits = {
  /** Maximum number of messages of one sender in one conversation, waiting or in progress. */
  queuedMax: 50,
  /** Maximum number of messages in all queues. */
  totalMax: 10_000,
  /** Maximum time that a message waits for its predecessors. */
  waitMs: 4_000,
} as const

interface Queue {
  last: Promise<void>
  length: number
}

export class SenderQueues {
  readonly #clock: Clock
  readonly #queues = new Map<string, Queue>()
  #total = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Number of messages in all queues. */
  get size(): number {
    return this.#total
  }

  /**
   * Runs `check` after the predecessors, then `store` with its result. `store` must add to the log's
   * queue before it first waits: its call ends the wait of the successor. `what` completes the error
   * text "unable to …". Rejects with `unavailable` if the queue is too long.
   */
  async run<Checked, Stored>(
    key: string,
    what: string,
    check: () => Promise<Checked>,
    store: (checked: Checked) => Promise<Stored>,
  ): Promise<Stored> {
    const queue = this.#queues.get(key) ?? { last: Promise.resolve(), length: 0 }
    if (queue.length >= senderQueueLimits.queuedMax || this.#total >= senderQueueLimits.totalMax) throw tooMany(what)
    const arrivedAtMs = this.#clock.nowMs()
    const before = queue.last
    let end = (): void => undefined
    queue.last = new Promise((resolve) => (end = resolve))
    queue.length++
    this.#total++
    this.#queues.set(key, queue)
    let storing: Promise<Stored>
    try {
      await before
      if (this.#clock.nowMs() - arrivedAtMs > senderQueueLimits.waitMs) throw tooMany(what)
      storing = store(await check())
    } finally {
      this.#total--
      if (--queue.length === 0) this.#queues.delete(key)
      end()
    }
    return storing
  }
}

function tooMany(what: string): ChorusError {
  return new ChorusError('unavailable', `unable to ${what}; too many of your messages are being checked`, {
    retryAfterMs: 1_000,
  })
}
