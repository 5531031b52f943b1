/**
 * Messages on their way. Each is stored on the device before it is sent, with the identity that makes a second attempt
 * harmless (rule IDEM1), and stays until the server's log is seen to contain it or the server refuses it for good (ACK2).
 * At most one per conversation is unanswered, so one sender's messages keep their order (ORD2); conversations go side by side.
 */
import { ChorusError, limits } from '@chorus/protocol'
import type { Acknowledgement, MessageDraft, OutboxItem, SentMessage } from './api.ts'
import { backoffDelayMs, backoffMaxMs } from './backoff.ts'
import { createClientId } from './client-id.ts'
import type { Clock } from './clock.ts'
import { type Cell, createCell, type Observable } from './observable.ts'
import type { ChatStore, OutboxRecord } from './store.ts'

/** Most messages that wait on one device. */
export const outboxMaxMessages = 1_000
/** Most conversations that send at the same time. */
export const outboxMaxParallel = 8

export interface OutboxOptions {
  readonly store: ChatStore
  readonly userId: string
  readonly clock: Clock
  /** Asks the server; rejects with a `ChorusError`. */
  readonly send: (record: OutboxRecord) => Promise<Acknowledgement>
  /** Is there a connection to send over? */
  readonly canSend: () => boolean
  /** How far the local copy of a conversation is; undefined when there is none. */
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
  /** Written to the store: only then may it be sent. */
  readonly isStored: boolean
}

interface Pause {
  /** The server asked for it: a reconnection does not end it. */
  readonly isAsked: boolean
  readonly cancel: () => void
}

export class Outbox {
  readonly #options: OutboxOptions
  /** By clientId, in the order of writing. */
  #entries = new Map<string, Entry>()
  readonly #items: Cell<readonly OutboxItem[]>
  readonly #waiters = new Map<string, Waiter[]>()
  readonly #draining = new Set<string>()
  readonly #pauses = new Map<string, Pause>()
  readonly #channel: BroadcastChannel | undefined
  #lastOrder = 0
  #isStopped = false
  /** Writes go one after the other, so that what was written first is stored first. */
  #writes: Promise<unknown> = Promise.resolve()

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#items = createCell<readonly OutboxItem[]>([], { onError: options.onError })
    if (options.store.isShared && typeof BroadcastChannel !== 'undefined') {
      this.#channel = new BroadcastChannel(`chorus-outbox-${options.userId}`)
      this.#channel.onmessage = () => {
        if (!this.#isStopped) this.#refresh().then(() => this.#drainAll(), options.onError)
      }
    }
  }

  get items(): Observable<readonly OutboxItem[]> {
    return this.#items
  }

  /** Reads what was waiting when the application ended. */
  async load(): Promise<void> {
    await this.#refresh()
    // Acknowledged, but the program ended before the log was seen to contain it; the copy may by now.
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

  /** There is a connection again: go on at once, unless the server asked to wait. */
  resume(): void {
    for (const [conversation, pause] of [...this.#pauses]) {
      if (pause.isAsked) continue
      pause.cancel()
      this.#pauses.delete(conversation)
    }
    this.#drainAll()
  }

  /** Shows the message, stores it, and sends it when its turn comes. */
  async add(conversation: string, draft: MessageDraft): Promise<SentMessage> {
    assertDraft(draft)
    if (this.#isStopped) throw new ChorusError('unauthenticated', 'unable to send message; nobody is signed in')
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
      this.#waiters.set(record.clientId, [{ resolve, reject }])
    })
    // Not everybody waits for it; who does is still told.
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

  /** Sends a refused message again, behind what was written since. */
  async retry(clientId: string): Promise<void> {
    const entry = this.#entries.get(clientId)
    if (entry?.record.status.state !== 'failed') {
      throw new ChorusError('not-found', 'unable to retry message; no failed message has this id')
    }
    const isTaken = entry.record.status.error.code === 'conflict'
    const record: OutboxRecord = {
      ...entry.record,
      // `conflict` says that the identity belongs to another message.
      clientId: isTaken ? createClientId() : clientId,
      order: this.#nextOrder(),
      status: { state: 'pending', attempts: 0 },
    }
    this.#entries.delete(clientId)
    this.#set(record, false)
    await this.#store(record)
    if (isTaken) await this.#options.store.removeOutbox(this.#options.userId, [clientId])
    this.#drain(record.conversation)
  }

  /** Forgets a message that failed, or that no attempt was made for. */
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
    this.#settleWaiters(clientId, new ChorusError('not-found', 'unable to send message; it was discarded'))
  }

  /** The log contains this message of mine: that is the acknowledgement, whether or not another one came. */
  settle(clientId: string, acknowledgement: Acknowledgement): void {
    this.#settleWaiters(clientId, acknowledgement)
    if (this.#entries.has(clientId)) this.#remove([clientId]).catch(this.#options.onError)
  }

  /** The local copy of a conversation has moved: what it covers is not waiting any more. */
  settleUpTo(conversation: string, appliedSeq: number): void {
    const covered = [...this.#entries.values()].filter(
      ({ record }) =>
        record.conversation === conversation &&
        record.status.state === 'acknowledged' &&
        record.status.seq <= appliedSeq,
    )
    if (covered.length > 0) this.#remove(covered.map(({ record }) => record.clientId)).catch(this.#options.onError)
  }

  /** Another tab may be sending it: then its lock is taken, and the message is no longer this tab's to discard. */
  async #discardLocked(conversation: string, clientId: string): Promise<void> {
    const locks = typeof navigator === 'undefined' ? undefined : navigator.locks
    if (!this.#options.store.isShared || !isLockManager(locks) || this.#draining.has(conversation)) {
      return this.#remove([clientId])
    }
    await locks.request(this.#lockOf(conversation), { ifAvailable: true }, async (lock) => {
      if (lock === null) {
        throw new ChorusError('conflict', 'unable to discard message; it may have been sent already')
      }
      await this.#remove([clientId])
    })
  }

  #lockOf(conversation: string): string {
    return `chorus-outbox-${this.#options.userId}-${conversation}`
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
    const { clientId, conversation, draft, createdAt, status } = record
    this.#entries.set(clientId, { record, isStored, item: { clientId, conversation, draft, createdAt, status } })
    this.#publish()
  }

  #publish(): void {
    this.#items.set([...this.#entries.values()].map(({ item }) => item))
  }

  async #store(record: OutboxRecord): Promise<void> {
    const { store, userId } = this.#options
    const write = this.#writes.then(() => store.putOutbox(userId, record))
    this.#writes = write.catch(() => undefined)
    await write
    const entry = this.#entries.get(record.clientId)
    if (entry?.record === record) this.#entries.set(record.clientId, { ...entry, isStored: true })
    this.#channel?.postMessage('changed')
  }

  async #remove(clientIds: readonly string[]): Promise<void> {
    for (const clientId of clientIds) this.#entries.delete(clientId)
    this.#publish()
    const { store, userId } = this.#options
    const write = this.#writes.then(() => store.removeOutbox(userId, clientIds))
    this.#writes = write.catch(() => undefined)
    await write
    this.#channel?.postMessage('changed')
  }

  /** Takes what the store has (another tab may have written or sent); what is not stored yet stays behind it. */
  async #refresh(): Promise<void> {
    const { store, userId } = this.#options
    const read = this.#writes.then(() => store.readOutbox(userId))
    this.#writes = read.catch(() => undefined)
    const records = await read
    const unstored = [...this.#entries.values()].filter(({ isStored }) => !isStored)
    const before = this.#entries
    this.#entries = new Map()
    for (const record of records) {
      this.#lastOrder = Math.max(this.#lastOrder, record.order)
      const { clientId, conversation, draft, createdAt, status } = record
      const known = before.get(clientId)
      // Attempts are counted in memory only, so what is known here is as good as what is stored.
      const isSame =
        known !== undefined && known.record.status.state === status.state && known.record.order === record.order
      if (isSame) this.#entries.set(clientId, { ...known, isStored: true })
      else {
        this.#entries.set(clientId, {
          record,
          isStored: true,
          item: { clientId, conversation, draft, createdAt, status },
        })
      }
      if (status.state === 'acknowledged') this.#settleWaiters(clientId, status)
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
        // The store failed. Waiting keeps this from going round and round.
        this.#options.onError(error)
        this.#pause(conversation, backoffMaxMs, false)
      })
      .finally(() => {
        this.#draining.delete(conversation)
        // Others may have waited for the room, and this one may have been given more meanwhile.
        this.#drainAll()
      })
  }

  #mayDrain(conversation: string): boolean {
    if (this.#isStopped || this.#pauses.has(conversation) || !this.#options.canSend()) return false
    return this.#head(conversation)?.isStored === true
  }

  /** Where several tabs share the store, only one of them sends for a conversation at a time. */
  async #drainLocked(conversation: string): Promise<void> {
    const locks = typeof navigator === 'undefined' ? undefined : navigator.locks
    if (!this.#options.store.isShared || !isLockManager(locks)) return this.#drainNow(conversation)
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
    const { clientId, conversation } = record
    try {
      const { seq, createdAt } = await this.#options.send(record)
      this.#settleWaiters(clientId, { seq, createdAt })
      // Nothing is written after the end: after a sign-out the text would stay on the device.
      if (this.#isStopped || !this.#entries.has(clientId)) return
      const appliedSeq = this.#options.appliedSeqOf(conversation)
      if (appliedSeq === undefined || seq <= appliedSeq) await this.#remove([clientId])
      else {
        const acknowledged: OutboxRecord = { ...record, status: { state: 'acknowledged', seq, createdAt } }
        this.#set(acknowledged, false)
        await this.#store(acknowledged)
        // The change may have been applied while this was written.
        this.settleUpTo(conversation, this.#options.appliedSeqOf(conversation) ?? Number.POSITIVE_INFINITY)
      }
    } catch (error) {
      await this.#onRefused(record, toChorusError(error))
    }
  }

  async #onRefused(record: OutboxRecord, error: ChorusError): Promise<void> {
    const { clientId, conversation } = record
    const entry = this.#entries.get(clientId)
    if (this.#isStopped || entry === undefined || entry.record.status.state !== 'pending') return
    // A session that has ended says nothing about the message: it waits for the same user to sign in again.
    if (error.retry === 'never' && error.code !== 'unauthenticated') {
      const failed: OutboxRecord = { ...record, status: { state: 'failed', error: error.toBody() } }
      this.#set(failed, false)
      this.#settleWaiters(clientId, error)
      await this.#store(failed)
      return
    }
    const attempts = record.status.state === 'pending' ? record.status.attempts + 1 : 1
    this.#set({ ...record, status: { state: 'pending', attempts } }, true)
    const delayMs = backoffDelayMs(Math.max(1, attempts), this.#options.clock, error.retryAfterMs)
    this.#pause(conversation, delayMs, error.code === 'rate-limited')
  }

  #pause(conversation: string, delayMs: number, isAsked: boolean): void {
    if (this.#isStopped) return
    this.#pauses.get(conversation)?.cancel()
    const cancel = this.#options.clock.after(delayMs, () => {
      this.#pauses.delete(conversation)
      this.#drain(conversation)
    })
    this.#pauses.set(conversation, { isAsked, cancel })
  }

  #settleWaiters(clientId: string, result: Acknowledgement | ChorusError): void {
    const waiters = this.#waiters.get(clientId) ?? []
    this.#waiters.delete(clientId)
    for (const { resolve, reject } of waiters) {
      if (result instanceof ChorusError) reject(result)
      else resolve({ seq: result.seq, createdAt: result.createdAt })
    }
  }
}

/** Refuses early what the server would refuse anyway. */
function assertDraft({ text, attachments = [], data = null }: MessageDraft): void {
  if (text.length > limits.textMaxChars) {
    throw new ChorusError('too-large', `unable to send message; it is longer than ${limits.textMaxChars} characters`)
  }
  if (text.length === 0 && attachments.length === 0 && data === null) {
    throw new ChorusError('invalid', 'unable to send message; it is empty')
  }
}

/** Missing on pages without TLS and in Node; the types say that it is always there. */
function isLockManager(locks: LockManager | undefined): locks is LockManager {
  return locks !== undefined
}

function toChorusError(error: unknown): ChorusError {
  return error instanceof ChorusError
    ? error
    : new ChorusError('unknown', 'unable to send message; something unexpected happened', { cause: error })
}
