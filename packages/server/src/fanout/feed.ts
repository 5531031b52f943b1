/**
 * One conversation on this server: puts what arrives in order and hands it to the subscribers (rules NODE1, ACL1).
 *
 * It keeps the next seq to deliver. Equal: deliver. Lower: drop. Higher: hold, wait a moment for what overtakes, then ask
 * for the missing range, once however many wait. Each subscriber gets each seq once: a connection joins with "I have
 * everything up to n", is given the rest from the recent changes, and from then on the shared frames.
 *
 * A batch ends after every change of membership, and the set of subscribers changes before the next seq is written.
 */
import type { Id } from '@chorus/protocol'
import type { LoggedChange } from '../support/logged-change.ts'
import { isRewrite, withNewestState } from '../support/message-state.ts'
import type { Connection } from './connection.ts'
import type { Flushable } from './flusher.ts'
import { changesFrame, type Frame, frameOf } from './frame.ts'
import type { RecentBudget } from './recent-budget.ts'
import { RecentChanges } from './recent-changes.ts'
import { splitBatches } from './split-batches.ts'

export const feedBounds = {
  /** Changes held while a gap is open; beyond it they are dropped and read again. */
  heldMax: 1_000,
  /** How long a gap may close by itself. */
  gapWaitMs: 75,
  /** Writes between two points where a flush may give way. */
  writesPerSlice: 250,
} as const

export interface FeedHost {
  /** Of the recent changes of all feeds. */
  readonly recentBudget: RecentBudget
  /** Asks for a flush of this feed. */
  schedule(feed: Flushable): void
  /** Waits a moment, then reads the missing range from the primary and gives it to `accept`. */
  repair(feed: Feed): void
  /** Somebody joined: their connections here join too. */
  joined(conversation: Id, user: Id): void
  /** Somebody left. */
  left(conversation: Id, user: Id): void
  /** A removal has ended these subscriptions. What was said of their user since was answered with "already subscribed". */
  unsubscribed(conversation: Id, connections: readonly Connection[]): void
  /** Everything that a sweep found has been written to every subscriber. */
  caughtUp(feed: Feed): void
  /** Changes were handed to so many subscribers, `waitedMs` after the first of them came. */
  delivered(changes: number, subscribers: number, waitedMs: number, feed: Feed, firstSeq: number): void
  nowMs(): number
  connectionsOf(user: Id): ReadonlySet<Connection>
}

/** What a read of a gap gave. */
export interface GapPage {
  /** Consecutive, from the first one asked for on. */
  readonly changes: readonly LoggedChange[]
  /** Top of the log when it was read: a message in it is as it was then. */
  readonly asOf: number
  /** The removals of those who were no members then, and left within the gap or after it. */
  readonly removals: readonly LoggedChange[]
}

/** A join under way: between reading and subscribing a removal may come. */
export interface Join {
  readonly connection: Connection
  /** The change that removed this user meanwhile. */
  left: LoggedChange | undefined
}

export type JoinOutcome =
  | { readonly kind: 'subscribed' }
  | { readonly kind: 'left'; readonly change: LoggedChange }
  /** Read these, then try again. */
  | { readonly kind: 'missing'; readonly from: number; readonly to: number }

export class Feed implements Flushable {
  readonly conversation: Id
  readonly recent: RecentChanges
  readonly #host: FeedHost
  /** Next seq to accept; undefined until somebody has read how far the log goes. */
  #next: number | undefined
  readonly #held = new Map<number, LoggedChange>()
  #outgoing: LoggedChange[] = []
  /** Newest seq written to the subscribers. */
  #flushed = 0
  /** Newest seq known to exist. */
  #top = 0
  /** Newest seq that every subscriber has been written. */
  #written = 0
  /** Newest seq that a sweep found. */
  #due = 0
  /** Where this feed began: it has seen no change at or before this one pass by. */
  #base = 0
  /** Newest seq of an edit or a deletion that came by here. */
  #rewrittenSeq = 0
  #isFlushing = false
  #isEnded = false
  /** Whose subscription ended while a batch is being written: what is left of it is not for them. */
  readonly #gone = new Set<Connection>()
  /** When the oldest change that waits to be flushed came. */
  #waitingSinceMs = 0
  readonly #subscribers = new Set<Connection>()
  /** Subscribers that have everything up to a seq that is not flushed yet. */
  readonly #ahead = new Map<Connection, number>()
  readonly #joins = new Set<Join>()

  constructor(conversation: Id, host: FeedHost) {
    this.conversation = conversation
    this.#host = host
    this.recent = new RecentChanges(host.recentBudget)
  }

  get subscribers(): ReadonlySet<Connection> {
    return this.#subscribers
  }

  /** The newest edit or deletion known here: what was read of the log before it is not shown any more (rule ERASE1). */
  get rewrittenSeq(): number {
    return this.#rewrittenSeq
  }

  /** How far the log is known to go here. */
  get knownTop(): number {
    return this.#top
  }

  /** Nobody here needs it. */
  get isUnused(): boolean {
    return this.#subscribers.size === 0 && this.#joins.size === 0
  }

  /** Its history is over: nothing of it is accepted or written any more. */
  end(): void {
    this.#isEnded = true
    this.#outgoing = []
    this.#held.clear()
  }

  /** The range that is missing, if any. */
  get gap(): { readonly from: number; readonly to: number } | undefined {
    return this.#next === undefined || this.#next > this.#top ? undefined : { from: this.#next, to: this.#top }
  }

  /** What is missing, when those who came back meanwhile have loaded it: as a read of the gap gives it. */
  get loadedGap(): GapPage | undefined {
    const { gap, recent } = this
    if (gap === undefined || recent.newestSeq < gap.to) return undefined
    const rest = recent.range(gap.from, recent.newestSeq)
    if (rest === undefined) return undefined
    const last = new Map<Id, LoggedChange>()
    for (const change of rest) {
      const { effect } = change
      if (effect?.kind === 'left') last.set(effect.user, change)
      if (effect?.kind === 'joined') last.delete(effect.user)
    }
    return { changes: rest.slice(0, gap.to - gap.from + 1), asOf: recent.asOf, removals: [...last.values()] }
  }

  /** Has everything known been written to the subscribers? */
  get isSettled(): boolean {
    return this.#next === undefined || (!this.#isFlushing && this.#outgoing.length === 0 && this.#flushed >= this.#top)
  }

  /** Is something that a sweep found not yet written to every subscriber? Then no checkpoint covers it (rule CP1). */
  get isLagging(): boolean {
    return this.#next !== undefined && this.#written < this.#due
  }

  /** A sweep found that the log goes this far. True when that is not written yet. */
  demand(seq: number): boolean {
    this.#due = Math.max(this.#due, seq)
    this.noteTop(seq)
    return this.isLagging
  }

  /** Has this removal passed by? Then no connection of that user has any business here. */
  hasWritten(seq: number): boolean {
    return this.#next !== undefined && this.#written >= seq
  }

  /** Says how far the log goes, read from the database. What is newer than what was delivered is repaired. */
  noteTop(seq: number): void {
    if (this.#next === undefined) {
      this.#next = seq + 1
      this.#base = seq
      this.#flushed = seq
      this.#written = seq
      this.#top = Math.max(this.#top, seq)
      this.#acceptHeld()
      return
    }
    this.#top = Math.max(this.#top, seq)
    if (this.gap !== undefined) this.#host.repair(this)
  }

  /** The log turned out to end here: a hint that named more is not believed. */
  correctTop(seq: number): void {
    if (this.#next === undefined) return
    this.#top = Math.max(this.#next - 1, seq)
    this.recent.endAt(this.#top)
    for (const held of this.#held.keys()) if (held > this.#top) this.#held.delete(held)
  }

  /** NODE1: equal, lower, or higher than the next seq. */
  accept(change: LoggedChange): void {
    if (this.#isEnded) return
    this.#top = Math.max(this.#top, change.seq)
    if (change.seq > this.#rewrittenSeq && isRewrite(change)) this.#rewrittenSeq = change.seq
    // Whoever comes back needs it, though it is too early for the subscribers, or they have read it.
    if (change.seq !== this.#next) this.recent.follow(change)
    if (this.#next !== undefined && change.seq < this.#next) return
    if (change.seq === this.#next) {
      this.#take(change)
      this.#acceptHeld()
      return
    }
    if (this.#held.size >= feedBounds.heldMax) this.#held.clear()
    this.#held.set(change.seq, change)
    if (this.#next !== undefined) this.#host.repair(this)
  }

  /**
   * What a read of a gap gave. Its messages may show edits that are newer than a removal which has not passed by yet, so
   * those who were removed leave first, with nothing but their removal (rule ACL1).
   */
  acceptPage({ changes, asOf, removals }: GapPage): void {
    if (this.#isEnded) return
    for (const removal of removals) {
      const user = removal.effect?.user
      if (user === undefined) continue
      const leaving = this.#announceLeaving(user, removal)
      for (const connection of leaving) {
        connection.send(changesFrame(this.conversation, [removal]))
        this.remove(connection)
      }
      if (leaving.length > 0) this.#host.unsubscribed(this.conversation, leaving)
    }
    this.recent.noteRead(asOf)
    for (const change of changes) this.accept(change)
  }

  /** What a load of the recent changes gave, and what has come after it. */
  acceptRecent(read: readonly LoggedChange[]): void {
    this.recent.merge(read)
    for (;;) {
      const following = this.#held.get(this.recent.newestSeq + 1)
      if (following === undefined) return
      this.recent.append(following)
    }
  }

  beginJoin(connection: Connection): Join {
    const join: Join = { connection, left: undefined }
    this.#joins.add(join)
    return join
  }

  /** Ends a join without a subscription. */
  abandonJoin(join: Join): void {
    this.#joins.delete(join)
  }

  /** The connection has been sent everything up to `seq`. Hands it the rest and subscribes it, in one turn. */
  finishJoin(join: Join, seq: number): JoinOutcome {
    // A removal at or before what was read is history: they have joined again since.
    if (join.left !== undefined && join.left.seq > seq) {
      this.#joins.delete(join)
      return { kind: 'left', change: join.left }
    }
    if (this.#next === undefined) this.noteTop(seq)
    // What this feed has not seen pass by may hold this user's removal: it is read with the test of membership (ACL1).
    if (seq < this.#base) return { kind: 'missing', from: seq + 1, to: this.#base }
    if (seq < this.#flushed) {
      // What was read as of a later seq than the one at which this user was seen to be a member is read with the test, too.
      const rest = this.recent.asOf > seq ? undefined : this.recent.range(seq + 1, this.#flushed)
      if (rest === undefined) return { kind: 'missing', from: seq + 1, to: this.#flushed }
      for (const batch of splitBatches(rest)) join.connection.send(changesFrame(this.conversation, batch))
    }
    this.#joins.delete(join)
    if (!join.connection.isOpen) return { kind: 'subscribed' }
    this.#subscribers.add(join.connection)
    join.connection.conversations.add(this.conversation)
    join.connection.removalsTold.delete(this.conversation)
    if (seq > this.#flushed) {
      this.#ahead.set(join.connection, seq)
      this.noteTop(seq)
    }
    return { kind: 'subscribed' }
  }

  has(connection: Connection): boolean {
    return this.#subscribers.has(connection)
  }

  isJoining(connection: Connection): boolean {
    for (const join of this.#joins) if (join.connection === connection) return true
    return false
  }

  remove(connection: Connection): void {
    if (this.#subscribers.delete(connection) && this.#isFlushing) this.#gone.add(connection)
    this.#ahead.delete(connection)
    connection.conversations.delete(this.conversation)
  }

  /** Sends something that is no change (live values) to every subscriber that is not behind; the others get it later. */
  broadcast(frame: Frame, onBehind: (connection: Connection) => void): void {
    for (const connection of this.#subscribers) {
      if (connection.isBehind) onBehind(connection)
      else connection.send(frame)
    }
  }

  *flush(): Generator<void, void, void> {
    if (this.#isFlushing) return
    this.#isFlushing = true
    try {
      while (this.#outgoing.length > 0) {
        const changes = this.#outgoing
        this.#outgoing = []
        for (const batch of splitBatches(withNewestState(changes))) {
          if (this.#isEnded) return
          yield* this.#deliver(batch)
        }
      }
    } finally {
      this.#isFlushing = false
    }
  }

  *#deliver(batch: readonly LoggedChange[]): Generator<void, void, void> {
    const first = (batch[0] as LoggedChange).seq
    const newest = batch.at(-1) as LoggedChange
    const { effect } = newest
    this.#flushed = newest.seq

    const leaving = effect?.kind === 'left' ? this.#announceLeaving(effect.user, newest) : []
    const frame = changesFrame(this.conversation, batch)
    const receivers = [...this.#subscribers]
    this.#gone.clear()
    let writes = 0
    for (const connection of receivers) {
      if (this.#gone.has(connection)) continue
      const upTo = this.#ahead.size === 0 ? undefined : this.#ahead.get(connection)
      if (upTo === undefined) connection.send(frame)
      else this.#deliverAhead(connection, upTo, first, batch)
      if (++writes % feedBounds.writesPerSlice === 0) yield
    }
    this.#written = newest.seq
    // ACL1: before the next seq is written.
    const unsubscribed = leaving.filter((connection) => !this.#gone.has(connection))
    for (const connection of unsubscribed) this.remove(connection)
    // Before the feed may end and a checkpoint may leave.
    if (unsubscribed.length > 0) this.#host.unsubscribed(this.conversation, unsubscribed)
    if (effect?.kind === 'left') this.#host.left(this.conversation, effect.user)
    this.#host.delivered(batch.length, receivers.length, this.#host.nowMs() - this.#waitingSinceMs, this, first)
    if (effect?.kind === 'joined') this.#host.joined(this.conversation, effect.user)
    if (!this.isLagging) this.#host.caughtUp(this)
    yield
  }

  /** A subscriber that joined with more than was flushed gets only what it lacks. */
  #deliverAhead(connection: Connection, upTo: number, first: number, batch: readonly LoggedChange[]): void {
    const newestSeq = (batch.at(-1) as LoggedChange).seq
    if (upTo < newestSeq) connection.send(changesFrame(this.conversation, batch.slice(Math.max(0, upTo + 1 - first))))
    if (upTo <= newestSeq) this.#ahead.delete(connection)
  }

  /** Whom the removal concerns: not those who read more of the log than that, as members once again. */
  #announceLeaving(user: Id, change: LoggedChange): Connection[] {
    const { seq } = change
    // Before anything gives way: a join that ends meanwhile must find it.
    for (const join of this.#joins) if (join.connection.user === user && (join.left?.seq ?? 0) < seq) join.left = change
    const leaving = [...this.#host.connectionsOf(user)].filter(
      (connection) => this.#subscribers.has(connection) && (this.#ahead.get(connection) ?? 0) < seq,
    )
    const frame = frameOf('conversation', { conversation: this.conversation, left: true, seq, readSeq: seq, unread: 0 })
    for (const connection of leaving) {
      connection.noteRemoval(this.conversation, seq)
      connection.send(frame)
    }
    return leaving
  }

  #take(change: LoggedChange): void {
    this.#next = change.seq + 1
    this.recent.append(change)
    if (this.#outgoing.length === 0) this.#waitingSinceMs = this.#host.nowMs()
    this.#outgoing.push(change)
    this.#host.schedule(this)
  }

  #acceptHeld(): void {
    for (const seq of this.#held.keys()) if (this.#next !== undefined && seq < this.#next) this.#held.delete(seq)
    for (;;) {
      const change = this.#next === undefined ? undefined : this.#held.get(this.#next)
      if (change === undefined) break
      this.#held.delete(change.seq)
      this.#take(change)
    }
    if (this.gap !== undefined) this.#host.repair(this)
  }
}
