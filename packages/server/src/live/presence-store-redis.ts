/**
 * Presence store over Redis, based on leases (rules PRES1, PRES2). Users are divided into
 * partitions. Each server holds one lease per partition, refreshes it every few seconds, and writes
 * its own users under it. So refreshing costs per server, not per user. After `kill -9`, all users
 * of the server end with its lease, 25 s after the last refresh.
 *
 * A lease that ended is never revived. When the content of Redis is in doubt (the lease is gone, a
 * write failed, the connection was lost), the server takes a new lease, writes all its users again,
 * and then ends the old lease. So no present user flickers, and no user who left in that time
 * remains. Redis may lose everything at any moment; it is written again. It may also lose single
 * users without their lease, which no reply shows. So each refresh also rewrites some users, and
 * every user is rewritten about every 15 seconds.
 *
 * A user is never reported offline just because Redis cannot answer. A user without a living lease
 * is `unknown` while the partition is unreachable. This lasts a moment longer after it returns or
 * was found empty, until the other servers have written their users again.
 *
 * Cost: a server runs about five small scripts a second for its leases, as many to rewrite users,
 * and one script and one hint per status change. A server that receives hints runs one script per
 * 100 ms and partition. It also rereads every watched user once in ten seconds, in case a hint was
 * lost, and less often beyond the limit below.
 */
import type { Id, PresenceStatus } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis } from '../redis/redis.ts'
import { endLease, readPresence, refreshLease, writePresence } from './scripts.ts'
import { unknownRemotePresence, type RemotePresence, type PresenceStore } from './presence-store.ts'

export const presenceStoreBounds = {
  /**
   * Number of partitions of the users. Each is stored with its leases, and a cluster spreads them
   * over its masters.
   */
  partitions: 16,
  /** Time after which a lease ends unless it is refreshed. */
  leaseMs: 25_000,
  /**
   * Time between two refreshes of a lease. A refresh also returns the leases of the other servers.
   */
  refreshIntervalMs: 3_000,
  tendRetryMs: 500,
  /**
   * Base of the backoff after several lost leases in a row, as in a Redis that evicts keys; grows
   * up to `tendEveryMs`.
   */
  lostRetryMs: 100,
  /** Maximum number of leases in a partition, living and recently ended. */
  leasesMax: 1_000,
  /** Time after which data in Redis expires unless it is written again. */
  keepMs: 6 * 3_600_000,
  /** Time after which an unreachable partition makes its users `unknown`. */
  awayAfterMs: 2_000,
  /** Time that the other servers have to write their users again after Redis was away or empty. */
  settleMs: 8_000,
  /**
   * Time between the end of a server and the end of its lease. Its users connect to another server
   * in this time.
   */
  leavingMs: 4_000,
  usersPerScript: 200,
  /**
   * Number of refreshes in which all users of a partition are rewritten, unless they are too many.
   */
  refreshesPerRewrite: 5,
  /** Maximum number of users that one refresh rewrites. */
  rewritesMax: 200,
  /** Time during which hints are gathered before their users are read. */
  gatherMs: 100,
  /** Time in which every watched user is read again, in case a hint was lost. */
  rereadEveryMs: 10_000,
  /** Maximum number of these rereads in users per second. */
  rereadPerSecondMax: 2_000,
  /** Maximum number of watched users on one server. Further users are `unknown` there. */
  followedMax: 100_000,
  /**
   * Maximum number of users of one partition that wait to be read. Further users are `unknown`
   * until the next turn.
   */
  waitingMax: 20_000,
} as const

/** Reason why a lease was taken. */
export type LeaseCause = 'start' | 'lost' | 'doubt'

export interface WhereaboutsObserver {
  /**
   * Called when a lease was taken. A server takes one per partition at its start; later ones mean
   * trouble.
   */
  leaseTaken(cause: LeaseCause): void
  /** Called with the number of unreachable partitions. */
  unreachable(partitions: number): void
}

export interface RedisPresenceStoreOptions {
  readonly redis: Redis
  /** Name of this server among all servers; a new one after each start. */
  readonly boot: string
  readonly clock: Clock
  /** Returns the database's time. */
  readonly now: () => Date
  /** Subscribes to hints about this user. Resolves when hints arrive from then on. */
  readonly subscribe: (user: Id) => Promise<void>
  readonly unsubscribe: (user: Id) => void
  /** Asks the servers where this user is watched to read the user again. */
  readonly hint: (user: Id) => void
  /** Called for users whose server died without notice, with the time when it was last alive. */
  readonly onLost: (users: readonly { readonly user: Id; readonly at: string }[]) => void
  readonly observer: WhereaboutsObserver
}

interface Followed {
  whereabout: RemotePresence
  /** Leases that name the user. */
  leases: readonly string[]
  readonly subscribed: Promise<void>
}

interface Waiting {
  readonly answer: Promise<RemotePresence>
  readonly resolve: (answer: RemotePresence) => void
}

/**
 * One partition of the users, with everything that this server knows about it and still has to do
 * for it.
 */
class Partition {
  readonly leasesKey: string
  readonly wholeKey: string
  /** Lease of this server; undefined until one was chosen. */
  lease: string | undefined
  /** Whether the lease still has to be taken in Redis. */
  isLeaseNew = false
  /** Reason why the current lease was taken. */
  cause: LeaseCause = 'start'
  /** Older leases of this server, to be ended once all users are written under the newer lease. */
  outdated: string[] = []
  /** Reason why the next refresh must take a new lease. */
  doubt: LeaseCause | undefined = 'start'
  readonly here = new Map<Id, 'online' | 'away'>()
  /** Users of the current round of rewriting that are still to come. */
  rewrites: Iterator<Id> | undefined
  /** Users still to be written, with the last-seen time of users who left. */
  readonly unwritten = new Map<Id, string | undefined>()
  readonly followed = new Map<Id, Followed>()
  readonly waiting = new Map<Id, Waiting>()
  /** Leases of other servers that were alive at the last refresh. */
  living: ReadonlySet<string> = new Set()
  /** Number of leases lost in a row. A successful refresh resets it. */
  losses = 0
  isTending = false
  isWriting = false
  isReading = false
  tendTimer: Timer | undefined
  readTimer: Timer | undefined
  readDueAtMs = Number.POSITIVE_INFINITY
  settleTimer: Timer | undefined
  /** Time before which a missing user may still be online elsewhere. */
  settledAtMs = Number.NEGATIVE_INFINITY
  failingSinceMs: number | undefined
  isAway = false

  constructor(index: number, nameOf: (name: string) => string) {
    const tag = `{presence-${index}}`
    this.leasesKey = nameOf(`${tag}:leases`)
    this.wholeKey = nameOf(`${tag}:whole`)
    this.keyOf = (user) => nameOf(`${tag}:${user}`)
  }

  readonly keyOf: (user: Id) => string
}

export class RedisPresenceStore implements PresenceStore {
  readonly #options: RedisPresenceStoreOptions
  /** Prefix of all leases of this server. */
  readonly #boot: string
  readonly #partitions: readonly Partition[]
  readonly #listeners: ((user: Id) => void)[] = []
  #leasesTaken = 0
  #followedCount = 0
  #rereads: Iterator<readonly [Partition, Id]> | undefined
  #rereadTimer: Timer | undefined
  #isStopped = false

  constructor(options: RedisPresenceStoreOptions) {
    this.#options = options
    this.#boot = `${options.boot}.`
    this.#partitions = Array.from(
      { length: presenceStoreBounds.partitions },
      (_, index) => new Partition(index, (name) => options.redis.keyOf(name)),
    )
    options.redis.onReconnect(() => this.#reconnected())
    for (const partition of this.#partitions) this.#tendLater(partition, 0)
    this.#rereadLater()
  }

  /** Number of users watched here. */
  get followedCount(): number {
    return this.#followedCount
  }

  onChange(listener: (user: Id) => void): void {
    this.#listeners.push(listener)
  }

  report(user: Id, status: 'online' | 'away' | undefined, lastSeen?: string): void {
    const partition = this.#partitionOf(user)
    if (partition.here.get(user) === status) return
    if (status === undefined) partition.here.delete(user)
    else partition.here.set(user, status)
    // The next lease writes all users anyway.
    if (partition.doubt !== undefined || this.#isStopped) return
    partition.unwritten.set(user, lastSeen)
    void this.#write(partition)
  }

  follow(user: Id): void {
    const partition = this.#partitionOf(user)
    if (this.#isStopped || partition.followed.has(user) || this.#followedCount >= presenceStoreBounds.followedMax)
      return
    this.#followedCount++
    partition.followed.set(user, {
      whereabout: unknownRemotePresence,
      leases: [],
      subscribed: this.#options.subscribe(user),
    })
  }

  unfollow(user: Id): void {
    if (!this.#partitionOf(user).followed.delete(user)) return
    this.#followedCount--
    this.#options.unsubscribe(user)
  }

  elsewhere(user: Id): RemotePresence {
    return this.#partitionOf(user).followed.get(user)?.whereabout ?? unknownRemotePresence
  }

  async ask(users: readonly Id[]): Promise<ReadonlyMap<Id, RemotePresence>> {
    const answers = await Promise.all(
      users.map(async (user): Promise<readonly [Id, RemotePresence]> => {
        const partition = this.#partitionOf(user)
        const followed = partition.followed.get(user)
        // Followed users are kept up to date. Redis is only asked until their status is known.
        if (followed !== undefined && followed.whereabout.status !== 'unknown') return [user, followed.whereabout]
        if (partition.isAway) return [user, unknownRemotePresence]
        // Subscribe, wait for the confirmation, then read: later changes arrive as hints.
        await followed?.subscribed
        return [user, await this.#read(partition, user, 0)]
      }),
    )
    return new Map(answers)
  }

  /** Handles a hint that this user's status at another server changed. */
  heard(user: Id): void {
    const partition = this.#partitionOf(user)
    if (partition.followed.has(user)) void this.#read(partition, user, presenceStoreBounds.gatherMs)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#rereadTimer?.cancel()
    for (const partition of this.#partitions) {
      partition.tendTimer?.cancel()
      partition.readTimer?.cancel()
      partition.settleTimer?.cancel()
      for (const { resolve } of partition.waiting.values()) resolve(unknownRemotePresence)
      partition.waiting.clear()
    }
    await Promise.allSettled(
      this.#partitions.map(async ({ leasesKey, lease, here }) => {
        const afterMs = here.size === 0 ? 0 : presenceStoreBounds.leavingMs
        if (lease !== undefined) await this.#options.redis.script(endLease, [leasesKey], [lease, afterMs])
      }),
    )
  }

  #partitionOf(user: Id): Partition {
    return this.#partitions[hashOf(user) % presenceStoreBounds.partitions] as Partition
  }

  // --- Lease ---

  #tendLater(partition: Partition, delayMs: number): void {
    partition.tendTimer?.cancel()
    if (this.#isStopped) return
    partition.tendTimer = this.#options.clock.setTimer(() => void this.#tend(partition), delayMs)
  }

  async #tend(partition: Partition): Promise<void> {
    if (partition.isTending || this.#isStopped) return
    partition.isTending = true
    try {
      const nextMs = await this.#tendOnce(partition)
      this.#answered(partition)
      if (nextMs === 'lost') this.#takeAgainLater(partition)
      else
        this.#tendLater(
          partition,
          partition.doubt === undefined ? nextMs : Math.min(nextMs, presenceStoreBounds.tendRetryMs),
        )
    } catch {
      // The Redis client has logged the reason. A new lease that may have been taken is not relied
      // upon.
      if (partition.isLeaseNew) this.#doubt(partition, partition.cause)
      this.#failed(partition)
      this.#tendLater(partition, presenceStoreBounds.tendRetryMs)
    } finally {
      partition.isTending = false
    }
    void this.#write(partition)
  }

  /** Refreshes the lease once. Resolves with the time until the next refresh. */
  async #tendOnce(partition: Partition): Promise<number | 'lost'> {
    const { leaseMs, keepMs, leasesMax, refreshIntervalMs, settleMs } = presenceStoreBounds
    if (partition.doubt !== undefined) this.#takeNewLease(partition, partition.doubt)
    const lease = partition.lease as string
    const reply = (await this.#options.redis.script(
      refreshLease,
      [partition.leasesKey, partition.wholeKey],
      [lease, partition.isLeaseNew ? 'new' : 'keep', leaseMs, keepMs, leasesMax],
    )) as readonly (number | string)[]
    if (reply[0] !== 1) {
      this.#doubt(partition, 'lost')
      return 'lost'
    }
    if (partition.isLeaseNew) this.#options.observer.leaseTaken(partition.cause)
    else {
      partition.losses = 0
      rewriteSome(partition)
    }
    partition.isLeaseNew = false
    this.#settle(partition, settleMs - Number(reply[1]))

    const living = new Set<string>()
    let nextMs: number = refreshIntervalMs
    for (let index = 2; index < reply.length; index += 2) {
      const other = String(reply[index])
      if (other.startsWith(this.#boot)) continue
      living.add(other)
      // A lease that is about to end is checked right after its end.
      nextMs = Math.min(nextMs, Number(reply[index + 1]) + 50)
    }
    const ended = [...partition.living].filter((other) => !living.has(other))
    partition.living = living
    if (ended.length > 0) this.#rereadNamedBy(partition, ended)
    return nextMs
  }

  /**
   * Schedules a new lease after a lost one. The first retry is immediate, because one lost lease
   * means an emptied Redis. Several in a row mean a Redis that evicts keys, so the retries slow
   * down.
   */
  #takeAgainLater(partition: Partition): void {
    const { lostRetryMs, refreshIntervalMs } = presenceStoreBounds
    const boundMs =
      partition.losses === 0 ? 0 : Math.min(refreshIntervalMs, lostRetryMs * 2 ** Math.min(partition.losses, 10))
    partition.losses++
    this.#tendLater(partition, boundMs * (0.5 + Math.random() / 2))
  }

  #takeNewLease(partition: Partition, cause: LeaseCause): void {
    if (partition.lease !== undefined && !partition.isLeaseNew) partition.outdated.push(partition.lease)
    // Keep only a few; older leases end by themselves.
    partition.outdated = partition.outdated.slice(-4)
    partition.doubt = undefined
    partition.isLeaseNew = true
    partition.lease = `${this.#boot}${++this.#leasesTaken}`
    partition.unwritten.clear()
    for (const user of partition.here.keys()) partition.unwritten.set(user, undefined)
    partition.cause = cause
  }

  #rereadNamedBy(partition: Partition, ended: readonly string[]): void {
    for (const [user, { leases }] of partition.followed)
      if (leases.some((lease) => ended.includes(lease))) void this.#read(partition, user, 0)
  }

  /**
   * Records that users missing now may be written again within `forMs`, and rereads unknown users
   * after that.
   */
  #settle(partition: Partition, forMs: number): void {
    const atMs = this.#options.clock.nowMs() + forMs
    if (forMs <= 0 || atMs <= partition.settledAtMs) return
    partition.settledAtMs = atMs
    partition.settleTimer?.cancel()
    partition.settleTimer = this.#options.clock.setTimer(() => {
      for (const [user, { whereabout }] of partition.followed)
        if (whereabout.status === 'unknown') void this.#read(partition, user, 0)
    }, forMs)
  }

  // --- Writing this server's users ---

  async #write(partition: Partition): Promise<void> {
    if (partition.isWriting) return
    partition.isWriting = true
    try {
      while (partition.unwritten.size > 0 && mayWrite(partition) && !this.#isStopped) await this.#writeBatch(partition)
      while (partition.outdated.length > 0 && mayWrite(partition) && !this.#isStopped) {
        const [outdated = ''] = partition.outdated
        await this.#options.redis.script(endLease, [partition.leasesKey], [outdated, 0])
        partition.outdated = partition.outdated.filter((lease) => lease !== outdated)
      }
    } catch {
      // The write may or may not have happened, so everything is written again under a new lease.
      this.#doubt(partition)
      this.#failed(partition)
      this.#tendLater(partition, presenceStoreBounds.tendRetryMs)
    } finally {
      partition.isWriting = false
    }
  }

  async #writeBatch(partition: Partition): Promise<void> {
    const { leaseMs, keepMs, usersPerScript } = presenceStoreBounds
    const users: Id[] = []
    const words: string[] = []
    for (const [user, lastSeen] of partition.unwritten) {
      partition.unwritten.delete(user)
      users.push(user)
      words.push(partition.here.get(user) ?? '', lastSeen ?? '')
      if (users.length === usersPerScript) break
    }
    const lease = partition.lease as string
    const [held, ...changed] = (await this.#options.redis.script(
      writePresence,
      [partition.leasesKey, ...users.map(partition.keyOf)],
      [lease, leaseMs, keepMs, ...words],
    )) as readonly number[]
    this.#answered(partition)
    if (held !== 1) {
      // If a newer lease was taken in the meantime, these users are written under it.
      if (lease === partition.lease) {
        this.#doubt(partition, 'lost')
        this.#takeAgainLater(partition)
      } else this.#tendLater(partition, 0)
      return
    }
    users.forEach((user, index) => {
      if (changed[index] === 1) this.#options.hint(user)
    })
  }

  #doubt(partition: Partition, cause: LeaseCause = 'doubt'): void {
    partition.doubt ??= cause
    partition.unwritten.clear()
  }

  // --- Reading the users of other servers ---

  #read(partition: Partition, user: Id, withinMs: number): Promise<RemotePresence> {
    const known = partition.waiting.get(user)
    if (known === undefined && (this.#isStopped || partition.waiting.size >= presenceStoreBounds.waitingMax))
      return Promise.resolve(unknownRemotePresence)
    let { answer } = known ?? {}
    if (answer === undefined) {
      let resolve: (answer: RemotePresence) => void = () => undefined
      answer = new Promise((resolveAnswer) => {
        resolve = resolveAnswer
      })
      partition.waiting.set(user, { answer, resolve })
    }
    const dueAtMs = this.#options.clock.nowMs() + withinMs
    if (dueAtMs < partition.readDueAtMs) {
      partition.readDueAtMs = dueAtMs
      partition.readTimer?.cancel()
      partition.readTimer = this.#options.clock.setTimer(() => void this.#readWaiting(partition), withinMs)
    }
    return answer
  }

  /**
   * Reads all waiting users. Runs one script at a time; users that arrive during it go into the
   * next, larger one.
   */
  async #readWaiting(partition: Partition): Promise<void> {
    partition.readDueAtMs = Number.POSITIVE_INFINITY
    if (partition.isReading) return
    partition.isReading = true
    try {
      while (partition.waiting.size > 0) await this.#readBatch(partition)
    } finally {
      partition.isReading = false
    }
  }

  async #readBatch(partition: Partition): Promise<void> {
    const batch = [...partition.waiting].slice(0, presenceStoreBounds.usersPerScript)
    for (const [user] of batch) partition.waiting.delete(user)
    let said: readonly RawUser[]
    try {
      const [wholeForMs, ...users] = (await this.#options.redis.script(
        readPresence,
        [partition.leasesKey, partition.wholeKey, ...batch.map(([user]) => partition.keyOf(user))],
        [this.#boot, presenceStoreBounds.leaseMs],
      )) as readonly [number, ...RawUser[]]
      said = users
      const { settleMs } = presenceStoreBounds
      this.#settle(partition, wholeForMs < 0 ? settleMs : settleMs - wholeForMs)
      this.#answered(partition)
    } catch {
      this.#failed(partition)
      for (const [, { resolve }] of [...batch, ...partition.waiting]) resolve(unknownRemotePresence)
      partition.waiting.clear()
      return
    }
    const lost: { user: Id; at: string }[] = []
    batch.forEach(([user, { resolve }], index) => {
      const raw = said[index]
      const followed = partition.followed.get(user)
      const answer =
        raw === undefined ? unknownRemotePresence : this.#understand(partition, raw, followed?.whereabout.status)
      if (followed !== undefined && raw !== undefined) {
        const before = followed.whereabout
        followed.leases = raw.slice(3).map(String)
        if (before.status !== answer.status) {
          if (isThere(before) && Number(raw[2]) >= 0 && answer.lastSeen !== undefined)
            lost.push({ user, at: answer.lastSeen })
          this.#change(user, followed, answer)
        }
      }
      resolve(answer)
    })
    if (lost.length > 0) this.#options.onLost(lost)
  }

  #understand(
    partition: Partition,
    [status, seen, endedForMs]: RawUser,
    before: PresenceStatus | undefined,
  ): RemotePresence {
    if (status === 'online' || status === 'away') return { status, lastSeen: undefined }
    // Nothing contradicts a user who was offline before, so that user stays offline.
    if (this.#options.clock.nowMs() < partition.settledAtMs && before !== 'offline') return unknownRemotePresence
    const saidAtMs = Date.parse(String(seen))
    const endedAtMs = Number(endedForMs) < 0 ? Number.NaN : this.#options.now().getTime() - Number(endedForMs)
    const atMs = Math.max(
      Number.isNaN(saidAtMs) ? Number.NEGATIVE_INFINITY : saidAtMs,
      Number.isNaN(endedAtMs) ? Number.NEGATIVE_INFINITY : endedAtMs,
    )
    return { status: 'offline', lastSeen: Number.isFinite(atMs) ? new Date(atMs).toISOString() : undefined }
  }

  #change(user: Id, followed: Followed, whereabout: RemotePresence): void {
    followed.whereabout = whereabout
    for (const listener of this.#listeners) listener(user)
  }

  #rereadLater(): void {
    if (this.#isStopped) return
    this.#rereadTimer = this.#options.clock.setTimer(() => {
      this.#rereadSome()
      this.#rereadLater()
    }, 1_000)
  }

  #rereadSome(): void {
    const { rereadEveryMs, rereadPerSecondMax } = presenceStoreBounds
    const share = Math.ceil((this.#followedCount * 1_000) / rereadEveryMs)
    for (let left = Math.min(share, rereadPerSecondMax); left > 0; left--) {
      this.#rereads ??= this.#allFollowed()
      const next = this.#rereads.next()
      if (next.done === true) {
        this.#rereads = undefined
        return
      }
      const [partition, user] = next.value
      if (!partition.isAway) void this.#read(partition, user, 0)
    }
  }

  *#allFollowed(): Generator<readonly [Partition, Id]> {
    for (const partition of this.#partitions) for (const user of partition.followed.keys()) yield [partition, user]
  }

  // --- Reachability of Redis ---

  #reconnected(): void {
    for (const partition of this.#partitions) {
      // The reconnect may have reached another Redis, or one that lost its data.
      this.#doubt(partition)
      this.#settle(partition, presenceStoreBounds.settleMs)
      this.#tendLater(partition, 0)
      for (const user of partition.followed.keys()) void this.#read(partition, user, presenceStoreBounds.gatherMs)
    }
  }

  #failed(partition: Partition): void {
    const nowMs = this.#options.clock.nowMs()
    partition.failingSinceMs ??= nowMs
    if (partition.isAway || nowMs - partition.failingSinceMs < presenceStoreBounds.awayAfterMs) return
    partition.isAway = true
    this.#observeReach()
    for (const [user, followed] of partition.followed)
      if (followed.whereabout.status !== 'unknown') this.#change(user, followed, unknownRemotePresence)
  }

  #observeReach(): void {
    this.#options.observer.unreachable(this.#partitions.filter(({ isAway }) => isAway).length)
  }

  #answered(partition: Partition): void {
    partition.failingSinceMs = undefined
    if (!partition.isAway) return
    partition.isAway = false
    this.#observeReach()
    this.#settle(partition, presenceStoreBounds.settleMs)
    for (const user of partition.followed.keys()) void this.#read(partition, user, 0)
  }
}

/**
 * Status, last-seen time, time since the last server that named the user was alive, then the leases
 * that name the user.
 */
type RawUser = readonly (string | number)[]

function mayWrite(partition: Partition): boolean {
  return partition.lease !== undefined && !partition.isLeaseNew && partition.doubt === undefined
}

/** Adds the next users of the round to those to be written. A finished round begins again. */
function rewriteSome(partition: Partition): void {
  const { refreshesPerRewrite, rewritesMax } = presenceStoreBounds
  const { here, unwritten } = partition
  for (let left = Math.min(Math.ceil(here.size / refreshesPerRewrite), rewritesMax); left > 0; left--) {
    partition.rewrites ??= here.keys()
    const next = partition.rewrites.next()
    if (next.done === true) {
      partition.rewrites = undefined
      return
    }
    if (!unwritten.has(next.value)) unwritten.set(next.value, undefined)
  }
}

function isThere({ status }: RemotePresence): boolean {
  return status === 'online' || status === 'away'
}

/** Hashes a user id with FNV-1a. */
function hashOf(user: Id): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < user.length; index++) hash = Math.imul(hash ^ user.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
