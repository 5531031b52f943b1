/**
 * Presence of users (rules PRES1, PRES2). A user is online while at least one connection is online,
 * and away while all connections are away. The user is offline four seconds after the last
 * connection ended, so that a page reload or a move to another server does not show the user as
 * offline.
 *
 * Connections at this server count immediately, even without Redis; `presenceStore` adds the user's
 * status at the other servers. Changes are gathered for a quarter of a second and sent only to the
 * connections that watch the user. A connection watches at most a hundred users, so the cost never
 * grows with the square of a conversation's size.
 */
import type { Id, Presence, PresenceStatus } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import { Groups } from '../support/groups.ts'
import type { PresenceStore } from './presence-store.ts'

export const presenceLimits = {
  gatherMs: 250,
  /**
   * Time until a slow connection is checked again. Once it has read its events, it gets the newest
   * status.
   */
  behindMs: 1_000,
  /** Time between the end of a user's last connection and the status "offline". */
  graceMs: 4_000,
  /**
   * Time for which a user without watchers is still followed, because clients scroll back and forth
   * in lists of users.
   */
  lingerMs: 5_000,
  /**
   * Maximum number of followed users without watchers. Beyond it, the user that lost its watchers
   * first is unfollowed.
   */
  lingeringMax: 10_000,
  /**
   * Maximum number of last-seen times kept in memory. Beyond it, the oldest ones are evicted; the
   * database has them, too.
   */
  lastSeenMax: 50_000,
} as const

/** Connection, with the properties that presence needs. */
export interface PresentConnection {
  readonly user: Id
  readonly status: 'online' | 'away'
  readonly watched: PresenceWatches
  /**
   * True while the connection has not read everything sent to it. It then gets only the newest
   * status, later (rule LIVE1).
   */
  readonly isBehind: boolean
}

/** Users that a connection watches, each with the last status sent to it. */
export interface PresenceWatches {
  readonly size: number
  has(user: Id): boolean
  get(user: Id): PresenceStatus | undefined
  set(user: Id, status: PresenceStatus): unknown
  delete(user: Id): boolean
  clear(): void
  keys(): Iterable<Id>
}

export interface LastSeen {
  readonly user: Id
  /** Time when the user was last seen, by the database's clock (ISO). */
  readonly at: string
}

export interface PresenceTrackerOptions<Watcher extends PresentConnection> {
  readonly clock: Clock
  /** Returns the database's time. */
  readonly now: () => Date
  readonly presenceStore: PresenceStore
  readonly tell: (watcher: Watcher, presences: readonly Presence[]) => void
  /** Stores the last-seen times of users, best effort. */
  readonly saveLastSeen: (seen: readonly LastSeen[]) => void
  /** Returns the stored last-seen times of users. */
  readonly readLastSeen: (users: readonly Id[]) => Promise<ReadonlyMap<Id, string | null>>
}

/**
 * Request to watch users, kept while the server checks which of them the requesting user may see.
 */
export interface WatchAsk {
  readonly user: Id
  readonly wanted: ReadonlySet<Id>
  /** Number of the request. A later request wins over an earlier one of the same connection. */
  readonly turn: number
}

/**
 * A connection and one user that it watches. `turn` is the number of the watch request that set the
 * connection's list of watched users.
 */
export interface Watch<Watcher> {
  readonly watcher: Watcher
  readonly watched: Id
  readonly turn: number
}

/** User between two connections, for example during a page reload. */
interface Leaving {
  readonly timer: Timer
  /** Status of the user's last connection. */
  readonly status: 'online' | 'away'
}

export class PresenceTracker<Watcher extends PresentConnection = PresentConnection> {
  readonly #options: PresenceTrackerOptions<Watcher>
  readonly #connections = new Groups<Id, Watcher>()
  readonly #watchers = new Map<Id, Set<Watcher>>()
  /**
   * Followed users without watchers, each with the time when the last watch ended, the earliest
   * first.
   */
  readonly #lingering = new Map<Id, number>()
  #lingerTimer: Timer | undefined
  readonly #lastSeen = new Map<Id, string>()
  readonly #leaving = new Map<Id, Leaving>()
  readonly #changed = new Set<Id>()
  /** Users whose change was not sent to some watcher, because that watcher read too slowly. */
  readonly #late = new Set<Id>()
  #lateTimer: Timer | undefined
  /**
   * Watch requests in progress. For each request, the number of times that its sender or a
   * requested user has left a conversation since the request began.
   */
  readonly #asks = new Map<WatchAsk, number>()
  /**
   * For each watching connection, the number of the request that set its current list of watched
   * users.
   */
  readonly #turns = new WeakMap<Watcher, number>()
  /** Users who left a conversation, so that their watches must be checked again. */
  #left = new Set<Id>()
  #isLooking = false
  #turn = 0
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: PresenceTrackerOptions<Watcher>) {
    this.#options = options
    options.presenceStore.onChange((user) => this.#note(user))
  }

  arrive(connection: Watcher): void {
    const { user } = connection
    this.#leaving.get(user)?.timer.cancel()
    this.#leaving.delete(user)
    this.#connections.add(user, connection)
    this.update(user)
  }

  depart(connection: Watcher): void {
    const { user } = connection
    this.watch(connection, [])
    if (!this.#connections.delete(user, connection)) return
    if (this.#connections.has(user)) {
      this.update(user)
      return
    }
    const timer = this.#options.clock.setTimer(() => {
      this.#leaving.delete(user)
      const at = this.#options.now().toISOString()
      this.#remember(user, at)
      this.#options.presenceStore.report(user, undefined, at)
      this.#note(user)
      this.#options.saveLastSeen([{ user, at }])
    }, presenceLimits.graceMs)
    this.#leaving.set(user, { timer, status: connection.status })
  }

  /** Updates the status of a user after one of the user's connections has changed. */
  update(user: Id): void {
    const status = this.#statusHere(user)
    if (status !== undefined) this.#options.presenceStore.report(user, status)
    this.#note(user)
  }

  beginWatch(user: Id, wanted: Iterable<Id>): WatchAsk {
    const ask = { user, wanted: new Set(wanted), turn: ++this.#turn }
    this.#asks.set(ask, 0)
    return ask
  }

  endWatch(ask: WatchAsk): void {
    this.#asks.delete(ask)
  }

  /**
   * Returns how often a user that this request concerns has left a conversation. If the number
   * grew, memberships that were read earlier may be wrong.
   */
  leavesSeen(ask: WatchAsk): number {
    return this.#asks.get(ask) ?? 0
  }

  /**
   * Replaces the list of users that a connection watches, unless a later request has already set
   * it.
   */
  watch(watcher: Watcher, users: readonly Id[], ask?: WatchAsk): void {
    const turn = ask?.turn ?? ++this.#turn
    if ((this.#turns.get(watcher) ?? 0) > turn) return
    this.#turns.set(watcher, turn)
    const before = [...watcher.watched.keys()]
    watcher.watched.clear()
    for (const user of users) {
      let watchers = this.#watchers.get(user)
      if (watchers === undefined) {
        watchers = new Set()
        this.#watchers.set(user, watchers)
        // A user whose last watch ended recently may still be followed.
        if (!this.#lingering.delete(user)) this.#options.presenceStore.follow(user)
      }
      watchers.add(watcher)
      watcher.watched.set(user, this.statusOf(user))
    }
    for (const user of before) if (!watcher.watched.has(user)) this.#forget(watcher, user)
  }

  /**
   * Returns the presence of users over all servers. For offline users, `lastSeen` is set if this
   * server knows it.
   */
  async ask(users: readonly Id[]): Promise<ReadonlyMap<Id, Presence>> {
    const elsewhere = await this.#options.presenceStore.ask(users)
    return new Map(
      users.map((user) => {
        const status = this.#merge(user, elsewhere.get(user)?.status ?? 'unknown')
        const lastSeen = later(this.#lastSeen.get(user), elsewhere.get(user)?.lastSeen)
        return [user, { user, status, lastSeen: status === 'offline' ? (lastSeen ?? null) : null }]
      }),
    )
  }

  /**
   * Records which presence was sent to a watcher in a response, so that later only differences are
   * sent.
   */
  noteTold(watcher: Watcher, ask: WatchAsk, presence: Iterable<Presence>): void {
    if (this.#turns.get(watcher) !== ask.turn) return
    for (const { user, status } of presence) if (watcher.watched.has(user)) watcher.watched.set(user, status)
  }

  /**
   * Ends these watches and sends the status `unknown` to the watching connections. Skips each
   * connection that has replaced its list of watched users since the watches were collected.
   */
  unwatch(watches: readonly Watch<Watcher>[]): void {
    const ended = new Map<Watcher, Presence[]>()
    for (const { watcher, watched, turn } of watches) {
      if (this.#turns.get(watcher) !== turn) continue
      const told = watcher.watched.get(watched)
      if (!watcher.watched.delete(watched)) continue
      this.#forget(watcher, watched)
      if (told === 'unknown') continue
      const presence: Presence = { user: watched, status: 'unknown', lastSeen: null }
      const news = ended.get(watcher)
      if (news === undefined) ended.set(watcher, [presence])
      else news.push(presence)
    }
    for (const [watcher, news] of ended) this.#options.tell(watcher, news)
  }

  /**
   * Returns whether this user is watched at this server, or has a connection that watches users.
   */
  concerns(user: Id): boolean {
    if (this.#watchers.has(user)) return true
    for (const ask of this.#asks.keys()) if (ask.user === user || ask.wanted.has(user)) return true
    for (const { watched } of this.#connections.of(user)) if (watched.size > 0) return true
    return false
  }

  /**
   * Records that a user left a conversation. Returns true when no check of watches is running: the
   * caller must then call {@link takeLeft} until it returns undefined.
   */
  noteLeft(user: Id): boolean {
    for (const [ask, seen] of this.#asks) if (ask.user === user || ask.wanted.has(user)) this.#asks.set(ask, seen + 1)
    this.#left.add(user)
    if (this.#isLooking) return false
    this.#isLooking = true
    return true
  }

  /**
   * Returns every watch by or of the users who left a conversation since the last call. When there
   * are none, returns undefined and ends the check.
   */
  takeLeft(): Watch<Watcher>[] | undefined {
    const left = this.#left
    if (left.size === 0) {
      this.#isLooking = false
      return undefined
    }
    this.#left = new Set()
    const found: Watch<Watcher>[] = []
    const note = (watcher: Watcher, watched: Id): void =>
      void found.push({ watcher, watched, turn: this.#turns.get(watcher) ?? 0 })
    for (const user of left) {
      for (const watcher of this.#watchers.get(user) ?? []) note(watcher, user)
      for (const watcher of this.#connections.of(user))
        for (const watched of watcher.watched.keys()) note(watcher, watched)
    }
    return found
  }

  watchersOf(user: Id): ReadonlySet<Watcher> {
    return this.#watchers.get(user) ?? new Set()
  }

  /**
   * Returns the status of a user. For a user who is neither watched nor connected at this server,
   * the status may be `unknown`, because no other server is asked.
   */
  statusOf(user: Id): PresenceStatus {
    return this.#merge(user, this.#options.presenceStore.elsewhere(user).status)
  }

  /** Returns when an offline user was last seen, if this server knows it. Asks no other server. */
  lastSeenOf(user: Id): string | undefined {
    return later(this.#lastSeen.get(user), this.#options.presenceStore.elsewhere(user).lastSeen)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#lateTimer?.cancel()
    this.#lingerTimer?.cancel()
    for (const { timer } of this.#leaving.values()) timer.cancel()
    const at = this.#options.now().toISOString()
    this.#options.saveLastSeen([...this.#connections.keys(), ...this.#leaving.keys()].map((user) => ({ user, at })))
    await this.#options.presenceStore.stop()
  }

  #statusHere(user: Id): 'online' | 'away' | undefined {
    for (const { status } of this.#connections.of(user)) if (status === 'online') return 'online'
    return this.#connections.has(user) ? 'away' : this.#leaving.get(user)?.status
  }

  #merge(user: Id, elsewhere: PresenceStatus): PresenceStatus {
    const here = this.#statusHere(user)
    if (here === undefined) return elsewhere
    return elsewhere === 'online' ? 'online' : here
  }

  #forget(watcher: Watcher, user: Id): void {
    const watchers = this.#watchers.get(user)
    watchers?.delete(watcher)
    if (watchers?.size !== 0) return
    this.#watchers.delete(user)
    this.#lingering.set(user, this.#options.clock.nowMs())
    if (this.#lingering.size > presenceLimits.lingeringMax) {
      const [longest] = this.#lingering.keys()
      if (longest !== undefined) this.#unfollow(longest)
    }
    this.#unfollowLater(presenceLimits.lingerMs)
  }

  #unfollow(user: Id): void {
    this.#lingering.delete(user)
    this.#options.presenceStore.unfollow(user)
  }

  #unfollowLater(delayMs: number): void {
    if (this.#isStopped) return
    this.#lingerTimer ??= this.#options.clock.setTimer(() => {
      this.#lingerTimer = undefined
      const nowMs = this.#options.clock.nowMs()
      for (const [user, sinceMs] of this.#lingering) {
        const leftMs = sinceMs + presenceLimits.lingerMs - nowMs
        if (leftMs > 0) {
          this.#unfollowLater(leftMs)
          return
        }
        this.#unfollow(user)
      }
    }, delayMs)
  }

  #remember(user: Id, at: string): void {
    const newest = later(this.#lastSeen.get(user), at) ?? at
    this.#lastSeen.delete(user)
    this.#lastSeen.set(user, newest)
    if (this.#lastSeen.size <= presenceLimits.lastSeenMax) return
    const [oldest] = this.#lastSeen.keys()
    if (oldest !== undefined) this.#lastSeen.delete(oldest)
  }

  #note(user: Id): void {
    if (this.#isStopped || !this.#watchers.has(user)) return
    this.#changed.add(user)
    this.#timer ??= this.#options.clock.setTimer(() => this.#tellChanged(), presenceLimits.gatherMs)
  }

  #tellChanged(): void {
    this.#timer = undefined
    const changed = [...this.#changed]
    this.#changed.clear()
    const unseen = new Set(
      changed.filter(
        (user) => this.statusOf(user) === 'offline' && this.lastSeenOf(user) === undefined && this.#isNews(user),
      ),
    )
    this.#tell(changed.filter((user) => !unseen.has(user)))
    if (unseen.size > 0) void this.#tellWithLastSeen([...unseen])
  }

  async #tellWithLastSeen(users: readonly Id[]): Promise<void> {
    try {
      for (const [user, at] of await this.#options.readLastSeen(users)) if (at !== null) this.#remember(user, at)
    } catch {
      // The database cannot be read, so these users are sent as offline without a last-seen time.
    }
    this.#tell(users)
  }

  #isNews(user: Id): boolean {
    const status = this.statusOf(user)
    for (const { watched } of this.#watchers.get(user) ?? []) if (watched.get(user) !== status) return true
    return false
  }

  #tell(users: readonly Id[]): void {
    if (this.#isStopped) return
    const perWatcher = new Map<Watcher, Presence[]>()
    for (const user of users) {
      const status = this.statusOf(user)
      for (const watcher of this.#watchers.get(user) ?? []) {
        if (watcher.watched.get(user) === status) continue
        if (watcher.isBehind) {
          this.#tellLater(user)
          continue
        }
        watcher.watched.set(user, status)
        const news = perWatcher.get(watcher)
        const presence = { user, status, lastSeen: status === 'offline' ? (this.lastSeenOf(user) ?? null) : null }
        if (news === undefined) perWatcher.set(watcher, [presence])
        else news.push(presence)
      }
    }
    for (const [watcher, presences] of perWatcher) this.#options.tell(watcher, presences)
  }

  #tellLater(user: Id): void {
    this.#late.add(user)
    this.#lateTimer ??= this.#options.clock.setTimer(() => {
      this.#lateTimer = undefined
      const late = [...this.#late]
      this.#late.clear()
      this.#tell(late)
    }, presenceLimits.behindMs)
  }
}

/** Returns the later of two ISO times. */
function later(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return Date.parse(one) >= Date.parse(other) ? one : other
}
