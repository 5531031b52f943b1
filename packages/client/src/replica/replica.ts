/**
 * Local copy of one user's conversations. Takes server events in any order and maintains timelines,
 * summaries and the cursor.
 *
 * Guarantee: the application's callback runs exactly once per (epoch, conversation, seq), in order
 * (rule CLI1). The cursor moves, in memory and in the store, only after everything that it covers
 * was applied, and it is stored in one transaction with that data (CP1). When changes are missing,
 * the replica waits briefly and then reads them (NODE1).
 */
import type { Conversation, EventPayload, ServerEvent } from '@chorus/protocol'
import type { ChangeNotice, DataState } from '../model/api.ts'
import type { ConversationSummary } from '../model/api-conversation.ts'
import type { ChatStore, ConversationRecord } from '../model/store.ts'
import { compareByActivity, toSummary } from '../model/summary.ts'
import type { Clock } from '../support/clock.ts'
import { guarded } from '../support/guarded.ts'
import { type Cell, createCell, type Observable } from '../support/observable.ts'
import type { UserCache } from '../users/users.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { applyStep } from './changes.ts'
import { type ConversationReplica, type Loading, notifyChanged } from './conversation-replica.ts'
import { LocalCopy, windowsMax } from './local-copy.ts'
import { ReplicaSaver } from './saver.ts'
import { type FirstLoad, FirstLoadReader, firstLoadsMax } from './first-load.ts'
import { MessagePages } from './message-pages.ts'
import type { ReplicaParts } from './parts.ts'
import { applyMarker, markRead, merge, readSummary, readSummaryLater } from './summaries.ts'

export interface ReplicaOptions {
  readonly me: string
  readonly store: ChatStore
  readonly api: HttpApi
  readonly clock: Clock
  readonly users: UserCache
  readonly onError: (error: unknown) => void
  /** Called after the change was applied to the local copy. */
  readonly onChange: (notice: ChangeNotice) => void
  readonly onLimited: (notice: { readonly conversation: string; readonly seq: number }) => void
  /** Called when the local copy of a conversation reaches `seq`. */
  readonly onMoved: (conversation: string, seq: number) => void
  /**
   * Called when the server asks for a new first load. The owner must disconnect, call `firstLoad`
   * and connect again.
   */
  readonly onReset: () => void
}

/** Event that changes the local copy. */
export type ReplicaEvent = Extract<ServerEvent, { name: 'changes' | 'conversation' | 'checkpoint' | 'ready' | 'reset' }>

export class Replica {
  readonly #options: ReplicaOptions
  readonly #data: Cell<DataState>
  readonly #copy: LocalCopy
  readonly #saver: ReplicaSaver
  readonly #parts: ReplicaParts
  readonly #pages: MessagePages
  readonly #firstLoad: FirstLoadReader
  #loadingAll: Promise<void> | undefined
  #isReset = false

  constructor(options: ReplicaOptions) {
    this.#options = options
    this.#data = createCell<DataState>('empty', options)
    this.#copy = new LocalCopy(options.me, options.onError)
    const parts = { ...options, copy: this.#copy }
    this.#saver = new ReplicaSaver({ ...parts, onForeign: (record) => this.#applyForeign(record) })
    this.#parts = { ...parts, saver: this.#saver }
    this.#pages = new MessagePages(this.#parts)
    this.#firstLoad = new FirstLoadReader({ ...parts, onListed: (conversation) => this.#show(conversation) })
  }

  get data(): Observable<DataState> {
    return this.#data
  }

  /** True when there is no cursor to resume from. Call `firstLoad` before connecting. */
  get needsLoad(): boolean {
    return this.cursor === undefined || this.#isReset
  }

  get conversations(): Observable<readonly ConversationSummary[]> {
    return this.#copy.list
  }

  /** Cursor of the server up to which all changes were applied. */
  get cursor(): string | undefined {
    return this.#copy.cursor
  }

  stop(): void {
    this.#copy.stop()
  }

  /** Returns the entry of a conversation in the local copy. Creates it if necessary. */
  slot(id: string): ConversationReplica {
    return this.#copy.slot(id)
  }

  appliedSeqOf(id: string): number | undefined {
    const slot = this.#copy.find(id)
    return slot?.state === undefined ? undefined : slot.timeline.appliedSeq
  }

  /** Loads the stored data into memory. */
  async loadCached(): Promise<void> {
    if (!(await this.#saver.load())) return
    for (const { members } of this.conversations.get()) this.#options.users.put(members.map(({ user }) => user))
    this.#data.set('cached')
  }

  /**
   * Loads all conversations from the server and replaces the local copy by them. The list is shown
   * as it arrives. After a failure, the next call continues.
   */
  firstLoad(): Promise<void> {
    // A second connection attempt may start while a load is running. Both attempts share that load.
    this.#loadingAll ??= this.#loadAll().finally(() => {
      this.#loadingAll = undefined
    })
    return this.#loadingAll
  }

  async #loadAll(): Promise<void> {
    if (this.#data.get() !== 'cached' || this.cursor === undefined) this.#data.set('loading')
    for (let loads = 0; loads < firstLoadsMax; loads += 1) {
      const load = await this.#firstLoad.read()
      if (load === undefined) return
      // Wait for a running commit to the store: it contains the copy from before this load.
      await this.#saver.idle()
      if (this.#copy.isStopped()) return
      this.#replaceWith(load)
      if (await this.#saver.replaceAll(load.base)) return
    }
  }

  /** Shows a conversation from the conversation list before the first load is complete. */
  #show(conversation: Conversation): void {
    this.#options.users.put(conversation.members.map(({ user }) => user))
    const slot = this.slot(conversation.id)
    if (this.cursor !== undefined || slot.state !== undefined) return
    this.#copy.setState(slot, { summary: toSummary(conversation), unreadAsOfSeq: conversation.seq })
  }

  /** Applies one event of the current connection. */
  handle(event: ReplicaEvent): void {
    switch (event.name) {
      case 'changes':
        this.#applyChanges(event.payload)
        return
      case 'conversation':
        this.#applyConversation(event.payload)
        return
      case 'checkpoint':
        this.#cover(event.payload.cursor)
        return
      case 'ready':
        if (!this.#copy.enterEpoch(event.payload.epoch)) {
          this.#reset()
          return
        }
        for (const slot of this.#copy.all()) if (slot.isUnsure) readSummaryLater(this.#parts, slot)
        this.#cover(event.payload.cursor)
        this.#data.set('live')
        return
      case 'reset':
        this.#reset()
        return
    }
  }

  /** Adds or updates a conversation from the response to a command. */
  upsert(conversation: Conversation): ConversationSummary {
    const slot = this.slot(conversation.id)
    if (slot.state === undefined || slot.isLeft) {
      this.#copy.enter(slot)
      applyStep(this.#parts, slot, slot.timeline.applyLimited(conversation.seq, undefined))
    }
    merge(this.#parts, slot, conversation)
    return slot.state?.summary ?? toSummary(conversation)
  }

  /** Removes a conversation that the user left by a command. */
  remove(id: string): void {
    const slot = this.#copy.find(id)
    if (slot !== undefined) this.#copy.leave(slot)
  }

  /**
   * Moves the read marker in the local copy. Returns false when the unread count must be requested
   * from the server.
   */
  markRead(slot: ConversationReplica, seq: number): boolean {
    return markRead(this.#parts, slot, seq)
  }

  /** Requests the current state of the conversation from the server. */
  refresh(slot: ConversationReplica): Promise<void> {
    return readSummary(this.#parts, slot)
  }

  /** Loads a page into the window. Does nothing while another page is loading. */
  loadPage(slot: ConversationReplica, what: Exclude<Loading, 'nothing'>, around?: number): Promise<void> {
    return this.#pages.load(slot, what, around)
  }

  /**
   * Stores all applied changes and the cursor. Call it after `stop`, so that no further changes
   * arrive.
   */
  flush(): Promise<void> {
    return this.#saver.flush()
  }

  #reset(): void {
    this.#isReset = true
    this.#options.onReset()
  }

  #cover(cursor: string): void {
    if (this.#copy.cover(cursor)) this.#saver.saveLater()
  }

  #applyChanges(payload: EventPayload<'changes'>): void {
    const slot = this.slot(payload.conversation)
    const first = payload.changes[0]
    if (first === undefined) return
    const isNew = slot.state === undefined && slot.timeline.appliedSeq === 0
    // This conversation is new to the local copy. Earlier changes do not count as missing: they are
    // history, which the user loads page by page.
    if (isNew) slot.timeline.skipTo(first.type === 'skip' ? first.from : first.seq)
    applyStep(this.#parts, slot, slot.timeline.applyChanges(payload.changes))
    if (slot.state === undefined && !slot.isLeft) readSummaryLater(this.#parts, slot)
  }

  #applyConversation(payload: EventPayload<'conversation'>): void {
    const { seq, limited } = payload
    const slot = this.slot(payload.conversation)
    if (payload.left === true) {
      applyStep(this.#parts, slot, slot.timeline.skipTo(seq))
      this.#copy.leave(slot)
      return
    }
    if (limited === true) {
      this.#copy.enter(slot)
      const isNews = seq > slot.timeline.appliedSeq
      applyStep(this.#parts, slot, slot.timeline.applyLimited(seq, payload.messages))
      if (slot.timeline.window !== undefined) this.#copy.useWindow(slot)
      notifyChanged(slot)
      if (isNews) this.#reportLimited(slot.id, seq)
    }
    const isCounted = applyMarker(this.#parts, slot, payload)
    // The skipped changes may have changed the name or the members, so request the conversation
    // object.
    if (limited === true || !isCounted) readSummaryLater(this.#parts, slot)
  }

  /**
   * Handles a conversation that is in the store but not in this copy. Either the user joined it in
   * another client, or this client missed that the user left it. Asks the server which is true.
   */
  #applyForeign(record: ConversationRecord): void {
    const slot = this.slot(record.id)
    if (slot.state !== undefined || this.#copy.isStopped()) return
    const known = slot.timeline.appliedSeq
    if (record.appliedSeq > known) {
      this.#copy.restart(record)
      // Only the other client received these changes. This client reports them as skipped (rule
      // CLI1).
      if (known > 0) this.#reportLimited(slot.id, record.appliedSeq)
    }
    this.#copy.enterForeign(slot)
    readSummaryLater(this.#parts, slot)
  }

  #replaceWith({ epoch, cursor, entries, summaries }: FirstLoad): void {
    const isSameHistory = epoch === this.#copy.epoch
    this.#copy.reset(epoch, cursor)
    this.#isReset = false
    for (const slot of this.#copy.all()) {
      const entry = entries.get(slot.id)
      if (entry === undefined || entry.left === true) this.#copy.leave(slot)
      // The stored seq belongs to another database epoch, so it is meaningless now.
      if (!isSameHistory) this.#copy.restart({ id: slot.id, appliedSeq: 0 })
    }
    const sorted = [...entries.values()]
      .filter(({ left }) => left !== true)
      .map((entry) => ({ entry, conversation: summaries.get(entry.conversation) }))
      .sort((left, right) => compareActivityOf(left.conversation, right.conversation))
    for (const [index, { entry, conversation }] of sorted.entries()) {
      const slot = this.slot(entry.conversation)
      const { appliedSeq } = slot.timeline
      const isNews = isSameHistory && appliedSeq > 0 && entry.seq > appliedSeq
      slot.isLeft = false
      slot.state = undefined
      if (index < windowsMax) this.#copy.useWindow(slot)
      else slot.timeline.dropWindow()
      const messages = index < windowsMax ? entry.messages : undefined
      applyStep(this.#parts, slot, slot.timeline.applyLimited(entry.seq, messages))
      applyStep(this.#parts, slot, slot.timeline.applyChanges(entry.changes))
      // The conversation object from the conversation list may be older than the changes applied
      // here. In this case, request it again.
      if (conversation === undefined || !merge(this.#parts, slot, conversation)) readSummaryLater(this.#parts, slot)
      if (isNews) this.#reportLimited(slot.id, entry.seq)
      notifyChanged(slot)
    }
  }

  #reportLimited(conversation: string, seq: number): void {
    guarded(() => this.#options.onLimited({ conversation, seq }), this.#options.onError)
  }
}

function compareActivityOf(left: Conversation | undefined, right: Conversation | undefined): number {
  if (left === undefined || right === undefined) return left === right ? 0 : left === undefined ? 1 : -1
  return compareByActivity(toSummary(left), toSummary(right))
}
