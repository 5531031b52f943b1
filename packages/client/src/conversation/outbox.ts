/**
 * Queue of messages to send.
 *
 * Guarantee: a message is stored on the device before it is sent, with an id by which the server
 * recognizes a retry (rule IDEM1). It stays in the outbox until the server's log contains it. A
 * message that the server refuses permanently (ACK2) stays as failed, until the user retries or
 * discards it. Each conversation has at most one unacknowledged message in flight, so messages of
 * one sender keep their order (ORD2). Different conversations send in parallel.
 */
import { ChorusError, limits } from '@chorus/protocol'
import type { Acknowledgement, MessageDraft, OutboxItem, SentMessage } from '../model/api-messages.ts'
import { backoffDelayMs, backoffMaxMs } from '../support/backoff.ts'
import { createClientId } from '../support/client-id.ts'
import type { Clock } from '../support/clock.ts'
import { type Cell, createCell, type Observable } from '../support/observable.ts'
import { createSerialQueue } from '../support/serial-queue.ts'
import type { ChatStore, OutboxRecord } from '../model/store.ts'

/** Maximum number of messages in the outbox of one device. */
export const outboxMaxMessages = 1_000
/** Maximum number of conversations that send at the same time. */
export const outboxMaxParallel = 8

export interface OutboxOptions {
  readonly store: ChatStore
  /** Id of the signed-in user. */
  readonly me: string
  readonly clock: Clock
  /** Sends a message to the server. Rejects with a `ChorusError`. */
  readonly send: (record: OutboxRecord) => Promise<Acknowledgement>
  /** Returns whether a connection is open, so that messages can be sent. */
  readonly isConnected: () => boolean
  /**
   * Returns the seq up to which the local copy of a conversation is complete, or undefined without
   * a local copy.
   */
  readonly appliedSeqOf: (conversation: string) => number | undefined
  readonly onError: (error: unknown) => void
}

interface Waiter {
  readonly resolve: (acknowledgement: Acknowledgement) => void
  readonly reject: (error: ChorusError) => void
}

interface Entry {
  readonly record: OutboxRecord
  readonly item: OutboxItem
  /** True once the message is in the store. Only then may it be sent. */
  readonly isStored: boolean
}

interface Pause {
  /**
   * True when the server asked for the delay (`rate-limited`). A reconnect does not end such a
   * pause.
   */
  readonly isRequested: boolean
  readonly cancel: () => void
}

export class Outbox {
  readonly #options: OutboxOptions
  /** Messages by clientId, in the order in which they were written. */
  #entries = new Map<string, Entry>()
  readonly #items: Cell<readonly OutboxItem[]>
  readonly #waiters = new Map<string, Waiter>()
  readonly #draining = new Set<string>()
  readonly #pauses = new Map<string, Pause>()
  readonly #channel: BroadcastChannel | undefined
  #lastOrder = 0
  #isStopped = false
  /**
   * Runs the calls to the store one after another, so that messages are stored in the order in
   * which they were written.
   */
  readonly #inOrder = createSerialQueue()

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#items = createCell<readonly OutboxItem[]>([], { onError: options.onError })
    if (options.store.isShared && typeof BroadcastChannel !== 'undefined') {
      this.#channel = new BroadcastChannel(`chorus-outbox-${options.me}`)
      this.#channel.onmessage = () => {
        if (!this.#isStopped) this.#refresh().then(() => this.#drainAll(), options.onError)
      }
    }
  }

  get items(): Observable<readonly OutboxItem[]> {
    return this.#items
  }

  /** Loads the messages that were waiting when the application last ended. */
  async load(): Promise<void> {
    await this.#refresh()
    // Remove acknowledged messages that the log already contains. The program may have ended before
    // it could remove them.
    for (const { record } of [...this.#entries.values()]) {
      const appliedSeq = this.#options.appliedSeqOf(record.conversation)
      if (appliedSeq !== undefined) this.settleUpTo(record.conversation, appliedSeq)
    }
    this.#drainAll()
  }

  stop(): void {
    this.#isStopped = true
    this.#channel?.close()
    for (const { cancel } of this.#pauses.values()) cancel()
    this.#pauses.clear()
  }

  /**
   * Continues sending after a reconnect, except in conversations where the server asked for a
   * delay.
   */
  resume(): void {
    for (const [conversation, pause] of [...this.#pauses]) {
      if (pause.isRequested) continue
      pause.cancel()
      this.#pauses.delete(conversation)
    }
    this.#drainAll()
  }

  /** Shows the message, stores it, and sends it after the earlier messages of the conversation. */
  async add(conversation: string, draft: MessageDraft): Promise<SentMessage> {
    assertDraft(draft)
    if (this.#isStopped) throw new ChorusError('unauthenticated', 'unable to send message; no user is signed in')
    if (this.#entries.size >= outboxMaxMessages) {
      throw new ChorusError('too-large', `unable to send message; ${outboxMaxMessages} messages are already waiting`)
    }
    const record: OutboxRecord = {
      clientId: createClientId(),
      conversation,
      order: this.#nextOrder(),
      draft: { ...draft },
      createdAt: new Date(this.#options.clock.wallNow()).toISOString(),
      status: { state: 'pending', attempts: 0 },
    }
    const acknowledged = new Promise<Acknowledgement>((resolve, reject) => {
      this.#waiters.set(record.clientId, { resolve, reject })
    })
    // Prevents an unhandled rejection when the caller ignores `acknowledged`. Callers that await it
    // still get the error.
    acknowledged.catch(() => undefined)
    this.#set(record, false)
    try {
      await this.#store(record)
    } catch (error) {
      this.#entries.delete(record.clientId)
      this.#waiters.delete(record.clientId)
      this.#publish()
      throw new ChorusError('unavailable', 'unable to send message; it could not be stored on this device', {
        cause: error,
      })
    }
    this.#drain(conversation)
    return { clientId: record.clientId, acknowledged }
  }

  /** Queues a failed message again, behind the messages written since. */
  async retry(clientId: string): Promise<void> {
    const entry = this.#entries.get(clientId)
    if (entry?.record.status.state !== 'failed') {
      throw new ChorusError('not-found', 'unable to retry message; no failed message has this id')
    }
    const isTaken = entry.record.status.error.code === 'conflict'
    const record: OutboxRecord = {
      ...entry.record,
      // `conflict` means that the clientId already belongs to another message, so the retry gets a
      // new one.
      clientId: isTaken ? createClientId() : clientId,
      order: this.#nextOrder(),
      status: { state: 'pending', attempts: 0 },
    }
    this.#entries.delete(clientId)
    this.#set(record, false)
    await this.#store(record)
    if (isTaken) await this.#options.store.removeOutbox(this.#options.me, [clientId])
    this.#drain(record.conversation)
  }

  /** Deletes a message that failed or was never attempted. */
  async discard(clientId: string): Promise<void> {
    const entry = this.#entries.get(clientId)
    if (entry === undefined) return
    const { status, conversation } = entry.record
    const isUntried =
      status.state === 'pending' && status.attempts === 0 && !this.#isHeadInFlight(conversation, clientId)
    if (status.state !== 'failed' && !isUntried) {
      throw new ChorusError('conflict', 'unable to discard message; it may have been sent already')
    }
    if (isUntried) await this.#discardLocked(conversation, clientId)
    else await this.#remove([clientId])
    this.#settleWaiter(clientId, new ChorusError('not-found', 'unable to send message; it was discarded'))
  }

  /**
   * Marks a message as acknowledged and removes it from the outbox. Called when the log contains
   * the message, even if the response to its request is missing.
   */
  settle(clientId: string, acknowledgement: Acknowledgement): void {
    this.#settleWaiter(clientId, acknowledgement)
    if (this.#entries.has(clientId)) this.#remove([clientId]).catch(this.#options.onError)
  }

  /** Removes acknowledged messages that the local copy of the conversation now contains. */
  settleUpTo(conversation: string, appliedSeq: number): void {
    const covered = [...this.#entries.values()].filter(
      ({ record }) =>
        record.conversation === conversation &&
        record.status.state === 'acknowledged' &&
        record.status.seq <= appliedSeq,
    )
    if (covered.length > 0) this.#remove(covered.map(({ record }) => record.clientId)).catch(this.#options.onError)
  }

  /**
   * Removes a message that was never attempted. Refuses when another tab holds the lock of the
   * conversation, because that tab may be sending the message.
   */
  async #discardLocked(conversation: string, clientId: string): Promise<void> {
    const locks = this.#locks()
    if (locks === undefined || this.#draining.has(conversation)) return this.#remove([clientId])
    await locks.request(this.#lockOf(conversation), { ifAvailable: true }, async (lock) => {
      if (lock === null) {
        throw new ChorusError('conflict', 'unable to discard message; it may have been sent already')
      }
      await this.#remove([clientId])
    })
  }

  /**
   * Returns the Web Locks that coordinate the tabs of one store. Returns undefined when the store
   * is not shared, and in Node and on pages without TLS, which have no Web Locks.
   */
  #locks(): LockManager | undefined {
    return this.#options.store.isShared && typeof navigator !== 'undefined' ? navigator.locks : undefined
  }

  #lockOf(conversation: string): string {
    return `chorus-outbox-${this.#options.me}-${conversation}`
  }

  #nextOrder(): number {
    this.#lastOrder = Math.max(this.#lastOrder + 1, this.#options.clock.wallNow())
    return this.#lastOrder
  }

  #isHeadInFlight(conversation: string, clientId: string): boolean {
    return this.#draining.has(conversation) && this.#head(conversation)?.record.clientId === clientId
  }

  #head(conversation: string): Entry | undefined {
    for (const entry of this.#entries.values()) {
      if (entry.record.conversation === conversation && entry.record.status.state === 'pending') return entry
    }
    return undefined
  }

  #set(record: OutboxRecord, isStored: boolean): void {
    this.#entries.set(record.clientId, toEntry(record, isStored))
    this.#publish()
  }

  #publish(): void {
    this.#items.set([...this.#entries.values()].map(({ item }) => item))
  }

  async #store(record: OutboxRecord): Promise<void> {
    await this.#inOrder(() => this.#options.store.putOutbox(this.#options.me, record))
    const entry = this.#entries.get(record.clientId)
    if (entry?.record === record) this.#entries.set(record.clientId, { ...entry, isStored: true })
    this.#channel?.postMessage('changed')
  }

  async #remove(clientIds: readonly string[]): Promise<void> {
    for (const clientId of clientIds) this.#entries.delete(clientId)
    this.#publish()
    await this.#inOrder(() => this.#options.store.removeOutbox(this.#options.me, clientIds))
    this.#channel?.postMessage('changed')
  }

  /**
   * Loads the outbox from the store, because another tab may have added or sent messages. Messages
   * of this tab that are not stored yet follow the loaded ones.
   */
  async #refresh(): Promise<void> {
    const records = await this.#inOrder(() => this.#options.store.readOutbox(this.#options.me))
    const unstored = [...this.#entries.values()].filter(({ isStored }) => !isStored)
    const before = this.#entries
    this.#entries = new Map()
    for (const record of records) {
      this.#lastOrder = Math.max(this.#lastOrder, record.order)
      const { clientId, status } = record
      const known = before.get(clientId)
      // Keep the entry in memory if only its number of attempts differs: attempts are counted in
      // memory only.
      const isSame =
        known !== undefined && known.record.status.state === status.state && known.record.order === record.order
      this.#entries.set(clientId, isSame ? { ...known, isStored: true } : toEntry(record, true))
      if (status.state === 'acknowledged') this.#settleWaiter(clientId, status)
    }
    for (const entry of unstored) this.#entries.set(entry.record.clientId, entry)
    this.#publish()
  }

  #drainAll(): void {
    const conversations = new Set([...this.#entries.values()].map(({ record }) => record.conversation))
    for (const conversation of conversations) this.#drain(conversation)
  }

  #drain(conversation: string): void {
    if (this.#draining.has(conversation) || this.#draining.size >= outboxMaxParallel) return
    if (!this.#mayDrain(conversation)) return
    this.#draining.add(conversation)
    this.#drainLocked(conversation)
      .catch((error: unknown) => {
        // The store failed. A pause before the next attempt prevents an endless loop.
        this.#options.onError(error)
        this.#pause(conversation, backoffMaxMs, false)
      })
      .finally(() => {
        this.#draining.delete(conversation)
        // Start to send in other conversations, which may have waited because too many were
        // sending, and again in this one, which may have new messages.
        this.#drainAll()
      })
  }

  #mayDrain(conversation: string): boolean {
    if (this.#isStopped || this.#pauses.has(conversation) || !this.#options.isConnected()) return false
    return this.#head(conversation)?.isStored === true
  }

  /**
   * Sends the messages of a conversation. When tabs share the store, a lock lets only one tab send
   * at a time.
   */
  async #drainLocked(conversation: string): Promise<void> {
    const locks = this.#locks()
    if (locks === undefined) return this.#drainNow(conversation)
    await locks.request(this.#lockOf(conversation), async () => {
      if (this.#isStopped) return
      await this.#refresh()
      await this.#drainNow(conversation)
    })
  }

  async #drainNow(conversation: string): Promise<void> {
    while (this.#mayDrain(conversation)) {
      const head = this.#head(conversation)
      if (head === undefined) return
      await this.#attempt(head.record)
    }
  }

  async #attempt(record: OutboxRecord): Promise<void> {
    try {
      const { seq, createdAt } = await this.#options.send(record)
      this.#settleWaiter(record.clientId, { seq, createdAt })
      // Do not store the message after a sign-out: its text would stay on the device.
      if (this.#isStopped || !this.#entries.has(record.clientId)) return
      const appliedSeq = this.#options.appliedSeqOf(record.conversation)
      if (appliedSeq === undefined || seq <= appliedSeq) await this.#remove([record.clientId])
      else {
        const acknowledged: OutboxRecord = { ...record, status: { state: 'acknowledged', seq, createdAt } }
        this.#set(acknowledged, false)
        await this.#store(acknowledged)
        // The log may have delivered this message while it was being stored.
        this.settleUpTo(
          record.conversation,
          this.#options.appliedSeqOf(record.conversation) ?? Number.POSITIVE_INFINITY,
        )
      }
    } catch (error) {
      await this.#onRefused(record, toChorusError(error))
    }
  }

  async #onRefused(record: OutboxRecord, error: ChorusError): Promise<void> {
    const { clientId, conversation } = record
    const entry = this.#entries.get(clientId)
    if (this.#isStopped || entry === undefined || entry.record.status.state !== 'pending') return
    // After an ended session (`unauthenticated`) the message stays pending, until the same user
    // signs in again.
    if (error.retry === 'never' && error.code !== 'unauthenticated') {
      const failed: OutboxRecord = { ...record, status: { state: 'failed', error: error.toBody() } }
      this.#set(failed, false)
      this.#settleWaiter(clientId, error)
      await this.#store(failed)
      return
    }
    const attempts = record.status.state === 'pending' ? record.status.attempts + 1 : 1
    this.#set({ ...record, status: { state: 'pending', attempts } }, true)
    const delayMs = backoffDelayMs(Math.max(1, attempts), this.#options.clock, error.retryAfterMs)
    this.#pause(conversation, delayMs, error.code === 'rate-limited')
  }

  #pause(conversation: string, delayMs: number, isRequested: boolean): void {
    if (this.#isStopped) return
    this.#pauses.get(conversation)?.cancel()
    const cancel = this.#options.clock.after(delayMs, () => {
      this.#pauses.delete(conversation)
      this.#drain(conversation)
    })
    this.#pauses.set(conversation, { isRequested, cancel })
  }

  #settleWaiter(clientId: string, result: Acknowledgement | ChorusError): void {
    const waiter = this.#waiters.get(clientId)
    this.#waiters.delete(clientId)
    if (result instanceof ChorusError) waiter?.reject(result)
    else waiter?.resolve({ seq: result.seq, createdAt: result.createdAt })
  }
}

/** Throws for a draft that the server would refuse anyway. */
function assertDraft({ text, attachments = [], data = null }: MessageDraft): void {
  if (text.length > limits.textMaxChars) {
    throw new ChorusError('too-large', `unable to send message; it is longer than ${limits.textMaxChars} characters`)
  }
  if (text.length === 0 && attachments.length === 0 && data === null) {
    throw new ChorusError('invalid', 'unable to send message; it is empty')
  }
}

function toEntry(record: OutboxRecord, isStored: boolean): Entry {
  const { clientId, conversation, draft, createdAt, status } = record
  return { record, isStored, item: { clientId, conversation, draft, createdAt, status } }
}

function toChorusError(error: unknown): ChorusError {
  return error instanceof ChorusError
    ? error
    : new ChorusError('unknown', 'unable to send message; an unexpected error occurred', { cause: error })
}
