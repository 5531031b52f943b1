/**
 * State of the local copy: its conversations, the cursor up to which they are complete, and the
 * changes that are not stored yet.
 *
 * Guarantee: the cursor moves only while no conversation waits for data from the server (rule CP1).
 * A conversation that the user left stays stored as left until a stored cursor covers the
 * departure, so that a resume from an earlier cursor does not report the departure twice (CLI1). At
 * most 300 conversations keep messages in memory, unless more of them are shown.
 */
import type { ConversationSummary } from '../model/api-conversation.ts'
import type { ConversationRecord, ReplicaCommit, ReplicaRecord } from '../model/store.ts'
import { compareByActivity, type SummaryState, toSummary } from '../model/summary.ts'
import { Timeline } from '../model/timeline.ts'
import { type ComputedCell, createComputedCell, type Observable } from '../support/observable.ts'
import { type ConversationReplica, createConversationReplica, notifyChanged } from './conversation-replica.ts'

/**
 * Maximum number of conversations whose messages stay in memory. Others load their messages again
 * when they are shown.
 */
export const windowsMax = 300
/** Maximum number of newest messages per conversation in the store. */
export const cachedMessagesMax = 50

export class LocalCopy {
  readonly #me: string
  readonly #onError: (error: unknown) => void
  readonly #slots = new Map<string, ConversationReplica>()
  readonly #list: ComputedCell<readonly ConversationSummary[]>
  /** Conversations with messages in memory, in order of use, least recently used first. */
  readonly #windows = new Map<string, ConversationReplica>()
  #epoch = ''
  #cursor: string | undefined
  /** The newest cursor from the server that the local copy has not reached yet. */
  #candidate: string | undefined
  /**
   * Conversations that wait for data from the server. The cursor does not move while there are any.
   */
  readonly #waiting = new Set<string>()
  /** Conversations that changed since the last commit. */
  readonly #changed = new Set<string>()
  /**
   * Conversations that the user left, where no stored cursor covers the departure yet. `isCovered`:
   * the newest cursor from the server covers the departure.
   */
  readonly #leaving = new Map<string, { isCovered: boolean }>()
  /**
   * Conversations that another client has stored and that are unknown to this client. No cursor is
   * written until the server has reported their state.
   */
  readonly #foreign = new Set<string>()
  #isStopped = false

  constructor(me: string, onError: (error: unknown) => void) {
    this.#me = me
    this.#onError = onError
    this.#list = createComputedCell(
      () =>
        this.all()
          .flatMap(({ state }) => state?.summary ?? [])
          .sort(compareByActivity),
      { onError },
    )
  }

  /** Summaries of the user's conversations, the most recently active first. */
  get list(): Observable<readonly ConversationSummary[]> {
    return this.#list
  }

  /** Database epoch of the copy, or an empty string until one is known. */
  get epoch(): string {
    return this.#epoch
  }

  /** Cursor of the server up to which this copy contains all changes. */
  get cursor(): string | undefined {
    return this.#cursor
  }

  /** Stops the local copy: the cursor no longer moves. */
  stop(): void {
    this.#isStopped = true
  }

  /**
   * Returns whether `stop` was called. A method, not a field, because `stop` can be called during
   * any await.
   */
  isStopped(): boolean {
    return this.#isStopped
  }

  all(): ConversationReplica[] {
    return [...this.#slots.values()]
  }

  find(id: string): ConversationReplica | undefined {
    return this.#slots.get(id)
  }

  /** Returns the entry of a conversation. Creates it if necessary. */
  slot(id: string): ConversationReplica {
    const known = this.#slots.get(id)
    if (known !== undefined) return known
    const fresh = createConversationReplica(id, this.#me, this.#onError)
    this.#slots.set(id, fresh)
    return fresh
  }

  /**
   * Replaces the timeline of a conversation by a new one with the position and messages of
   * `record`.
   */
  restart(record: ConversationRecord): ConversationReplica {
    const slot = this.slot(record.id)
    const { appliedSeq, window } = record
    slot.timeline = new Timeline({ me: this.#me, appliedSeq, ...(window && { window }) })
    return slot
  }

  setState(slot: ConversationReplica, state: SummaryState): void {
    this.change(slot)
    this.#show(slot, state)
  }

  enter(slot: ConversationReplica): void {
    slot.isLeft = false
    this.#leaving.delete(slot.id)
  }

  /** Adds a conversation that is in the store but was unknown to this copy. */
  enterForeign(slot: ConversationReplica): void {
    this.enter(slot)
    this.#foreign.add(slot.id)
  }

  leave(slot: ConversationReplica): void {
    if (!this.#leaving.has(slot.id)) this.#leaving.set(slot.id, { isCovered: false })
    slot.isLeft = true
    slot.isUnsure = false
    slot.state = undefined
    slot.timeline.dropWindow()
    slot.summary.set(undefined)
    this.#windows.delete(slot.id)
    this.#foreign.delete(slot.id)
    this.change(slot)
    this.#list.invalidate()
    notifyChanged(slot)
  }

  /**
   * Marks the loaded messages of a conversation as most recently used. If too many conversations
   * have messages in memory, drops the messages of the least recently used one that is not shown.
   */
  useWindow(slot: ConversationReplica): void {
    this.#windows.delete(slot.id)
    this.#windows.set(slot.id, slot)
    if (this.#windows.size <= windowsMax) return
    for (const [id, old] of this.#windows) {
      if (old.isShown || old === slot) continue
      old.timeline.dropWindow()
      this.#windows.delete(id)
      return
    }
  }

  /** Stores the server's database epoch. Returns false if this copy belongs to another epoch. */
  enterEpoch(epoch: string): boolean {
    if (this.#epoch !== '' && epoch !== this.#epoch) return false
    this.#epoch = epoch
    return true
  }

  /**
   * Moves the cursor of the copy to a cursor of the server, as soon as no conversation waits for
   * data. Returns true if the cursor moved at once.
   */
  cover(cursor: string): boolean {
    this.#candidate = cursor
    for (const leaving of this.#leaving.values()) leaving.isCovered = true
    return this.#move()
  }

  /**
   * Prevents the cursor from moving until `settle` is called, because data of the conversation is
   * missing.
   */
  wait(slot: ConversationReplica): void {
    this.#waiting.add(slot.id)
  }

  /**
   * Marks the conversation as complete: no data of it is missing. Returns true if the cursor moved.
   */
  settle(slot: ConversationReplica): boolean {
    this.#waiting.delete(slot.id)
    if (slot.isLeft || slot.state !== undefined) this.#foreign.delete(slot.id)
    return this.#move()
  }

  /** Takes the epoch and the cursor of a first load. The caller then replaces the conversations. */
  reset(epoch: string, cursor: string | undefined): void {
    this.#epoch = epoch
    this.#cursor = cursor
    this.#candidate = undefined
    this.#windows.clear()
    this.#changed.clear()
    this.#leaving.clear()
    this.#foreign.clear()
    for (const slot of this.#slots.values()) slot.isUnsure = false
  }

  /** Fills the empty local copy with the stored data. */
  restore(record: ReplicaRecord): void {
    this.#epoch = record.epoch
    this.#cursor = record.cursor
    for (const one of record.removed) this.restart(one).isLeft = true
    const shown: { readonly slot: ConversationReplica; readonly state: SummaryState }[] = []
    for (const one of record.conversations) {
      const slot = this.restart(one)
      if (one.left === true) {
        slot.isLeft = true
        this.#leaving.set(one.id, { isCovered: false })
      } else if (one.summary === undefined) slot.isUnsure = true
      else {
        const summary = toSummary(one.summary)
        slot.isUnsure = one.isUnreadUnsure === true
        shown.push({ slot, state: { summary, unreadAsOfSeq: one.unreadAsOfSeq ?? summary.seq } })
      }
    }
    shown.sort((left, right) => compareByActivity(left.state.summary, right.state.summary))
    for (const [index, { slot, state }] of shown.entries()) {
      if (index >= windowsMax) slot.timeline.dropWindow()
      else if (slot.timeline.window !== undefined) this.useWindow(slot)
      this.#show(slot, state)
      notifyChanged(slot)
    }
  }

  /**
   * Returns whether the copy has data or a cursor that the store does not have. `savedCursor` is
   * the stored cursor.
   */
  isAheadOf(savedCursor: string | undefined): boolean {
    if (this.#cursor === undefined) return false
    return this.#changed.size > 0 || (this.#cursor !== savedCursor && this.#foreign.size === 0)
  }

  /**
   * True while there are conversations that another client stored and whose state the server has
   * not reported yet (`enterForeign`).
   */
  get hasForeign(): boolean {
    return this.#foreign.size > 0
  }

  /** Marks the conversation to be stored with the next commit. */
  change(slot: { readonly id: string }): void {
    this.#changed.add(slot.id)
  }

  /**
   * Returns the store records of the conversations that changed since the last call. With
   * `isWhole`, returns those of all conversations.
   */
  takeChanges(isWhole: boolean): Pick<ReplicaCommit, 'conversations' | 'removed'> {
    const slots = isWhole ? this.all() : [...this.#changed].map((id) => this.slot(id))
    this.#changed.clear()
    // A conversation without a summary and a position has nothing to store.
    const known = slots.filter((slot) => slot.state !== undefined || slot.timeline.appliedSeq > 0)
    const isRemoved = (slot: ConversationReplica): boolean => slot.isLeft && !this.#leaving.has(slot.id)
    return {
      conversations: known.filter((slot) => !isRemoved(slot)).map((slot) => this.#toRecord(slot)),
      removed: known.filter(isRemoved).map((slot) => ({ id: slot.id, appliedSeq: slot.timeline.appliedSeq })),
    }
  }

  #show(slot: ConversationReplica, state: SummaryState): void {
    if (slot.isLeft) return
    slot.state = state
    slot.summary.set(state.summary)
    this.#list.invalidate()
  }

  #move(): boolean {
    if (this.#waiting.size > 0 || this.#candidate === undefined || this.#isStopped) return false
    this.#cursor = this.#candidate
    this.#candidate = undefined
    for (const [id, { isCovered }] of this.#leaving) {
      if (!isCovered) continue
      this.#leaving.delete(id)
      this.#changed.add(id)
    }
    return true
  }

  #toRecord({ id, isLeft, isUnsure, state, timeline }: ConversationReplica): ConversationRecord {
    const { appliedSeq } = timeline
    if (isLeft) return { id, appliedSeq, left: true }
    // The user has just joined. Store the position, although the summary has not arrived yet.
    if (state === undefined) return { id, appliedSeq }
    const { summary, unreadAsOfSeq } = state
    const window = timeline.toRecord(cachedMessagesMax)
    return {
      id,
      summary,
      appliedSeq,
      ...(unreadAsOfSeq !== summary.seq && { unreadAsOfSeq }),
      ...(isUnsure && { isUnreadUnsure: true }),
      ...(window && { window }),
    }
  }
}
