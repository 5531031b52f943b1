/**
 * The outbox of a simulated client that does not use the Chorus client library. It sends one
 * message at a time per conversation, and retries with the same clientId until the server accepts
 * it or refuses it finally. Every attempt is a separate operation in the history, so a retry hides
 * no response from the checker.
 */
import { randomUUID } from 'node:crypto'
import { hashText } from '../history/index.ts'
import type { Outcome, Recorder } from './recorder.ts'

/** Maximum number of messages that wait in one outbox. */
const waitingMax = 40
const retryMinMs = 150
const retryMaxMs = 900

export interface RawOutboxOptions {
  readonly recorder: Recorder
  readonly process: string
  readonly user: string
  /** Number of characters added to each message text. */
  readonly padChars: number
  readonly attempt: (message: OutgoingMessage) => Promise<Outcome>
}

export interface OutgoingMessage {
  readonly conversation: string
  readonly clientId: string
  readonly text: string
}

export class RawOutbox {
  readonly #options: RawOutboxOptions
  readonly #queues = new Map<string, OutgoingMessage[]>()
  #waitingCount = 0
  #isStopped = false

  constructor(options: RawOutboxOptions) {
    this.#options = options
  }

  get waitingCount(): number {
    return this.#waitingCount
  }

  add(conversation: string): boolean {
    if (this.#isStopped || this.#waitingCount >= waitingMax) return false
    const clientId = randomUUID()
    const message = { conversation, clientId, text: makeText(clientId) + 'x'.repeat(this.#options.padChars) }
    this.#waitingCount += 1
    const queue = this.#queues.get(conversation)
    if (queue === undefined) {
      const fresh = [message]
      this.#queues.set(conversation, fresh)
      void this.#drain(conversation, fresh)
    } else queue.push(message)
    return true
  }

  stop(): void {
    this.#isStopped = true
  }

  async #drain(conversation: string, queue: OutgoingMessage[]): Promise<void> {
    for (let head = queue[0]; head !== undefined && !this.#isStopped; head = queue[0]) {
      await this.#settle(head)
      queue.shift()
      this.#waitingCount -= 1
    }
    this.#queues.delete(conversation)
  }

  async #settle(message: OutgoingMessage): Promise<void> {
    const { recorder, process, user, attempt } = this.#options
    while (!this.#isStopped) {
      const { conversation, clientId, text } = message
      const id = recorder.invoke({
        op: 'send',
        process,
        user,
        conversation,
        clientId,
        hash: hashText(text),
        order: 'outbox',
      })
      const outcome = await attempt(message)
      recorder.settle('send', id, outcome)
      if (outcome.type === 'ok' || (outcome.type === 'fail' && outcome.isFinal)) return
      const askedMs = outcome.type === 'fail' ? (outcome.retryAfterMs ?? 0) : 0
      const delayMs = Math.max(askedMs, retryMinMs + Math.random() * (retryMaxMs - retryMinMs))
      await new Promise((resolve) => setTimeout(resolve, delayMs))
    }
  }
}

/** Returns a unique text of varying length, with characters of one to four bytes. */
export function makeText(token: string): string {
  const length = Number.parseInt(token.slice(0, 2), 16)
  return `${token} ${'é漢😀x '.repeat(length % 24)}`
}
