/**
 * Local copy of one user's conversations. Takes server events in any order and maintains timelines,
 * summaries and the cursor.
 *
 * Guarantee: the application's callback runs exactly once per (epoch, conversation, seq), in order
 * (rule CLI1). The cursor moves, in memory and in the store, only after everything that it covers
 * was applied, and it is stored in one transaction with that data (CP1). When changes are missing,
 * the replica waits briefly and then reads them (NODE1).
 */
import {
  type Change,
  ChorusError,
  type Conversation,
  type EventPayload,
  limits,
  type MessagePage,
  type Role,
  type ServerEvent,
  type SyncEntry,
  type SyncPage,
} from '@chorus/protocol'
import type { ChangeNotice, DataState } from '../model/api.ts'
import type { ConversationSummary } from '../model/api-conversation.ts'
import { backoffDelayMs } from '../support/backoff.ts'
import type { Clock } from '../support/clock.ts'
import { guarded } from '../support/guarded.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { type Cell, type ComputedCell, createCell, createComputedCell, type Observable } from '../support/observable.ts'
import { createSerialQueue } from '../support/serial-queue.ts'
import { isChange } from '../wire/server-events.ts'
import type { ChatStore, ConversationRecord, RemovedRecord } from '../model/store.ts'
import {
  applyChangeToSummary,
  compareByActivity,
  countUnreadInWindow,
  type SummaryState,
  toSummary,
} from '../model/summary.ts'
import { type PagePlacement, Timeline, type TimelineStep } from '../model/timeline.ts'
import type { UserCache } from '../users/users.ts'

/**
 * Time to wait for missing changes to arrive by themselves before they are read from the server.
 */
export const gapPauseMs = 100
/**
 * Time during which applied changes are collected before they are stored, ahead of the cursor that
 * will cover them.
 */
export const saveSoonMs = 100
/** Delay before the next write after the store failed. */
export const savePauseMs = 5_000
/** Maximum number of newest messages per conversation in the store. */
export const cachedMessagesMax = 50
/**
 * Maximum number of conversations whose messages stay in memory. Others load their messages again
 * when they are shown.
 */
export const windowsMax = 300
/**
 * Maximum number of pages in one load or one read of missing changes. More pages mean a faulty
 * server.
 */
const pagesMax = 2_000
/**
 * Maximum number of first loads in a row that the server interrupts with `reset` before the client
 * gives up until the next connection.
 */
const firstLoadsMax = 3
/** Number of attempts to join a page to a window that changes while the page is read. */
const joinsMax = 4

/**
 * Number of conversations on the first page of a load, and the smallest page size after failures.
 */
const firstPageSize = 50
const pageSizeMin = 10

type Loading = 'nothing' | 'newest' | 'older' | 'newer' | 'around'

/** One conversation of the local copy. */
export interface ConversationReplica {
  readonly id: string
  timeline: Timeline
  state: SummaryState | undefined
  readonly summary: Cell<ConversationSummary | undefined>
  /** Listeners to call when the window or `loading` has changed. */
  readonly changed: Set<() => void>
  loading: Loading
  /** True while a listener shows the messages, so that they stay in memory. */
  isShown: boolean
  isLeft: boolean
  /** True while missing changes are being read, or will be after a delay. */
  isRepairing: boolean
  /** True while the summary is being requested. */
  isRequesting: boolean
  /** Number of times a conversation object from the server was merged. */
  merges: number
}

/** Progress of a first load. */
interface FirstLoad {
  readonly base: string | undefined
  epoch: string
  cursor: string | undefined
  isSynced: boolean
  readonly entries: Map<string, SyncEntry>
  nextPage: string | undefined
  isListed: boolean
  readonly summaries: Map<string, Conversation>
}

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

export class Replica {
  readonly #options: ReplicaOptions
  readonly #slots = new Map<string, ConversationReplica>()
  readonly #data: Cell<DataState>
  readonly #list: ComputedCell<readonly ConversationSummary[]>
  /**
   * Conversations that wait for data from the server. The cursor does not move while there are any.
   */
  readonly #outstanding = new Set<string>()
  /** Conversations with messages in memory, in order of use, least recently used first. */
  readonly #windows = new Map<string, ConversationReplica>()
  #epoch = ''
  #cursor: string | undefined
  #candidate: string | undefined
  readonly #dirty = new Set<string>()
  /**
   * Conversations that the user left and no stored cursor covers yet. `isCovered`: the candidate
   * cursor covers it.
   */
  readonly #leaving = new Map<string, { isCovered: boolean }>()
  /**
   * Conversations whose stored data is incomplete. Their summary is requested at the next
   * connection.
   */
  readonly #unsure = new Set<string>()
  /**
   * Conversations that only another client of this store knows. No cursor is written until the
   * server has reported their state.
   */
  readonly #foreign = new Set<string>()
  /** Generation of the stored data on which this copy is based. */
  #generation: string | undefined
  /**
   * True after another client cleared or replaced the stored data. Nothing is written until the
   * next first load.
   */
  #isDetached = false
  #saving: Promise<void> | undefined
  /** Runs one commit at a time, because the outcome of one commit decides about the next. */
  readonly #inOrder = createSerialQueue()
  #savedCursor: string | undefined
  #loadingAll: Promise<void> | undefined
  /** The first load that is still running or was interrupted. */
  #load: FirstLoad | undefined
  /**
   * Number of conversations on one page of a load, and of messages on one page. Both shrink after a
   * failure.
   */
  #pageSize: number = limits.pageMax
  #messagesPerPage: number = limits.pageDefault
  #isSaveDue = false
  #isStopped = false
  #isReset = false

  constructor(options: ReplicaOptions) {
    this.#options = options
    const { onError } = options
    this.#data = createCell<DataState>('empty', { onError })
    this.#list = createComputedCell(
      () => [...this.#slots.values()].flatMap(({ state }) => state?.summary ?? []).sort(compareByActivity),
      { onError },
    )
  }

  get data(): Observable<DataState> {
    return this.#data
  }

  /** True when there is no cursor to resume from. Call `firstLoad` before connecting. */
  get needsLoad(): boolean {
    return this.#cursor === undefined || this.#isReset
  }

  get conversations(): Observable<readonly ConversationSummary[]> {
    return this.#list
  }

  /** Cursor up to which everything was applied. */
  get cursor(): string | undefined {
    return this.#cursor
  }

  stop(): void {
    this.#isStopped = true
  }

  /** A method, because the flag can change during every await. */
  #hasStopped(): boolean {
    return this.#isStopped
  }

  /** Returns the entry of a conversation in the local copy. Creates it if necessary. */
  slot(id: string): ConversationReplica {
    const known = this.#slots.get(id)
    if (known !== undefined) return known
    const fresh: ConversationReplica = {
      id,
      timeline: new Timeline({ me: this.#options.me, appliedSeq: 0 }),
      state: undefined,
      summary: createCell<ConversationSummary | undefined>(undefined, { onError: this.#options.onError }),
      changed: new Set(),
      loading: 'nothing',
      isShown: false,
      isLeft: false,
      isRepairing: false,
      isRequesting: false,
      merges: 0,
    }
    this.#slots.set(id, fresh)
    return fresh
  }

  appliedSeqOf(id: string): number | undefined {
    const slot = this.#slots.get(id)
    return slot?.state === undefined ? undefined : slot.timeline.appliedSeq
  }

  /** Loads the stored data into memory. */
  async loadCached(): Promise<void> {
    const { store, me, users } = this.#options
    const record = await store.readReplica(me)
    if (record === undefined || this.#isStopped) return
    this.#epoch = record.epoch
    this.#cursor = record.cursor
    this.#savedCursor = record.cursor
    this.#generation = record.generation
    const restore = ({ id, appliedSeq }: RemovedRecord): ConversationReplica => {
      const slot = this.slot(id)
      slot.timeline = new Timeline({ me, appliedSeq })
      return slot
    }
    for (const removed of record.removed) restore(removed).isLeft = true
    const shown: { readonly one: ConversationRecord; readonly summary: ConversationSummary }[] = []
    for (const one of record.conversations) {
      if (one.left === true) {
        restore(one).isLeft = true
        this.#leaving.set(one.id, { isCovered: false })
      } else if (one.summary === undefined) {
        restore(one)
        this.#unsure.add(one.id)
      } else shown.push({ one, summary: toSummary(one.summary) })
    }
    const byActivity = shown.sort((left, right) => compareByActivity(left.summary, right.summary))
    for (const [index, { one, summary }] of byActivity.entries()) {
      const slot = this.slot(one.id)
      const window = index < windowsMax ? one.window : undefined
      slot.timeline = new Timeline({ me, appliedSeq: one.appliedSeq, ...(window && { window }) })
      if (window !== undefined) this.#windows.set(one.id, slot)
      this.#setState(slot, { summary, unreadAsOfSeq: one.unreadAsOfSeq ?? summary.seq })
      if (one.isUnreadUnsure === true) this.#unsure.add(one.id)
      users.put(summary.members.map(({ user }) => user))
      this.#tellChanged(slot)
    }
    this.#data.set('cached')
  }

  /**
   * Loads all conversations from the server: pages of `sync` without a cursor and, in parallel, the
   * conversation list, which is shown as it arrives. Pages read before a failure are kept, so that
   * each attempt on a slow line gets further.
   */
  firstLoad(): Promise<void> {
    // A second connection attempt may start while a load is running. Both share it.
    this.#loadingAll ??= this.#loadAll().finally(() => {
      this.#loadingAll = undefined
    })
    return this.#loadingAll
  }

  async #loadAll(): Promise<void> {
    const { store, me, onError } = this.#options
    if (this.#data.get() !== 'cached' || this.#cursor === undefined) this.#data.set('loading')
    for (let loads = 0; loads < firstLoadsMax; loads += 1) {
      this.#load ??= {
        // Read before the request, so that the server's response is newer than this generation of
        // the store.
        base: await store.readGeneration(me).catch((error: unknown) => void onError(error)),
        epoch: '',
        cursor: undefined,
        isSynced: false,
        entries: new Map(),
        nextPage: undefined,
        isListed: false,
        summaries: new Map(),
      }
      const load = this.#load
      const parts = await Promise.allSettled([this.#readEntries(load), this.#readSummaries(load)])
      if (this.#isStopped) return
      for (const part of parts) {
        if (part.status === 'fulfilled') continue
        this.#pageSize = Math.max(pageSizeMin, this.#pageSize >>> 1)
        throw part.reason
      }
      this.#load = undefined
      this.#pageSize = limits.pageMax
      // Wait for a running commit: it belongs to the previous copy.
      await this.#inOrder(() => Promise.resolve())
      if (this.#hasStopped()) return
      this.#replaceWith(load.epoch, load.cursor, load.entries, load.summaries)
      this.#generation = load.base
      this.#isDetached = false
      // A failing store must not prevent the user from chatting.
      const isKept = await this.#save(true).catch((error: unknown) => {
        onError(error)
        return true
      })
      if (isKept) return
    }
  }

  async #readEntries(load: FirstLoad): Promise<void> {
    for (let loads = 0, pages = 0; !load.isSynced; pages += 1) {
      const { cursor } = load
      const limit = this.#pageSize
      const page: SyncPage = await this.#options.api.call('sync', { limit, ...(cursor !== undefined && { cursor }) })
      if (cursor !== undefined && (page.reset === true || page.epoch !== load.epoch)) {
        loads += 1
        load.entries.clear()
      }
      if (loads >= firstLoadsMax || pages >= pagesMax) {
        throw new ChorusError('unavailable', 'unable to load conversations; the server restarted the load too often')
      }
      load.epoch = page.epoch
      load.cursor = page.cursor
      for (const entry of page.conversations)
        load.entries.set(entry.conversation, mergeEntry(load.entries.get(entry.conversation), entry))
      // A page with `reset` is also the first page of a new load.
      load.isSynced = !page.more
    }
  }

  async #readSummaries(load: FirstLoad): Promise<void> {
    for (let pages = 0; !load.isListed && pages < pagesMax; pages += 1) {
      const { nextPage } = load
      const answer = await this.#options.api.call('list-conversations', {
        // The first page is short, because the user waits for it.
        limit: nextPage === undefined ? Math.min(firstPageSize, this.#pageSize) : this.#pageSize,
        ...(nextPage !== undefined && { page: nextPage }),
      })
      if (this.#isStopped) return
      for (const conversation of answer.conversations) {
        load.summaries.set(conversation.id, conversation)
        this.#options.users.put(conversation.members.map(({ user }) => user))
        const slot = this.slot(conversation.id)
        const isNew = this.#cursor === undefined && slot.state === undefined && !slot.isLeft
        if (isNew) this.#setState(slot, { summary: toSummary(conversation), unreadAsOfSeq: conversation.seq })
      }
      load.nextPage = answer.next
      load.isListed = answer.next === undefined
    }
  }

  /** Applies one event of the current connection. */
  handle(event: ServerEvent): void {
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
        if (this.#epoch !== '' && event.payload.epoch !== this.#epoch) {
          this.#reset()
          return
        }
        this.#epoch = event.payload.epoch
        for (const id of this.#unsure) this.#requestSummaryLater(this.slot(id))
        this.#cover(event.payload.cursor)
        this.#data.set('live')
        return
      case 'reset':
        this.#reset()
        return
      case 'live':
      case 'presence':
      case 'moving':
      case 'closing':
        return
    }
  }

  /** Adds or updates a conversation from the response to a command. */
  upsert(conversation: Conversation): ConversationSummary {
    const slot = this.slot(conversation.id)
    if (slot.state === undefined || slot.isLeft) {
      this.#enter(slot)
      this.#applyStep(slot, slot.timeline.applyLimited(conversation.seq, undefined))
    }
    this.#merge(slot, conversation)
    return slot.state?.summary ?? toSummary(conversation)
  }

  /** Removes a conversation that the user left by a command. */
  remove(id: string): void {
    const slot = this.#slots.get(id)
    if (slot !== undefined) this.#leave(slot)
  }

  /**
   * Moves the read marker in the local copy. Returns false when the unread count can only come from
   * the server.
   */
  markRead(id: string, seq: number): boolean {
    const slot = this.#slots.get(id)
    if (slot?.state === undefined) return false
    const { summary, unreadAsOfSeq } = slot.state
    if (seq <= summary.readSeq) return true
    const unread = countUnreadInWindow(summary, slot.timeline.window, seq, this.#options.me)
    this.#setState(slot, { summary: { ...summary, readSeq: seq, unread: unread ?? summary.unread }, unreadAsOfSeq })
    this.#dirty.add(id)
    return unread !== undefined
  }

  /** Requests the current state of the conversation from the server. */
  async refresh(id: string): Promise<void> {
    const slot = this.#slots.get(id)
    if (slot !== undefined) await this.#requestSummary(slot)
  }

  /** Loads a page into the window. Does nothing while another page is loading. */
  async loadPage(id: string, what: Exclude<Loading, 'nothing'>, around?: number): Promise<void> {
    const slot = this.slot(id)
    if (slot.loading !== 'nothing') return
    slot.loading = what
    this.#tellChanged(slot)
    try {
      for (let joins = 0; joins < joinsMax; joins += 1) {
        const request = toPageRequest(slot, what, around)
        if (request === undefined) return
        const page = await this.#readMessages(id, request.query)
        if (slot.timeline.applyPage(page, request.placement) === 'applied') {
          this.#useWindow(slot)
          this.#dirty.add(id)
          if (!this.#isStopped) this.#saveLater()
          return
        }
      }
      throw new ChorusError('unavailable', 'unable to load messages; the conversation changes too fast')
    } finally {
      slot.loading = 'nothing'
      this.#tellChanged(slot)
    }
  }

  /** Reads a page of messages. After a failure the next request asks for a smaller page. */
  async #readMessages(conversation: string, query: PageRequest['query']): Promise<MessagePage> {
    const limit = this.#messagesPerPage
    try {
      const page = await this.#options.api.call('list-messages', {
        conversation,
        ...query,
        ...(limit < limits.pageDefault && { limit }),
      })
      this.#messagesPerPage = Math.min(limits.pageDefault, limit * 2)
      return page
    } catch (error) {
      if (error instanceof ChorusError && error.code === 'unavailable') {
        this.#messagesPerPage = Math.max(pageSizeMin, limit >>> 1)
      }
      throw error
    }
  }

  /**
   * Stores all applied changes and the cursor. Call it after `stop`, so that no further changes
   * arrive.
   */
  async flush(): Promise<void> {
    await this.#saving
    if (this.#isBehind()) await this.#save(false)
  }

  #reset(): void {
    this.#isReset = true
    this.#options.onReset()
  }

  #applyChanges({ conversation, changes }: EventPayload<'changes'>): void {
    const slot = this.slot(conversation)
    const first = changes[0]
    if (first === undefined) return
    const isNew = slot.state === undefined && slot.timeline.appliedSeq === 0
    // This conversation is new to the local copy. Earlier changes are history to page through, not
    // missing changes.
    if (isNew) slot.timeline.skipTo(first.type === 'skip' ? first.from : first.seq)
    this.#applyStep(slot, slot.timeline.applyChanges(changes))
    if (slot.state === undefined && !slot.isLeft) this.#requestSummaryLater(slot)
  }

  #applyConversation(payload: EventPayload<'conversation'>): void {
    const { conversation, limited, left, seq, readSeq, unread, messages } = payload
    const slot = this.slot(conversation)
    if (left === true) {
      this.#applyStep(slot, slot.timeline.skipTo(seq))
      this.#leave(slot)
      return
    }
    if (limited === true) {
      this.#enter(slot)
      const isNews = seq > slot.timeline.appliedSeq
      this.#applyStep(slot, slot.timeline.applyLimited(seq, messages))
      if (slot.timeline.window !== undefined) this.#useWindow(slot)
      this.#dirty.add(conversation)
      this.#tellChanged(slot)
      if (isNews) guarded(() => this.#options.onLimited({ conversation, seq }), this.#options.onError)
      this.#applyMarker(slot, seq, readSeq, unread)
      // The name and the members may have changed in the skipped changes.
      this.#requestSummaryLater(slot)
      return
    }
    this.#applyMarker(slot, seq, readSeq, unread)
  }

  #applyMarker(slot: ConversationReplica, seq: number, readSeq: number, unread: number): void {
    if (slot.state === undefined) return
    const { summary, unreadAsOfSeq } = slot.state
    if (readSeq < summary.readSeq) return
    this.#dirty.add(slot.id)
    if (seq >= unreadAsOfSeq) {
      this.#setState(slot, { summary: { ...summary, readSeq, unread }, unreadAsOfSeq: seq })
      return
    }
    // The local copy already contains changes that are newer than this count.
    const counted = countUnreadInWindow(summary, slot.timeline.window, readSeq, this.#options.me)
    this.#setState(slot, { summary: { ...summary, readSeq, unread: counted ?? unread }, unreadAsOfSeq })
    if (counted === undefined) this.#requestSummaryLater(slot)
  }

  /** Passes the changes released by the timeline to the summary and the application, in order. */
  #applyStep(slot: ConversationReplica, { applied, next }: TimelineStep): void {
    const { me, onMoved } = this.#options
    // The position moved in either case. It must be stored, or the changes are reported again after
    // a restart (rule CLI1).
    this.#dirty.add(slot.id)
    for (const change of applied) {
      // The conversation object from the server may already include this change.
      const isNews = change.seq > (slot.state?.summary.seq ?? 0)
      if (slot.state !== undefined) this.#setState(slot, applyChangeToSummary(slot.state, change, me))
      if (isNews) this.#onMembership(slot, change)
    }
    if (applied.length > 0) {
      this.#tellChanged(slot)
      this.#saveSoon()
    }
    const epoch = this.#epoch
    for (const change of applied) {
      guarded(() => this.#options.onChange({ epoch, conversation: slot.id, change }), this.#options.onError)
    }
    onMoved(slot.id, slot.timeline.appliedSeq)
    if (next === 'read-missing') this.#repairLater(slot)
  }

  #onMembership(slot: ConversationReplica, change: Change): void {
    if (change.type === 'member.left' && change.user === this.#options.me) this.#leave(slot)
    if (change.type === 'member.joined' && change.user !== this.#options.me) {
      this.#addMember(slot, change.user, change.role, change.seq).catch(() => undefined)
    }
  }

  /**
   * Adds a new member to the summary, which names only the first few members. Needs the member's
   * profile.
   */
  async #addMember(slot: ConversationReplica, userId: string, role: Role, joinedSeq: number): Promise<void> {
    const isWanted = (): boolean => {
      const members = slot.state?.summary.members
      return (
        members !== undefined && members.length < limits.membersShown && members.every(({ user }) => user.id !== userId)
      )
    }
    if (!isWanted()) return
    const { merges } = slot
    const user = await this.#options.users.get(userId)
    // The member may have left in the meantime, or a newer member list may have come from the
    // server.
    const since = slot.timeline.changesAfter(joinedSeq)
    const isGone = since?.some((change) => change.type === 'member.left' && change.user === userId) ?? true
    if (isGone || merges !== slot.merges || !isWanted() || slot.state === undefined) return
    const { summary, unreadAsOfSeq } = slot.state
    const members = [...summary.members, { user, role, joinedSeq, readSeq: 0 }]
    this.#setState(slot, { summary: { ...summary, members }, unreadAsOfSeq })
    this.#dirty.add(slot.id)
  }

  #repairLater(slot: ConversationReplica): void {
    if (slot.isRepairing) return
    slot.isRepairing = true
    this.#outstanding.add(slot.id)
    this.#options.clock.after(gapPauseMs, () => {
      this.#repair(slot, 0).catch(this.#options.onError)
    })
  }

  async #repair(slot: ConversationReplica, attempt: number): Promise<void> {
    const { api, clock } = this.#options
    try {
      for (let pages = 0; slot.timeline.isMissing && !slot.isLeft && !this.#isStopped; pages += 1) {
        const after = slot.timeline.appliedSeq
        const answer = await api.call('list-changes', { conversation: slot.id, after, limit: limits.pageMax })
        if (this.#hasStopped()) return
        this.#applyStep(slot, slot.timeline.applyChanges(answer.changes.filter(isChange)))
        if (slot.timeline.appliedSeq === after || pages >= pagesMax) {
          throw new ChorusError('unavailable', 'unable to load missing changes; the server does not have them yet')
        }
      }
    } catch (error) {
      if (this.#hasStopped()) return
      if (error instanceof ChorusError && error.code === 'not-found') {
        // The user was removed in the meantime. The held changes may contain that removal.
        this.#applyStep(slot, slot.timeline.skipTo())
        this.#leave(slot)
      } else {
        const retryAfterMs = error instanceof ChorusError ? error.retryAfterMs : undefined
        const delayMs = backoffDelayMs(attempt, clock, retryAfterMs)
        clock.after(delayMs, () => {
          this.#repair(slot, attempt + 1).catch(this.#options.onError)
        })
        return
      }
    }
    slot.isRepairing = false
    this.#settle(slot)
  }

  #requestSummaryLater(slot: ConversationReplica): void {
    if (slot.isRequesting) return
    this.#requestSummary(slot).catch(this.#options.onError)
  }

  async #requestSummary(slot: ConversationReplica, attempt = 0): Promise<void> {
    const { api, clock } = this.#options
    slot.isRequesting = true
    this.#outstanding.add(slot.id)
    try {
      const { conversation } = await api.call('get-conversation', { conversation: slot.id })
      this.#options.users.put(conversation.members.map(({ user }) => user))
      if (this.#isStopped) return
      // The server also returns public channels to non-members.
      if (conversation.role === null) this.#leave(slot)
      else if (!slot.isLeft && !this.#merge(slot, conversation)) {
        throw new ChorusError('unavailable', 'unable to show conversation; the response is older than the local copy')
      }
    } catch (error) {
      if (this.#isStopped) return
      const isFinal = !(error instanceof ChorusError) || error.retry === 'never'
      if (!isFinal) {
        clock.after(backoffDelayMs(attempt, clock, error.retryAfterMs), () => {
          this.#requestSummary(slot, attempt + 1).catch(this.#options.onError)
        })
        return
      }
      if (error instanceof ChorusError && error.code === 'not-found') this.#leave(slot)
    }
    slot.isRequesting = false
    this.#settle(slot)
  }

  /**
   * Merges a conversation object from the server with the changes applied here since. Returns false
   * when the object is too old for that. Keeping the known object instead would be wrong: after a
   * `limited` resume it lacks the skipped changes.
   */
  #merge(slot: ConversationReplica, conversation: Conversation): boolean {
    const known = slot.state?.summary
    const since = slot.timeline.changesAfter(conversation.seq)
    if (since === undefined) return false
    slot.merges += 1
    this.#unsure.delete(slot.id)
    this.#dirty.add(slot.id)
    const fresh = toSummary(conversation)
    // A read marker moved here may not have reached the server yet.
    const isAhead = known !== undefined && known.readSeq > fresh.readSeq
    const base = isAhead ? { ...fresh, readSeq: known.readSeq } : fresh
    const state = since.reduce((so, change) => applyChangeToSummary(so, change, this.#options.me), {
      summary: base,
      unreadAsOfSeq: conversation.seq,
    })
    const unread = isAhead ? (this.#countUnread(slot, state.summary) ?? known.unread) : state.summary.unread
    this.#setState(slot, { ...state, summary: { ...state.summary, unread } })
    for (const change of since) this.#onMembership(slot, change)
    return true
  }

  #countUnread(slot: ConversationReplica, summary: ConversationSummary): number | undefined {
    return countUnreadInWindow(summary, slot.timeline.window, summary.readSeq, this.#options.me)
  }

  #settle(slot: ConversationReplica): void {
    if (slot.isRepairing || slot.isRequesting) return
    this.#outstanding.delete(slot.id)
    if (slot.isLeft || slot.state !== undefined) this.#foreign.delete(slot.id)
    this.#coverNow()
    if (this.#isBehind()) this.#saveSoon()
  }

  #cover(cursor: string): void {
    this.#candidate = cursor
    for (const leaving of this.#leaving.values()) leaving.isCovered = true
    this.#coverNow()
  }

  #coverNow(): void {
    if (this.#outstanding.size > 0 || this.#candidate === undefined || this.#isStopped) return
    this.#cursor = this.#candidate
    this.#candidate = undefined
    for (const [id, { isCovered }] of this.#leaving) {
      if (!isCovered) continue
      this.#leaving.delete(id)
      this.#dirty.add(id)
    }
    this.#saveLater()
  }

  /**
   * Stores applied changes soon, without waiting for a cursor that covers them. A message leaves
   * the outbox when its change is applied, so it must be in the store for a reload without a
   * server. Changes that a resume repeats are dropped by seq.
   */
  #saveSoon(): void {
    if (this.#isSaveDue || this.#isStopped) return
    this.#isSaveDue = true
    this.#options.clock.after(saveSoonMs, () => {
      this.#isSaveDue = false
      if (!this.#isStopped) this.#saveLater()
    })
  }

  #saveLater(): void {
    if (this.#saving !== undefined || this.#isStopped) return
    const again = (delayMs: number): void => {
      this.#saving = undefined
      if (this.#isBehind() && !this.#isStopped) this.#options.clock.after(delayMs, () => this.#saveLater())
    }
    this.#saving = this.#save(false).then(
      () => again(gapPauseMs),
      (error: unknown) => {
        this.#options.onError(error)
        again(savePauseMs)
      },
    )
  }

  /** Returns whether there is something to store. */
  #isBehind(): boolean {
    if (this.#isDetached || this.#cursor === undefined) return false
    return this.#dirty.size > 0 || (this.#cursor !== this.#savedCursor && this.#foreign.size === 0)
  }

  #save(isWhole: boolean): Promise<boolean> {
    return this.#inOrder(() => this.#saveNow(isWhole))
  }

  /**
   * Stores the cursor and everything it covers in one transaction. Returns false when another
   * client has replaced the data.
   */
  async #saveNow(isWhole: boolean): Promise<boolean> {
    const { store, me } = this.#options
    const cursor = this.#cursor
    if (cursor === undefined || this.#epoch === '' || this.#isDetached) return true
    const ids = isWhole ? [...this.#slots.keys()] : [...this.#dirty]
    this.#dirty.clear()
    try {
      const outcome = await store.commitReplica(me, {
        epoch: this.#epoch,
        base: this.#generation,
        ...(this.#foreign.size === 0 && { cursor }),
        conversations: ids.flatMap((id) => this.#toRecord(id)),
        removed: ids.flatMap((id) => this.#toRemoved(id)),
        ...(isWhole && { replace: true }),
      })
      if (outcome.kind === 'refused') return await this.#onRefused(outcome, isWhole)
      this.#generation = outcome.generation
      for (const record of outcome.foreign) this.#applyForeign(record)
      if (this.#foreign.size === 0) this.#savedCursor = cursor
      return true
    } catch (error) {
      for (const id of ids) this.#dirty.add(id)
      this.#savedCursor = undefined
      throw error
    }
  }

  /**
   * Handles a refused commit: another client cleared or replaced the stored data. Within the same
   * epoch this copy can be merged into the new data. After a change of epoch or a sign-out, only a
   * new first load gives the true state.
   */
  async #onRefused(
    { epoch, generation }: { readonly epoch: string | undefined; readonly generation: string | undefined },
    isWhole: boolean,
  ): Promise<boolean> {
    if (!isWhole && epoch === this.#epoch) {
      this.#generation = generation
      return this.#saveNow(true)
    }
    this.#isDetached = true
    return false
  }

  /**
   * Handles a conversation that only the store knows. Either another client joined it, or this
   * client missed that the user left it. The server is asked which.
   */
  #applyForeign({ id, appliedSeq, window }: ConversationRecord): void {
    const slot = this.slot(id)
    if (slot.state !== undefined || this.#isStopped) return
    const known = slot.timeline.appliedSeq
    if (appliedSeq > known) {
      slot.timeline = new Timeline({ me: this.#options.me, appliedSeq, ...(window && { window }) })
      // The other client received these changes. This client never will, so it reports a gap (rule
      // CLI1).
      if (known > 0)
        guarded(() => this.#options.onLimited({ conversation: id, seq: appliedSeq }), this.#options.onError)
    }
    this.#enter(slot)
    this.#foreign.add(id)
    this.#requestSummaryLater(slot)
  }

  #toRecord(id: string): ConversationRecord[] {
    const slot = this.#slots.get(id)
    if (slot === undefined || (slot.isLeft && !this.#leaving.has(id))) return []
    const { appliedSeq } = slot.timeline
    if (slot.isLeft) return appliedSeq === 0 ? [] : [{ id, appliedSeq, left: true }]
    // The user has just joined. Store the position, although the summary has not arrived yet.
    if (slot.state === undefined) return appliedSeq === 0 ? [] : [{ id, appliedSeq }]
    const { summary, unreadAsOfSeq } = slot.state
    const window = slot.timeline.toRecord(cachedMessagesMax)
    return [
      {
        id,
        summary,
        appliedSeq,
        ...(unreadAsOfSeq !== summary.seq && { unreadAsOfSeq }),
        ...(this.#unsure.has(id) && { isUnreadUnsure: true }),
        ...(window && { window }),
      },
    ]
  }

  #toRemoved(id: string): RemovedRecord[] {
    const slot = this.#slots.get(id)
    const isRemoved = slot?.isLeft === true && !this.#leaving.has(id) && slot.timeline.appliedSeq > 0
    return isRemoved ? [{ id, appliedSeq: slot.timeline.appliedSeq }] : []
  }

  #replaceWith(
    epoch: string,
    cursor: string | undefined,
    entries: ReadonlyMap<string, SyncEntry>,
    summaries: ReadonlyMap<string, Conversation>,
  ): void {
    const { me } = this.#options
    const isSameHistory = epoch === this.#epoch
    this.#epoch = epoch
    this.#cursor = cursor
    this.#isReset = false
    this.#candidate = undefined
    this.#windows.clear()
    this.#dirty.clear()
    this.#leaving.clear()
    this.#unsure.clear()
    this.#foreign.clear()
    for (const slot of [...this.#slots.values()]) {
      const entry = entries.get(slot.id)
      if (entry === undefined || entry.left === true) this.#leave(slot)
      // Seq numbers of another database epoch mean nothing here.
      if (!isSameHistory) slot.timeline = new Timeline({ me, appliedSeq: 0 })
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
      if (index < windowsMax) this.#windows.set(slot.id, slot)
      else slot.timeline.dropWindow()
      this.#applyStep(slot, slot.timeline.applyLimited(entry.seq, index < windowsMax ? entry.messages : undefined))
      this.#applyStep(slot, slot.timeline.applyChanges(entry.changes))
      // The list may be older than the changes applied here.
      if (conversation === undefined || !this.#merge(slot, conversation)) this.#requestSummaryLater(slot)
      if (isNews)
        guarded(() => this.#options.onLimited({ conversation: slot.id, seq: entry.seq }), this.#options.onError)
      this.#dirty.add(slot.id)
      this.#tellChanged(slot)
    }
  }

  #enter(slot: ConversationReplica): void {
    slot.isLeft = false
    this.#leaving.delete(slot.id)
  }

  #leave(slot: ConversationReplica): void {
    if (!this.#leaving.has(slot.id)) this.#leaving.set(slot.id, { isCovered: false })
    slot.isLeft = true
    slot.state = undefined
    slot.timeline.dropWindow()
    slot.summary.set(undefined)
    this.#windows.delete(slot.id)
    this.#unsure.delete(slot.id)
    this.#foreign.delete(slot.id)
    this.#dirty.add(slot.id)
    this.#list.invalidate()
    this.#tellChanged(slot)
  }

  #setState(slot: ConversationReplica, state: SummaryState): void {
    if (slot.isLeft) return
    slot.state = state
    slot.summary.set(state.summary)
    this.#list.invalidate()
  }

  /**
   * Marks the window as most recently used. If too many are in memory, drops the least recently
   * used one that is not shown.
   */
  #useWindow(slot: ConversationReplica): void {
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

  #tellChanged(slot: ConversationReplica): void {
    for (const tell of [...slot.changed]) tell()
  }
}

/**
 * Merges two entries of one load for the same conversation. The later entry continues the earlier
 * one.
 */
function mergeEntry(known: SyncEntry | undefined, entry: SyncEntry): SyncEntry {
  if (known === undefined || entry.messages !== undefined || entry.left === true) return entry
  return {
    ...known,
    ...entry,
    changes: [...known.changes, ...entry.changes],
    seq: known.seq,
    ...(known.messages && { messages: known.messages }),
  }
}

function compareActivityOf(left: Conversation | undefined, right: Conversation | undefined): number {
  if (left === undefined || right === undefined) return left === right ? 0 : left === undefined ? 1 : -1
  return compareByActivity(toSummary(left), toSummary(right))
}

interface PageRequest {
  readonly query: { readonly before?: number; readonly after?: number; readonly around?: number }
  readonly placement: PagePlacement
}

/**
 * Returns the request for a page, or undefined when there are no more messages in that direction.
 */
function toPageRequest(
  { timeline }: ConversationReplica,
  what: Loading,
  around: number | undefined,
): PageRequest | undefined {
  const { window } = timeline
  switch (what) {
    case 'nothing':
      return undefined
    case 'newest':
      return { query: {}, placement: { at: 'whole' } }
    case 'around':
      return { query: around === undefined ? {} : { around }, placement: { at: 'whole' } }
    case 'older': {
      const before = window?.entries[0]?.message.seq
      if (window === undefined || before === undefined) return { query: {}, placement: { at: 'whole' } }
      return window.hasBefore ? { query: { before }, placement: { at: 'older', before } } : undefined
    }
    case 'newer': {
      const after = window?.entries.at(-1)?.message.seq
      if (window === undefined || after === undefined) return { query: {}, placement: { at: 'whole' } }
      return window.hasAfter ? { query: { after }, placement: { at: 'newer', after } } : undefined
    }
  }
}
