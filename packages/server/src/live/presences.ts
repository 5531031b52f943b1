/**
 * Presence in one process (rules PRES1, PRES2): a user is online while any of their connections is, away while all of
 * those are away, offline a moment after the last has gone (a reload should not flicker).
 *
 * It is told only to those who watch that user, and only what changed, gathered for a quarter of a second. A connection
 * that died without a word is ended by its heartbeat, within fifteen seconds.
 */
import type { Id, Presence, PresenceStatus } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'

export const presenceBounds = {
  gatherMs: 250,
  /** Between the last connection's end and "offline". */
  graceMs: 4_000,
  /** Users whose last-seen time is remembered here; the oldest give way to what the database has. */
  lastSeenMax: 50_000,
} as const

/** A connection, as far as presence goes. */
export interface PresentConnection {
  readonly user: Id
  readonly status: 'online' | 'away'
  readonly watched: Map<Id, PresenceStatus>
}

export interface PresencesOptions<Watcher extends PresentConnection> {
  readonly clock: Clock
  /** The database's time. */
  readonly now: () => Date
  readonly tell: (watcher: Watcher, presences: readonly Presence[]) => void
  /** Writes down when these were last seen; best effort. */
  readonly saveLastSeen: (users: readonly Id[]) => void
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

export class Presences<Watcher extends PresentConnection = PresentConnection> {
  readonly #options: PresencesOptions<Watcher>
  readonly #connections = new Map<Id, Set<Watcher>>()
  readonly #watchers = new Map<Id, Set<Watcher>>()
  readonly #lastSeen = new Map<Id, string>()
  readonly #leaving = new Map<Id, Timer>()
  readonly #changed = new Set<Id>()
  /** Asks under way, with how many concerned by them have left a conversation since they began. */
  readonly #asks = new Map<WatchAsk, number>()
  /** The turn of the list that each watcher has. */
  readonly #turns = new WeakMap<Watcher, number>()
  /** Who left a conversation and is to be looked at again. */
  #left = new Set<Id>()
  #isLooking = false
  #turn = 0
  #timer: Timer | undefined

  constructor(options: PresencesOptions<Watcher>) {
    this.#options = options
  }

  arrive(connection: Watcher): void {
    const { user } = connection
    this.#leaving.get(user)?.cancel()
    this.#leaving.delete(user)
    const found = this.#connections.get(user)
    if (found === undefined) this.#connections.set(user, new Set([connection]))
    else found.add(connection)
    this.#note(user)
  }

  depart(connection: Watcher): void {
    const { user } = connection
    this.watch(connection, [])
    const found = this.#connections.get(user)
    if (found?.delete(connection) !== true) return
    if (found.size > 0) {
      this.#note(user)
      return
    }
    this.#leaving.get(user)?.cancel()
    this.#leaving.set(
      user,
      this.#options.clock.setTimer(() => {
        this.#leaving.delete(user)
        if ((this.#connections.get(user)?.size ?? 0) > 0) return
        this.#connections.delete(user)
        this.#remember(user)
        this.#note(user)
        this.#options.saveLastSeen([user])
      }, presenceBounds.graceMs),
    )
  }

  /** The status of one of the user's connections changed. */
  update(user: Id): void {
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
    for (const user of watcher.watched.keys()) this.#forget(watcher, user)
    watcher.watched.clear()
    for (const user of users) {
      watcher.watched.set(user, this.statusOf(user))
      const watchers = this.#watchers.get(user)
      if (watchers === undefined) this.#watchers.set(user, new Set([watcher]))
      else watchers.add(watcher)
    }
  }

  /** Ends one watch, unless the watcher has another list by now. */
  unwatch({ watcher, watched, turn }: Watch<Watcher>): void {
    if (this.#turns.get(watcher) !== turn) return
    watcher.watched.delete(watched)
    this.#forget(watcher, watched)
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
      for (const watcher of this.#connections.get(user) ?? [])
        for (const watched of watcher.watched.keys()) note(watcher, watched)
    }
    return found
  }

  watchersOf(user: Id): ReadonlySet<Watcher> {
    return this.#watchers.get(user) ?? new Set()
  }

  statusOf(user: Id): 'online' | 'away' | 'offline' {
    const found = this.#connections.get(user)
    if (found === undefined) return 'offline'
    for (const connection of found) if (connection.status === 'online') return 'online'
    // Between connections (a reload) the user is still there.
    return found.size === 0 ? 'online' : 'away'
  }

  /** When an offline user was last here, as far as this process knows. */
  lastSeenOf(user: Id): string | undefined {
    return this.#lastSeen.get(user)
  }

  stop(): void {
    this.#timer?.cancel()
    for (const timer of this.#leaving.values()) timer.cancel()
    this.#options.saveLastSeen([...this.#connections.keys()])
  }

  #forget(watcher: Watcher, user: Id): void {
    const watchers = this.#watchers.get(user)
    watchers?.delete(watcher)
    if (watchers?.size === 0) this.#watchers.delete(user)
  }

  #remember(user: Id): void {
    this.#lastSeen.delete(user)
    this.#lastSeen.set(user, this.#options.now().toISOString())
    if (this.#lastSeen.size <= presenceBounds.lastSeenMax) return
    const [oldest] = this.#lastSeen.keys()
    if (oldest !== undefined) this.#lastSeen.delete(oldest)
  }

  #note(user: Id): void {
    if (!this.#watchers.has(user)) return
    this.#changed.add(user)
    this.#timer ??= this.#options.clock.setTimer(() => this.#tell(), presenceBounds.gatherMs)
  }

  #tell(): void {
    this.#timer = undefined
    const perWatcher = new Map<Watcher, Presence[]>()
    for (const user of this.#changed) {
      const status = this.statusOf(user)
      for (const watcher of this.#watchers.get(user) ?? []) {
        if (watcher.watched.get(user) === status) continue
        watcher.watched.set(user, status)
        const news = perWatcher.get(watcher)
        const presence = { user, status, lastSeen: status === 'offline' ? (this.#lastSeen.get(user) ?? null) : null }
        if (news === undefined) perWatcher.set(watcher, [presence])
        else news.push(presence)
      }
    }
    this.#changed.clear()
    for (const [watcher, presences] of perWatcher) this.#options.tell(watcher, presences)
  }
}
