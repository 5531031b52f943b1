/**
 * The feeds of all conversations with subscribers on this server. Opens feeds, reads their missing
 * changes, and publishes each change that this server commits: to its own subscribers at once, to
 * other servers by a hint over Redis (rules PUB1, NODE1, TAIL1).
 */
import type { Id } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import type { LoggedChange } from '../support/logged-change.ts'
import type { Bus, BusMessage, DeviceUpdate } from '../bus/bus.ts'
import type { Connection } from './connection.ts'
import type { Connections } from './connections.ts'
import type { DeliveryTrace } from './delivery-trace.ts'
import { Feed, feedLimits, type FeedHost, type GapPage, type Join } from './feed.ts'
import { Flusher, type Flushable } from './flusher.ts'
import { Frame } from '../frames/frame.ts'
import type { CatchUp } from '../catch-up/catch-up.ts'

/** A read marker that moved, with the JSON of its `conversation` event. */
export interface ReadMarkerUpdate {
  readonly user: Id
  readonly conversation: Id
  readonly readSeq: number
  readonly json: string
}

export interface FeedsObserver {
  delivered(changes: number, deliveries: number, waitedMs: number): void
  /** Reports the number of changes that were read because their hint over Redis was missing. */
  repaired(changes: number): void
  repairFailed(error: unknown): void
}

export interface FeedsOptions {
  readonly bus: Bus
  readonly connections: Connections
  readonly clock: Clock
  readonly observer: FeedsObserver
  /** Trace of recent deliveries for operators; tests may omit it. */
  readonly trail?: DeliveryTrace
  /**
   * Reads the changes `from` to `to` from the primary, at most `limit`, in seq order. Also reads
   * the removals of users who must not see these changes.
   */
  readonly readGap: (range: { conversation: Id; from: number; to: number }, limit: number) => Promise<GapPage>
  /** Keeps the recent changes of every feed, from which resuming clients are served. */
  readonly catchUp: Pick<CatchUp, 'serve'>
  readonly epoch: () => string
  /** Called when a hint of another database epoch was dropped. */
  readonly onForeignEpoch: () => void
}

/** Listener for membership changes, and for messages from other servers that carry no changes. */
export interface FeedsListener {
  readonly onJoined: (conversation: Id, user: Id) => void
  readonly onLeft: (conversation: Id, user: Id) => void
  /**
   * Called when a removal has ended the subscriptions of these connections. Their user may be a
   * member again by now.
   */
  readonly onUnsubscribed: (conversation: Id, connections: readonly Connection[]) => void
  readonly onBusMessage: (message: BusMessage) => void
}

const repairPage = 500
const repairRetryMs = 500
/**
 * Maximum number of sent read markers that are remembered. The oldest are evicted, so such a marker
 * may be sent twice.
 */
const toldMarkersMax = 50_000

export class Feeds implements FeedHost {
  readonly #options: FeedsOptions
  #listener: FeedsListener | undefined
  readonly #feeds = new Map<Id, Feed>()
  readonly #repairing = new Map<Feed, Promise<void>>()
  readonly #flusher: Flusher
  /** Promise for each feed that resolves when its subscription at Redis is confirmed. */
  readonly #subscribed = new WeakMap<Feed, Promise<void>>()
  /** Newest read marker sent to a user's connections, by conversation and user. */
  readonly #toldMarkers = new Map<string, number>()
  /** Feeds with a change that a sweep found and that has not been delivered yet. */
  readonly #lagging = new Set<Feed>()
  #waitingForLagging: (() => void)[] = []
  readonly catchUp: FeedsOptions['catchUp']

  constructor(options: FeedsOptions) {
    this.#options = options
    this.#flusher = new Flusher(
      () => options.clock.nowMs(),
      (problem) => options.observer.repairFailed(problem),
    )
    this.catchUp = options.catchUp
    options.bus.onMessage((message) => this.#receive(message))
  }

  /** Sets the listener. Called once, before the first connection. */
  listen(listener: FeedsListener): void {
    this.#listener = listener
  }

  get size(): number {
    return this.#feeds.size
  }

  get(conversation: Id): Feed | undefined {
    return this.#feeds.get(conversation)
  }

  /**
   * Starts a join (rule JOIN1): subscribes to the conversation at Redis and waits for the
   * confirmation. The caller reads afterwards. The join is registered before the wait, so that its
   * feed is not released during the wait. All joins of a feed share one confirmation.
   */
  async join(conversation: Id, connection: Connection): Promise<{ readonly feed: Feed; readonly join: Join }> {
    let feed = this.#feeds.get(conversation)
    if (feed === undefined) {
      feed = new Feed(conversation, this)
      this.#feeds.set(conversation, feed)
      this.#subscribed.set(feed, this.#options.bus.subscribe(`c:${conversation}`))
    }
    const join = feed.beginJoin(connection)
    try {
      await this.#subscribed.get(feed)
    } catch (error) {
      feed.abandonJoin(join)
      this.release(feed)
      throw error
    }
    return { feed, join }
  }

  /** Releases the feed if no connection needs it any more. */
  release(feed: Feed): void {
    if (!feed.isUnused || this.#feeds.get(feed.conversation) !== feed) return
    this.#feeds.delete(feed.conversation)
    feed.recent.retire()
    this.caughtUp(feed)
    this.#options.bus.unsubscribe(`c:${feed.conversation}`)
  }

  /**
   * Records that a sweep found the log of a conversation to reach `seq`. Returns whether this
   * server lacks changes up to it, because their hints were lost.
   */
  requireUpTo(conversation: Id, seq: number): boolean {
    const feed = this.#feeds.get(conversation)
    if (feed === undefined) return false
    if (feed.requireUpTo(seq)) this.#lagging.add(feed)
    return feed.gap !== undefined
  }

  /** Feeds with a change that a sweep found and that has not been delivered yet. */
  get lagging(): ReadonlySet<Feed> {
    return this.#lagging
  }

  /** Resolves when every change that sweeps found has been written to its subscribers. */
  async whenCaughtUp(): Promise<void> {
    if (this.#lagging.size === 0) return
    await new Promise<void>((resolve) => this.#waitingForLagging.push(resolve))
  }

  /**
   * Publishes changes that this server committed: to its own subscribers at once, to other servers
   * by a hint over Redis. Never throws.
   */
  announce(changes: readonly LoggedChange[]): void {
    const [first] = changes
    if (first === undefined) return
    const feed = this.#feeds.get(first.conversation)
    if (feed !== undefined) for (const change of changes) feed.accept(change)
    this.#options.trail?.note('published', first.conversation, first.seq, first.seq + changes.length - 1)
    this.#options.bus.publish(`c:${first.conversation}`, {
      kind: 'changes',
      epoch: this.#options.epoch(),
      conversation: first.conversation,
      changes,
    })
  }

  /**
   * Publishes that a user was added to a conversation. The servers of that user may have no feed of
   * the conversation, so they would not see the change itself.
   */
  announceMembership(conversation: Id, user: Id): void {
    this.#listener?.onJoined(conversation, user)
    this.#options.bus.publish(`u:${user}`, { kind: 'membership', user, conversation })
  }

  /**
   * Publishes a device update that arrived over plain HTTP, because other servers may have
   * connections of the device.
   */
  announceDevice(news: DeviceUpdate): void {
    this.#options.bus.publish(`u:${news.user}`, { kind: 'device', ...news })
  }

  /** Publishes a moved read marker to the user's other connections. */
  announceReadMarker(marker: ReadMarkerUpdate, except: Connection | undefined): void {
    this.#tellMarker(marker, except)
    this.#options.bus.publish(`u:${marker.user}`, { kind: 'read-marker', epoch: this.#options.epoch(), ...marker })
  }

  /**
   * Returns whether this marker or a later one was already sent. If not, records the marker as
   * sent, and the caller sends it.
   */
  noteMarker(user: Id, conversation: Id, readSeq: number): boolean {
    const key = `${conversation} ${user}`
    const told = this.#toldMarkers.get(key)
    if (told !== undefined && told >= readSeq) return true
    this.#toldMarkers.delete(key)
    this.#toldMarkers.set(key, readSeq)
    if (this.#toldMarkers.size > toldMarkersMax) {
      const [oldest] = this.#toldMarkers.keys()
      if (oldest !== undefined) this.#toldMarkers.delete(oldest)
    }
    return false
  }

  /** Resolves when no gap read is in progress and every accepted change has been written. */
  async settle(): Promise<void> {
    await Promise.all(this.#repairing.values())
    await this.#flusher.whenIdle()
  }

  *unsettled(): Generator<Feed> {
    for (const feed of this.#feeds.values()) if (!feed.isSettled) yield feed
  }

  /** Unsubscribes a closed connection from all its feeds. */
  detach(connection: Connection): void {
    for (const conversation of [...connection.conversations]) {
      const feed = this.#feeds.get(conversation)
      feed?.remove(connection)
      if (feed !== undefined) this.release(feed)
    }
  }

  /** Drops all feeds and positions because the database epoch changed. */
  clear(): void {
    for (const [conversation, feed] of this.#feeds) {
      this.#options.bus.unsubscribe(`c:${conversation}`)
      feed.end()
      feed.recent.retire()
      this.caughtUp(feed)
    }
    this.#feeds.clear()
    this.#toldMarkers.clear()
  }

  // Methods that feeds call.

  schedule(feed: Flushable): void {
    this.#flusher.schedule(feed)
  }

  repair(feed: Feed): void {
    if (this.#repairing.has(feed)) return
    this.#repairing.set(
      feed,
      this.#repair(feed).finally(() => {
        this.#repairing.delete(feed)
        if (feed.gap !== undefined && this.#feeds.get(feed.conversation) === feed) this.repair(feed)
      }),
    )
  }

  joined(conversation: Id, user: Id): void {
    this.#listener?.onJoined(conversation, user)
  }

  left(conversation: Id, user: Id): void {
    this.#listener?.onLeft(conversation, user)
    const feed = this.#feeds.get(conversation)
    if (feed !== undefined) this.release(feed)
  }

  unsubscribed(conversation: Id, connections: readonly Connection[]): void {
    this.#listener?.onUnsubscribed(conversation, connections)
  }

  caughtUp(feed: Feed): void {
    if (!this.#lagging.delete(feed) || this.#lagging.size > 0) return
    const waiting = this.#waitingForLagging
    this.#waitingForLagging = []
    for (const resolve of waiting) resolve()
  }

  delivered(changes: number, subscribers: number, waitedMs: number, feed: Feed, firstSeq: number): void {
    this.#options.trail?.note('delivered', feed.conversation, firstSeq, firstSeq + changes - 1, subscribers)
    this.#options.observer.delivered(changes, changes * subscribers, waitedMs)
  }

  nowMs(): number {
    return this.#options.clock.nowMs()
  }

  connectionsOf(user: Id): ReadonlySet<Connection> {
    return this.#options.connections.ofUser(user)
  }

  async #repair(feed: Feed): Promise<void> {
    await this.#pause(feedLimits.gapWaitMs)
    while (feed.gap !== undefined && this.#feeds.get(feed.conversation) === feed) {
      const { from, to } = feed.gap
      try {
        const page =
          feed.loadedGap ?? (await this.#options.readGap({ conversation: feed.conversation, from, to }, repairPage))
        const { changes } = page
        // The feed was released during the read, perhaps because the epoch changed.
        if (this.#feeds.get(feed.conversation) !== feed) return
        const missing = changes.filter((change) => feed.gap !== undefined && change.seq >= feed.gap.from)
        this.#options.observer.repaired(missing.length)
        const [first] = missing
        if (first !== undefined)
          this.#options.trail?.note('repaired', feed.conversation, first.seq, missing.at(-1)?.seq ?? first.seq)
        feed.acceptPage(page)
        const isWhole = changes.length === Math.min(repairPage, to - from + 1)
        if (!isWhole) feed.correctHead(changes.at(-1)?.seq ?? 0)
        if (!feed.isLagging) this.caughtUp(feed)
        // The page may contain the removal of the feed's last subscriber.
        this.release(feed)
      } catch (error) {
        this.#options.observer.repairFailed(error)
        await this.#pause(repairRetryMs)
      }
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.setTimer(resolve, delayMs)
    })
  }

  #receive(message: BusMessage): void {
    switch (message.kind) {
      case 'changes': {
        if (!this.#isOfThisHistory(message.epoch)) return
        const feed = this.#feeds.get(message.conversation)
        if (feed === undefined) return
        const { trail } = this.#options
        trail?.note('received', message.conversation, message.changes[0]?.seq ?? 0, message.changes.at(-1)?.seq ?? 0)
        for (const change of message.changes) feed.accept(change)
        return
      }
      case 'membership':
        this.#listener?.onJoined(message.conversation, message.user)
        return
      case 'read-marker':
        if (!this.#isOfThisHistory(message.epoch)) return
        if (!this.#isToldMarker(message)) this.#tellMarker(message, undefined)
        return
      case 'device':
      case 'live':
      case 'presence':
      case 'revoked':
        this.#listener?.onBusMessage(message)
        return
    }
  }

  #isOfThisHistory(epoch: string): boolean {
    if (epoch === this.#options.epoch()) return true
    this.#options.onForeignEpoch()
    return false
  }

  /** Returns whether the marker was already sent: a hint over Redis may repeat or arrive late. */
  #isToldMarker({ user, conversation, readSeq }: ReadMarkerUpdate): boolean {
    return (this.#toldMarkers.get(`${conversation} ${user}`) ?? -1) >= readSeq
  }

  #tellMarker({ user, conversation, readSeq, json }: ReadMarkerUpdate, except: Connection | undefined): void {
    this.noteMarker(user, conversation, readSeq)
    const frame = new Frame('conversation', json)
    for (const connection of this.#options.connections.ofUser(user)) {
      if (connection === except) continue
      if (connection.state.kind === 'ready') connection.send(frame)
      else connection.afterReady.add(conversation)
    }
  }
}
