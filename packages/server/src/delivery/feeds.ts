/**
 * All conversations with local subscribers. Opens feeds, fills their gaps, and publishes each
 * change committed here: to local subscribers at once, to other servers over the bus (rules PUB1,
 * NODE1, TAIL1).
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
  /** Reports the number of changes that came by a read instead of a hint. */
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
   * Reads the changes `from` to `to` from the primary, at most `limit`, in seq order, and the
   * removals of users who must not see them.
   */
  readonly readGap: (range: { conversation: Id; from: number; to: number }, limit: number) => Promise<GapPage>
  /** Keeps the recent changes of every feed for resuming clients. */
  readonly catchUp: Pick<CatchUp, 'serve'>
  readonly epoch: () => string
  /** Called when a hint of another epoch was dropped. */
  readonly onForeignEpoch: () => void
}

/** Receives membership changes, and hints that carry no changes. */
export interface FeedsListener {
  readonly onJoined: (conversation: Id, user: Id) => void
  readonly onLeft: (conversation: Id, user: Id) => void
  /** Called when a removal has ended these subscriptions. Their user may be a member again. */
  readonly onUnsubscribed: (conversation: Id, connections: readonly Connection[]) => void
  readonly onBusMessage: (message: BusMessage) => void
}

const repairPage = 500
const repairRetryMs = 500
/**
 * Maximum number of read markers remembered as sent. The oldest are evicted and may be sent once
 * more.
 */
const toldMarkersMax = 50_000

export class Feeds implements FeedHost {
  readonly #options: FeedsOptions
  #listener: FeedsListener | undefined
  readonly #feeds = new Map<Id, Feed>()
  readonly #repairing = new Map<Feed, Promise<void>>()
  readonly #flusher: Flusher
  /** Confirmation of the bus subscription of each feed. */
  readonly #subscribed = new WeakMap<Feed, Promise<void>>()
  /** Newest read marker sent to a user's connections, by conversation and user. */
  readonly #toldMarkers = new Map<string, number>()
  /** Feeds with an undelivered change that a sweep found. */
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
   * Starts a join (rule JOIN1): subscribes and waits for the confirmation; the caller reads
   * afterwards. The join begins before the wait, so that the feed is not released in the meantime.
   * All joins of a feed share one confirmation.
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

  /** Releases a feed that no connection needs any more. */
  release(feed: Feed): void {
    if (!feed.isUnused || this.#feeds.get(feed.conversation) !== feed) return
    this.#feeds.delete(feed.conversation)
    feed.recent.retire()
    this.caughtUp(feed)
    this.#options.bus.unsubscribe(`c:${feed.conversation}`)
  }

  /**
   * Records that a sweep found the log of a conversation to reach `seq`. Returns whether changes
   * are missing, because no hint brought them.
   */
  requireUpTo(conversation: Id, seq: number): boolean {
    const feed = this.#feeds.get(conversation)
    if (feed === undefined) return false
    if (feed.requireUpTo(seq)) this.#lagging.add(feed)
    return feed.gap !== undefined
  }

  /** Feeds with an undelivered change that a sweep found. */
  get lagging(): ReadonlySet<Feed> {
    return this.#lagging
  }

  /** Resolves when everything that sweeps found has been written to its subscribers. */
  async whenCaughtUp(): Promise<void> {
    if (this.#lagging.size === 0) return
    await new Promise<void>((resolve) => this.#waitingForLagging.push(resolve))
  }

  /**
   * Publishes changes committed here: to local subscribers at once, to other servers by a hint.
   * Never throws.
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
   * Publishes that a member was added: the servers of that user may not serve the conversation yet.
   */
  announceMembership(conversation: Id, user: Id): void {
    this.#listener?.onJoined(conversation, user)
    this.#options.bus.publish(`u:${user}`, { kind: 'membership', user, conversation })
  }

  /**
   * Publishes a device update that came over plain HTTP: other servers may hold the device's
   * connections.
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
   * Returns whether this marker or a later one was already sent. If not, records it as sent: the
   * caller then sends it.
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

  /** Resolves when no repair is in progress and everything accepted has been written. */
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

  // Methods that feeds call on their host.

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
        // A removal in the page may have unsubscribed the last subscriber.
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

  /** Whether the marker was already sent: a hint may repeat or arrive late. */
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
