/**
 * Delivers the changes of one conversation on this server to its subscribers, in order (rules
 * NODE1, ACL1).
 *
 * The feed keeps the next seq to deliver. It delivers a change with that seq and drops one with a
 * lower seq. It holds a change with a higher seq, waits a moment for the missing ones, and then
 * reads the missing range once for all subscribers.
 *
 * Each subscriber gets each seq once. A connection joins with "I have everything up to seq n". It
 * gets the changes after n from the cache of recent changes, and from then on the same frames as
 * all subscribers. A batch of changes ends after every membership change, and the set of
 * subscribers is updated before the next seq is written.
 */
import type { Id } from '@chorus/protocol'
import type { LoggedChange } from '../support/logged-change.ts'
import { isRewrite, withNewestState } from '../support/message-state.ts'
import type { Connection } from './connection.ts'
import type { Flushable } from './flusher.ts'
import { changesFrame, type Frame, frameOf } from '../frames/frame.ts'
import type { CatchUp, RecentRun } from '../catch-up/catch-up.ts'
import type { ServedLog } from '../catch-up/served-log.ts'
import { splitBatches } from '../frames/split-batches.ts'

export const feedLimits = {
  /**
   * Maximum number of changes held while earlier ones are missing. Beyond it, all held changes are
   * dropped and read again.
   */
  heldMax: 1_000,
  /** Time that the feed waits for missing changes before it reads them. */
  gapWaitMs: 75,
  /** Number of writes to connections after which a flush may yield to the event loop. */
  writesPerSlice: 250,
} as const

export interface FeedHost {
  /** Keeps the recent changes of every feed, from which resuming clients are served. */
  readonly catchUp: Pick<CatchUp, 'serve'>
  /** Requests that the feed writes its changes to its subscribers soon. */
  schedule(feed: Flushable): void
  /**
   * Waits a moment, then reads the missing changes from the primary and passes them to
   * `acceptPage`.
   */
  repair(feed: Feed): void
  /** Called when a user joined, so that the user's connections at this server join, too. */
  joined(conversation: Id, user: Id): void
  /** Called when a user left the conversation. */
  left(conversation: Id, user: Id): void
  /**
   * Called when a removal has ended the subscriptions of these connections. The user may have
   * joined again since, and that join had no effect while the subscription lasted. So the host must
   * read the membership again.
   */
  unsubscribed(conversation: Id, connections: readonly Connection[]): void
  /**
   * Called when everything that a sweep found in this conversation has been written to every
   * subscriber.
   */
  caughtUp(feed: Feed): void
  /**
   * Called when changes were written to this number of subscribers. `waitedMs` is the time since
   * the first of these changes arrived.
   */
  delivered(changes: number, subscribers: number, waitedMs: number, feed: Feed, firstSeq: number): void
  nowMs(): number
  connectionsOf(user: Id): ReadonlySet<Connection>
}

/** Result of reading the missing changes from the database. */
export interface GapPage {
  /** Consecutive changes, beginning with the first missing one. */
  readonly changes: readonly LoggedChange[]
  /** Last seq of the log at the time of the read. Messages have the text of that time. */
  readonly asOf: number
  /**
   * Removals of users who were not members at `asOf`, if the removal is one of the missing changes
   * or later.
   */
  readonly removals: readonly LoggedChange[]
}

/**
 * A join in progress. The user may be removed between the read of the join and its subscription.
 */
export interface Join {
  readonly connection: Connection
  /** The change that removed this user during the join. */
  left: LoggedChange | undefined
}

export type JoinOutcome =
  | { readonly kind: 'subscribed' }
  | { readonly kind: 'left'; readonly change: LoggedChange }
  /** The caller must read this range of changes, then retry the join. */
  | { readonly kind: 'missing'; readonly from: number; readonly to: number }

export class Feed implements Flushable, ServedLog {
  readonly conversation: Id
  readonly recent: RecentRun
  readonly #host: FeedHost
  /** Seq of the next change to accept; undefined until the last seq of the log is known. */
  #next: number | undefined
  readonly #held = new Map<number, LoggedChange>()
  #outgoing: LoggedChange[] = []
  /** Newest seq that has been written to the subscribers, or is being written. */
  #flushedSeq = 0
  /** Newest seq that the log is known to have. */
  #headSeq = 0
  /** Newest seq that has been written to every subscriber. */
  #deliveredSeq = 0
  /** Newest seq that a sweep found in the log. */
  #requiredSeq = 0
  /**
   * Seq at which this feed began. The feed has not processed any change up to and including this
   * seq.
   */
  #baseSeq = 0
  /** Seq of the newest edit or deletion that reached this feed. */
  #rewrittenSeq = 0
  #isFlushing = false
  #isEnded = false
  /**
   * Connections whose subscription ended while a batch is being written. They do not get the rest
   * of the batch.
   */
  readonly #gone = new Set<Connection>()
  /** Time when the oldest unwritten change arrived. */
  #waitingSinceMs = 0
  readonly #subscribers = new Set<Connection>()
  /**
   * Subscribers that joined with more changes than the feed has written, each with its last seq.
   * The feed does not send them these changes again.
   */
  readonly #ahead = new Map<Connection, number>()
  readonly #joins = new Set<Join>()

  constructor(conversation: Id, host: FeedHost) {
    this.conversation = conversation
    this.#host = host
    this.recent = host.catchUp.serve(conversation, this)
  }

  get subscribers(): ReadonlySet<Connection> {
    return this.#subscribers
  }

  get rewrittenSeq(): number {
    return this.#rewrittenSeq
  }

  get headSeq(): number {
    return this.#headSeq
  }

  held(seq: number): LoggedChange | undefined {
    return this.#held.get(seq)
  }

  /** Whether the feed has no subscribers and no joins in progress. */
  get isUnused(): boolean {
    return this.#subscribers.size === 0 && this.#joins.size === 0
  }

  /** Ends the feed because the database epoch changed. Nothing is accepted or written any more. */
  end(): void {
    this.#isEnded = true
    this.#outgoing = []
    this.#held.clear()
  }

  /** Range of the missing changes; undefined if none is missing. */
  get gap(): { readonly from: number; readonly to: number } | undefined {
    return this.#next === undefined || this.#next > this.#headSeq ? undefined : { from: this.#next, to: this.#headSeq }
  }

  /**
   * The missing changes as a gap read would return them. Set when the recent changes already
   * contain them, because they were loaded for a resuming client.
   */
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

  /** Whether every known change has been written to the subscribers. */
  get isSettled(): boolean {
    return (
      this.#next === undefined ||
      (!this.#isFlushing && this.#outgoing.length === 0 && this.#flushedSeq >= this.#headSeq)
    )
  }

  /**
   * Whether a change that a sweep found has not been written to every subscriber yet. Then no
   * checkpoint may cover it (rule CP1).
   */
  get isLagging(): boolean {
    return this.#next !== undefined && this.#deliveredSeq < this.#requiredSeq
  }

  /**
   * Records that a sweep found the log to reach this seq. Returns whether any change up to it has
   * not been written to the subscribers yet.
   */
  requireUpTo(seq: number): boolean {
    this.#requiredSeq = Math.max(this.#requiredSeq, seq)
    this.noteHead(seq)
    return this.isLagging
  }

  /**
   * Whether this removal has been written to every subscriber. Then no connection of the removed
   * user may stay subscribed.
   */
  hasDelivered(seq: number): boolean {
    return this.#next !== undefined && this.#deliveredSeq >= seq
  }

  /**
   * Records the last seq of the log, as read from the database. Changes up to it that the feed does
   * not have are read soon.
   */
  noteHead(seq: number): void {
    if (this.#next === undefined) {
      this.#next = seq + 1
      this.#baseSeq = seq
      this.#flushedSeq = seq
      this.#deliveredSeq = seq
      this.#headSeq = Math.max(this.#headSeq, seq)
      this.#acceptHeld()
      return
    }
    this.#headSeq = Math.max(this.#headSeq, seq)
    if (this.gap !== undefined) this.#host.repair(this)
  }

  /**
   * Records that the log ends at this seq. Hints over Redis that named a higher seq were wrong, and
   * their changes are dropped.
   */
  correctHead(seq: number): void {
    if (this.#next === undefined) return
    this.#headSeq = Math.max(this.#next - 1, seq)
    this.recent.endAt(this.#headSeq)
    for (const held of this.#held.keys()) if (held > this.#headSeq) this.#held.delete(held)
  }

  /**
   * Accepts a change from a hint over Redis or from a read: delivers, drops or holds it (rule
   * NODE1).
   */
  accept(change: LoggedChange): void {
    if (this.#isEnded) return
    this.#headSeq = Math.max(this.#headSeq, change.seq)
    if (change.seq > this.#rewrittenSeq && isRewrite(change)) this.#rewrittenSeq = change.seq
    // The subscribers do not get this change now: they already have it, or earlier changes are
    // missing. But a resuming client may need it, so keep it with the recent changes.
    if (change.seq !== this.#next) this.recent.follow(change)
    if (this.#next !== undefined && change.seq < this.#next) return
    if (change.seq === this.#next) {
      this.#take(change)
      this.#acceptHeld()
      return
    }
    if (this.#held.size >= feedLimits.heldMax) this.#held.clear()
    this.#held.set(change.seq, change)
    if (this.#next !== undefined) this.#host.repair(this)
  }

  /**
   * Accepts the result of reading a gap. Its messages may already show edits newer than a removal
   * that has not been delivered yet. So removed users are unsubscribed first, and receive only
   * their removal (rule ACL1).
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

  beginJoin(connection: Connection): Join {
    const join: Join = { connection, left: undefined }
    this.#joins.add(join)
    return join
  }

  /** Ends a join that did not lead to a subscription. */
  abandonJoin(join: Join): void {
    this.#joins.delete(join)
  }

  /**
   * Finishes a join whose connection has been sent everything up to `seq`, and whose user was a
   * member at `provedSeq`, which is `seq` or later. Sends the rest and subscribes the connection, in
   * one turn of the event loop.
   */
  finishJoin(join: Join, seq: number, provedSeq = seq): JoinOutcome {
    // Ignore a removal at or before `seq`: the user has joined again since.
    if (join.left !== undefined && join.left.seq > seq) {
      this.#joins.delete(join)
      return { kind: 'left', change: join.left }
    }
    if (this.#next === undefined) this.noteHead(seq)
    // The feed never saw the changes up to `#baseSeq`, and one of them may be this user's removal.
    // The caller reads them together with a membership check (rule ACL1).
    if (seq < this.#baseSeq) return { kind: 'missing', from: seq + 1, to: this.#baseSeq }
    if (seq < this.#flushedSeq) {
      // These changes may show edits made after `provedSeq`, when the user may no longer have been a
      // member. So the caller reads them together with a membership check, too.
      const rest = this.recent.asOf > provedSeq ? undefined : this.recent.range(seq + 1, this.#flushedSeq)
      if (rest === undefined) return { kind: 'missing', from: seq + 1, to: this.#flushedSeq }
      for (const batch of splitBatches(rest)) join.connection.send(changesFrame(this.conversation, batch))
    }
    this.#joins.delete(join)
    if (!join.connection.isOpen) return { kind: 'subscribed' }
    this.#subscribers.add(join.connection)
    join.connection.conversations.add(this.conversation)
    join.connection.removalsTold.delete(this.conversation)
    if (seq > this.#flushedSeq) {
      this.#ahead.set(join.connection, seq)
      this.noteHead(seq)
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

  /**
   * Sends a frame that is not a change (live values) to every subscriber that reads fast enough.
   * Calls `onBehind` for each of the others, so that they get the values later.
   */
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
    this.#flushedSeq = newest.seq

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
      if (++writes % feedLimits.writesPerSlice === 0) yield
    }
    this.#deliveredSeq = newest.seq
    // Unsubscribe the removed user's connections before the next seq is written (rule ACL1).
    const unsubscribed = leaving.filter((connection) => !this.#gone.has(connection))
    for (const connection of unsubscribed) this.remove(connection)
    // Notify the host before the feed may be released or a checkpoint may be sent.
    if (unsubscribed.length > 0) this.#host.unsubscribed(this.conversation, unsubscribed)
    if (effect?.kind === 'left') this.#host.left(this.conversation, effect.user)
    this.#host.delivered(batch.length, receivers.length, this.#host.nowMs() - this.#waitingSinceMs, this, first)
    if (effect?.kind === 'joined') this.#host.joined(this.conversation, effect.user)
    if (!this.isLagging) this.#host.caughtUp(this)
    yield
  }

  /** Sends only the missing changes of a batch to a subscriber that already has the first ones. */
  #deliverAhead(connection: Connection, upTo: number, first: number, batch: readonly LoggedChange[]): void {
    const newestSeq = (batch.at(-1) as LoggedChange).seq
    if (upTo < newestSeq) connection.send(changesFrame(this.conversation, batch.slice(Math.max(0, upTo + 1 - first))))
    if (upTo <= newestSeq) this.#ahead.delete(connection)
  }

  /**
   * Announces a removal to the connections of the removed user, and returns those to unsubscribe.
   * Skips connections that joined after `seq`, because their user is a member again.
   */
  #announceLeaving(user: Id, change: LoggedChange): Connection[] {
    const { seq } = change
    // Runs before the flush yields to the event loop, so that a join that finishes during the pause
    // knows of the removal.
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
