/**
 * Presence (rules PRES1, PRES2): a user is online while any of their connections is, away while all of those are away,
 * offline a moment after the last has gone (a reload, or a move to another server, should not flicker).
 *
 * Connections at this server count at once, whatever Redis does; what the other servers know comes from `whereabouts`. It is
 * told only to those who watch that user, and only what changed, gathered for a quarter of a second: a change costs its
 * watchers, and a connection watches at most a hundred people, so nothing grows with the square of a room.
 */
import type { Id, Presence, PresenceStatus } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import { Groups } from '../support/groups.ts'
import type { Whereabouts } from './whereabouts.ts'

export const presenceBounds = {
  gatherMs: 250,
  /** Until a connection that was behind is looked at again; it is told what is newest by then. */
  behindMs: 1_000,
  /** Between the last connection's end and "offline". */
  graceMs: 4_000,
  /** How long a user whom nobody watches any more is still followed: lists of people go back and forth. */
  lingerMs: 5_000,
  /** Users who are followed without being watched; beyond it the one unwatched for longest is not. */
  lingeringMax: 10_000,
  /** Users whose last-seen time is remembered here; the oldest give way to what the database has. */
  lastSeenMax: 50_000,
} as const

/** A connection, as far as presence goes. */
export interface PresentConnection {
  readonly user: Id
  readonly status: 'online' | 'away'
  readonly watched: Watchings
  /** It has not read what it was sent: it is told later, the newest and not all that was between (rule LIVE1). */
  readonly isBehind: boolean
}

/** Whom it follows, with what it was last told: a map. */
export interface Watchings {
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
  /** ISO time of the database. */
  readonly at: string
}

export interface PresencesOptions<Watcher extends PresentConnection> {
  readonly clock: Clock
  /** The database's time. */
  readonly now: () => Date
  readonly whereabouts: Whereabouts
  readonly tell: (watcher: Watcher, presences: readonly Presence[]) => void
  /** Writes down when these were last seen; best effort. */
  readonly saveLastSeen: (seen: readonly LastSeen[]) => void
  /** When these were last seen, as far as it was written down. */
  readonly readLastSeen: (users: readonly Id[]) => Promise<ReadonlyMap<Id, string | null>>
}

/** A list of people to watch, while it is found out whom of them one may see. */
export interface WatchAsk {
  readonly user: Id
  readonly wanted: ReadonlySet<Id>
  /** Later asks win over earlier ones. */
  readonly turn: number
}

/** That one connection follows one user, as of the list it had then. */
export interface Watch<Watcher> {
  readonly watcher: Watcher
  readonly watched: Id
  readonly turn: number
}

/** Between connections: a reload. */
interface Leaving {
  readonly timer: Timer
  /** What the last connection said. */
  readonly status: 'online' | 'away'
}

export class Presences<Watcher extends PresentConnection = PresentConnection> {
  readonly #options: PresencesOptions<Watcher>
  readonly #connections = new Groups<Id, Watcher>()
  readonly #watchers = new Map<Id, Set<Watcher>>()
  /** Users who are followed and not watched any more, since when; the one unwatched for longest first. */
  readonly #lingering = new Map<Id, number>()
  #lingerTimer: Timer | undefined
  readonly #lastSeen = new Map<Id, string>()
  readonly #leaving = new Map<Id, Leaving>()
  readonly #changed = new Set<Id>()
  /** What somebody was too far behind to be told. */
  readonly #late = new Set<Id>()
  #lateTimer: Timer | undefined
  /** Asks under way, with how many concerned by them have left a conversation since they began. */
  readonly #asks = new Map<WatchAsk, number>()
  /** The turn of the list that each watcher has. */
  readonly #turns = new WeakMap<Watcher, number>()
  /** Who left a conversation and is to be looked at again. */
  #left = new Set<Id>()
  #isLooking = false
  #turn = 0
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: PresencesOptions<Watcher>) {
    this.#options = options
    options.whereabouts.onChange((user) => this.#note(user))
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
      this.#options.whereabouts.report(user, undefined, at)
      this.#note(user)
      this.#options.saveLastSeen([{ user, at }])
    }, presenceBounds.graceMs)
    this.#leaving.set(user, { timer, status: connection.status })
  }

  /** Something about one of the user's connections changed. */
  update(user: Id): void {
    const status = this.#statusHere(user)
    if (status !== undefined) this.#options.whereabouts.report(user, status)
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

  /** Counts up when somebody whom the ask concerns left a conversation: what was read before may be wrong. */
  leavesSeen(ask: WatchAsk): number {
    return this.#asks.get(ask) ?? 0
  }

  /** Replaces the list of users a connection follows, unless the answer to a later ask came first. */
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
        // Nothing has to be subscribed for a user who was watched a moment ago.
        if (!this.#lingering.delete(user)) this.#options.whereabouts.follow(user)
      }
      watchers.add(watcher)
      watcher.watched.set(user, this.statusOf(user))
    }
    for (const user of before) if (!watcher.watched.has(user)) this.#forget(watcher, user)
  }

  /** What is known of these, the other servers asked. `lastSeen` of those who are offline, as far as it is known here. */
  async ask(users: readonly Id[]): Promise<ReadonlyMap<Id, Presence>> {
    const elsewhere = await this.#options.whereabouts.ask(users)
    return new Map(
      users.map((user) => {
        const status = this.#merge(user, elsewhere.get(user)?.status ?? 'unknown')
        const lastSeen = later(this.#lastSeen.get(user), elsewhere.get(user)?.lastSeen)
        return [user, { user, status, lastSeen: status === 'offline' ? (lastSeen ?? null) : null }]
      }),
    )
  }

  /** The watcher has this as an answer; what differs from it is news. */
  noteTold(watcher: Watcher, ask: WatchAsk, presence: Iterable<Presence>): void {
    if (this.#turns.get(watcher) !== ask.turn) return
    for (const { user, status } of presence) if (watcher.watched.has(user)) watcher.watched.set(user, status)
  }

  /** Ends watches, unless the watcher has another list by now: it is told that it knows nothing of them any more. */
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

  /** Does anybody here watch this user, or this user anybody? */
  concerns(user: Id): boolean {
    if (this.#watchers.has(user)) return true
    for (const ask of this.#asks.keys()) if (ask.user === user || ask.wanted.has(user)) return true
    for (const { watched } of this.#connections.of(user)) if (watched.size > 0) return true
    return false
  }

  /** Somebody left a conversation. True when nobody is looking yet: the asker has to, until {@link takeLeft} has nothing. */
  noteLeft(user: Id): boolean {
    for (const [ask, seen] of this.#asks) if (ask.user === user || ask.wanted.has(user)) this.#asks.set(ask, seen + 1)
    this.#left.add(user)
    if (this.#isLooking) return false
    this.#isLooking = true
    return true
  }

  /** Every watch by or of those who left since the last call. Undefined: nobody did, and looking is over. */
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

  /** Of somebody who is watched or connected here; of others only what is known without asking. */
  statusOf(user: Id): PresenceStatus {
    return this.#merge(user, this.#options.whereabouts.elsewhere(user).status)
  }

  /** When an offline user was last here, as far as it is known without asking. */
  lastSeenOf(user: Id): string | undefined {
    return later(this.#lastSeen.get(user), this.#options.whereabouts.elsewhere(user).lastSeen)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#lateTimer?.cancel()
    this.#lingerTimer?.cancel()
    for (const { timer } of this.#leaving.values()) timer.cancel()
    const at = this.#options.now().toISOString()
    this.#options.saveLastSeen([...this.#connections.keys(), ...this.#leaving.keys()].map((user) => ({ user, at })))
    await this.#options.whereabouts.stop()
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
    if (this.#lingering.size > presenceBounds.lingeringMax) {
      const [longest] = this.#lingering.keys()
      if (longest !== undefined) this.#unfollow(longest)
    }
    this.#unfollowLater(presenceBounds.lingerMs)
  }

  #unfollow(user: Id): void {
    this.#lingering.delete(user)
    this.#options.whereabouts.unfollow(user)
  }

  #unfollowLater(delayMs: number): void {
    if (this.#isStopped) return
    this.#lingerTimer ??= this.#options.clock.setTimer(() => {
      this.#lingerTimer = undefined
      const nowMs = this.#options.clock.nowMs()
      for (const [user, sinceMs] of this.#lingering) {
        const leftMs = sinceMs + presenceBounds.lingerMs - nowMs
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
    if (this.#lastSeen.size <= presenceBounds.lastSeenMax) return
    const [oldest] = this.#lastSeen.keys()
    if (oldest !== undefined) this.#lastSeen.delete(oldest)
  }

  #note(user: Id): void {
    if (this.#isStopped || !this.#watchers.has(user)) return
    this.#changed.add(user)
    this.#timer ??= this.#options.clock.setTimer(() => this.#tellChanged(), presenceBounds.gatherMs)
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
      // They are offline since nobody knows when.
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
    }, presenceBounds.behindMs)
  }
}

/** The later of two ISO times. */
function later(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return Date.parse(one) >= Date.parse(other) ? one : other
}
