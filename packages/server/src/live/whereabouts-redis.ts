/**
 * Where users are, kept in Redis as leases (rules PRES1, PRES2). Each server holds a lease per partition of the users,
 * refreshes it every few seconds, and writes its own users under it: refreshing costs per server, not per user, and after
 * `kill -9` all its users end with the lease, 25 s after it was last refreshed.
 *
 * A lease that ended is dead for good. When there is any doubt about what Redis holds (the lease is gone, a write failed,
 * the connection was away) the server takes a new lease, writes all its users again, and then ends the old one: nobody
 * flickers, and nobody who left meanwhile stays behind. Redis may lose everything at any moment; it is written again.
 *
 * Nobody is offline for want of an answer: while a partition cannot be asked, and for a moment after it is back or was
 * found empty (the other servers write again then), those who are named by no lease are `unknown`.
 *
 * Cost: a server makes about five small scripts a second for its leases; one script and one hint per change of a user's
 * status; a receiver of hints one script per hundred milliseconds and partition; and every watched user is read once in ten
 * seconds, because a hint may be lost, up to the bound below; beyond it less often.
 */
import type { Id, PresenceStatus } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis } from '../support/redis.ts'
import { endLease, readPresence, tendLease, writePresence } from './scripts.ts'
import { unknownWhereabout, type Whereabout, type Whereabouts } from './whereabouts.ts'

export const whereaboutsBounds = {
  /** Users are spread over so many parts, each with its leases beside it: in a cluster the parts live on several masters. */
  partitions: 16,
  /** A lease that is not refreshed ends after this. */
  leaseMs: 25_000,
  /** Between two refreshes of a lease, which also show the leases of the others. */
  tendEveryMs: 3_000,
  tendRetryMs: 500,
  /** Leases lost one after the other, as in a Redis that evicts, are taken again ever later, up to `tendEveryMs`. */
  lostRetryMs: 100,
  /** Leases that one partition lists, of servers that live and that ended lately. */
  leasesMax: 1_000,
  /** How long what is in Redis stays without being written again. */
  keepMs: 6 * 3_600_000,
  /** A partition that could not be asked for so long makes its users `unknown`. */
  awayAfterMs: 2_000,
  /** How long the other servers have to write their users again after Redis was away or empty. */
  settleMs: 8_000,
  /** Between the end of a server and the end of its lease: its users reach another one meanwhile. */
  leavingMs: 4_000,
  usersPerScript: 200,
  /** Hints gather for this long before they are followed up. */
  gatherMs: 100,
  /** Every watched user is read again so often, for a hint that was lost. */
  rereadEveryMs: 10_000,
  /** Most of those reads, users a second. */
  rereadPerSecondMax: 2_000,
  /** Users watched at one server; who comes after is `unknown` there. */
  followedMax: 100_000,
  /** Users of one partition that wait to be read; who comes after is `unknown` until the next turn. */
  waitingMax: 20_000,
} as const

/** Why a lease was taken. */
export type LeaseCause = 'start' | 'lost' | 'doubt'

export interface WhereaboutsObserver {
  /** A server takes one per partition at its start; later ones mean trouble. */
  leaseTaken(cause: LeaseCause): void
  /** How many partitions cannot be asked. */
  unreachable(partitions: number): void
}

export interface RedisWhereaboutsOptions {
  readonly redis: Redis
  /** Names this server among the others; another one after each start. */
  readonly boot: string
  readonly clock: Clock
  /** The database's time. */
  readonly now: () => Date
  /** Hints about this user arrive from when this resolves. */
  readonly subscribe: (user: Id) => Promise<void>
  readonly unsubscribe: (user: Id) => void
  /** Tells the servers where somebody watches this user to ask again. */
  readonly hint: (user: Id) => void
  /** Users whose server died without a word, with when it was last alive. */
  readonly onLost: (users: readonly { readonly user: Id; readonly at: string }[]) => void
  readonly observer: WhereaboutsObserver
}

interface Followed {
  whereabout: Whereabout
  /** Leases that name the user. */
  leases: readonly string[]
  readonly subscribed: Promise<void>
}

interface Waiting {
  readonly answer: Promise<Whereabout>
  readonly resolve: (answer: Whereabout) => void
}

/** One part of the users, with everything this server knows and has to do about it. */
class Partition {
  readonly leasesKey: string
  readonly wholeKey: string
  /** Undefined until one was taken. */
  lease: string | undefined
  /** The lease is still to be taken. */
  isLeaseNew = false
  /** Why it was taken. */
  cause: LeaseCause = 'start'
  /** Leases of this server to end once everybody is written under the newer one. */
  outdated: string[] = []
  /** Why the next lease has to be a new one. */
  doubt: LeaseCause | undefined = 'start'
  readonly here = new Map<Id, 'online' | 'away'>()
  /** To be written, with when those who left were last seen. */
  readonly unwritten = new Map<Id, string | undefined>()
  readonly followed = new Map<Id, Followed>()
  readonly waiting = new Map<Id, Waiting>()
  /** Leases of other servers that lived when last seen. */
  living: ReadonlySet<string> = new Set()
  /** Leases lost one after the other. A lease that was found again at its next look ends the row. */
  losses = 0
  isTending = false
  isWriting = false
  isReading = false
  tendTimer: Timer | undefined
  readTimer: Timer | undefined
  readDueAtMs = Number.POSITIVE_INFINITY
  settleTimer: Timer | undefined
  /** Before this, absence says nothing. */
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

export class RedisWhereabouts implements Whereabouts {
  readonly #options: RedisWhereaboutsOptions
  /** What all leases of this server begin with. */
  readonly #boot: string
  readonly #partitions: readonly Partition[]
  readonly #listeners: ((user: Id) => void)[] = []
  #leasesTaken = 0
  #followedCount = 0
  #rereads: Iterator<readonly [Partition, Id]> | undefined
  #rereadTimer: Timer | undefined
  #isStopped = false

  constructor(options: RedisWhereaboutsOptions) {
    this.#options = options
    this.#boot = `${options.boot}.`
    this.#partitions = Array.from(
      { length: whereaboutsBounds.partitions },
      (_, index) => new Partition(index, (name) => options.redis.keyOf(name)),
    )
    options.redis.onReconnect(() => this.#reconnected())
    for (const partition of this.#partitions) this.#tendLater(partition, 0)
    this.#rereadLater()
  }

  /** Users watched here. */
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
    // With the next lease everybody is written anyway.
    if (partition.doubt !== undefined || this.#isStopped) return
    partition.unwritten.set(user, lastSeen)
    void this.#write(partition)
  }

  follow(user: Id): void {
    const partition = this.#partitionOf(user)
    if (this.#isStopped || partition.followed.has(user) || this.#followedCount >= whereaboutsBounds.followedMax) return
    this.#followedCount++
    partition.followed.set(user, {
      whereabout: unknownWhereabout,
      leases: [],
      subscribed: this.#options.subscribe(user),
    })
  }

  unfollow(user: Id): void {
    if (!this.#partitionOf(user).followed.delete(user)) return
    this.#followedCount--
    this.#options.unsubscribe(user)
  }

  elsewhere(user: Id): Whereabout {
    return this.#partitionOf(user).followed.get(user)?.whereabout ?? unknownWhereabout
  }

  async ask(users: readonly Id[]): Promise<ReadonlyMap<Id, Whereabout>> {
    const answers = await Promise.all(
      users.map(async (user): Promise<readonly [Id, Whereabout]> => {
        const partition = this.#partitionOf(user)
        const followed = partition.followed.get(user)
        // What is followed is kept up to date; it is asked for only until something is known.
        if (followed !== undefined && followed.whereabout.status !== 'unknown') return [user, followed.whereabout]
        if (partition.isAway) return [user, unknownWhereabout]
        // Subscribe, wait for the confirmation, then read: what changes from then on is told.
        await followed?.subscribed
        return [user, await this.#read(partition, user, 0)]
      }),
    )
    return new Map(answers)
  }

  /** A hint: something about this user changed at another server. */
  heard(user: Id): void {
    const partition = this.#partitionOf(user)
    if (partition.followed.has(user)) void this.#read(partition, user, whereaboutsBounds.gatherMs)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#rereadTimer?.cancel()
    for (const partition of this.#partitions) {
      partition.tendTimer?.cancel()
      partition.readTimer?.cancel()
      partition.settleTimer?.cancel()
      for (const { resolve } of partition.waiting.values()) resolve(unknownWhereabout)
      partition.waiting.clear()
    }
    await Promise.allSettled(
      this.#partitions.map(async ({ leasesKey, lease, here }) => {
        const afterMs = here.size === 0 ? 0 : whereaboutsBounds.leavingMs
        if (lease !== undefined) await this.#options.redis.script(endLease, [leasesKey], [lease, afterMs])
      }),
    )
  }

  #partitionOf(user: Id): Partition {
    return this.#partitions[hashOf(user) % whereaboutsBounds.partitions] as Partition
  }

  // The lease.

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
          partition.doubt === undefined ? nextMs : Math.min(nextMs, whereaboutsBounds.tendRetryMs),
        )
    } catch {
      // Why Redis cannot be asked is logged where it is found out. A new lease that may have been taken is not relied upon.
      if (partition.isLeaseNew) this.#doubt(partition, partition.cause)
      this.#failed(partition)
      this.#tendLater(partition, whereaboutsBounds.tendRetryMs)
    } finally {
      partition.isTending = false
    }
    void this.#write(partition)
  }

  /** Resolves with when to look again. */
  async #tendOnce(partition: Partition): Promise<number | 'lost'> {
    const { leaseMs, keepMs, leasesMax, tendEveryMs, settleMs } = whereaboutsBounds
    if (partition.doubt !== undefined) this.#takeNewLease(partition, partition.doubt)
    const lease = partition.lease as string
    const reply = (await this.#options.redis.script(
      tendLease,
      [partition.leasesKey, partition.wholeKey],
      [lease, partition.isLeaseNew ? 'new' : 'keep', leaseMs, keepMs, leasesMax],
    )) as readonly (number | string)[]
    if (reply[0] !== 1) {
      this.#doubt(partition, 'lost')
      return 'lost'
    }
    if (partition.isLeaseNew) this.#options.observer.leaseTaken(partition.cause)
    else partition.losses = 0
    partition.isLeaseNew = false
    this.#settle(partition, settleMs - Number(reply[1]))

    const living = new Set<string>()
    let nextMs: number = tendEveryMs
    for (let index = 2; index < reply.length; index += 2) {
      const other = String(reply[index])
      if (other.startsWith(this.#boot)) continue
      living.add(other)
      // A lease that is about to end is looked at when it has.
      nextMs = Math.min(nextMs, Number(reply[index + 1]) + 50)
    }
    const ended = [...partition.living].filter((other) => !living.has(other))
    partition.living = living
    if (ended.length > 0) this.#rereadNamedBy(partition, ended)
    return nextMs
  }

  /** The first time at once: one lost lease is an emptied Redis. In a row it is one that evicts, which haste makes worse. */
  #takeAgainLater(partition: Partition): void {
    const { lostRetryMs, tendEveryMs } = whereaboutsBounds
    const boundMs =
      partition.losses === 0 ? 0 : Math.min(tendEveryMs, lostRetryMs * 2 ** Math.min(partition.losses, 10))
    partition.losses++
    this.#tendLater(partition, boundMs * (0.5 + Math.random() / 2))
  }

  #takeNewLease(partition: Partition, cause: LeaseCause): void {
    if (partition.lease !== undefined && !partition.isLeaseNew) partition.outdated.push(partition.lease)
    // More than a few cannot be ended in time; they end by themselves.
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

  /** What is not named now may be named again within `forMs`. */
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

  // What this server says.

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
      // It may have been written or not: everything is written again, under a new lease.
      this.#doubt(partition)
      this.#failed(partition)
      this.#tendLater(partition, whereaboutsBounds.tendRetryMs)
    } finally {
      partition.isWriting = false
    }
  }

  async #writeBatch(partition: Partition): Promise<void> {
    const { leaseMs, keepMs, usersPerScript } = whereaboutsBounds
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
      // Unless a newer one was taken meanwhile: then they are written under that.
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

  // What the others say.

  #read(partition: Partition, user: Id, withinMs: number): Promise<Whereabout> {
    const known = partition.waiting.get(user)
    if (known === undefined && (this.#isStopped || partition.waiting.size >= whereaboutsBounds.waitingMax))
      return Promise.resolve(unknownWhereabout)
    let { answer } = known ?? {}
    if (answer === undefined) {
      let resolve: (answer: Whereabout) => void = () => undefined
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

  /** One script at a time: what comes while it runs makes the next one larger. */
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
    const batch = [...partition.waiting].slice(0, whereaboutsBounds.usersPerScript)
    for (const [user] of batch) partition.waiting.delete(user)
    let said: readonly RawUser[]
    try {
      const [wholeForMs, ...users] = (await this.#options.redis.script(
        readPresence,
        [partition.leasesKey, partition.wholeKey, ...batch.map(([user]) => partition.keyOf(user))],
        [this.#boot, whereaboutsBounds.leaseMs],
      )) as readonly [number, ...RawUser[]]
      said = users
      const { settleMs } = whereaboutsBounds
      this.#settle(partition, wholeForMs < 0 ? settleMs : settleMs - wholeForMs)
      this.#answered(partition)
    } catch {
      this.#failed(partition)
      for (const [, { resolve }] of [...batch, ...partition.waiting]) resolve(unknownWhereabout)
      partition.waiting.clear()
      return
    }
    const lost: { user: Id; at: string }[] = []
    batch.forEach(([user, { resolve }], index) => {
      const raw = said[index]
      const followed = partition.followed.get(user)
      const answer =
        raw === undefined ? unknownWhereabout : this.#understand(partition, raw, followed?.whereabout.status)
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
  ): Whereabout {
    if (status === 'online' || status === 'away') return { status, lastSeen: undefined }
    // Whoever was offline a moment ago may stay it: nothing says otherwise.
    if (this.#options.clock.nowMs() < partition.settledAtMs && before !== 'offline') return unknownWhereabout
    const saidAtMs = Date.parse(String(seen))
    const endedAtMs = Number(endedForMs) < 0 ? Number.NaN : this.#options.now().getTime() - Number(endedForMs)
    const atMs = Math.max(
      Number.isNaN(saidAtMs) ? Number.NEGATIVE_INFINITY : saidAtMs,
      Number.isNaN(endedAtMs) ? Number.NEGATIVE_INFINITY : endedAtMs,
    )
    return { status: 'offline', lastSeen: Number.isFinite(atMs) ? new Date(atMs).toISOString() : undefined }
  }

  #change(user: Id, followed: Followed, whereabout: Whereabout): void {
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
    const { rereadEveryMs, rereadPerSecondMax } = whereaboutsBounds
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

  // Can Redis be asked?

  #reconnected(): void {
    for (const partition of this.#partitions) {
      // It may be another Redis, or one that lost what it had.
      this.#doubt(partition)
      this.#settle(partition, whereaboutsBounds.settleMs)
      this.#tendLater(partition, 0)
      for (const user of partition.followed.keys()) void this.#read(partition, user, whereaboutsBounds.gatherMs)
    }
  }

  #failed(partition: Partition): void {
    const nowMs = this.#options.clock.nowMs()
    partition.failingSinceMs ??= nowMs
    if (partition.isAway || nowMs - partition.failingSinceMs < whereaboutsBounds.awayAfterMs) return
    partition.isAway = true
    this.#observeReach()
    for (const [user, followed] of partition.followed)
      if (followed.whereabout.status !== 'unknown') this.#change(user, followed, unknownWhereabout)
  }

  #observeReach(): void {
    this.#options.observer.unreachable(this.#partitions.filter(({ isAway }) => isAway).length)
  }

  #answered(partition: Partition): void {
    partition.failingSinceMs = undefined
    if (!partition.isAway) return
    partition.isAway = false
    this.#observeReach()
    this.#settle(partition, whereaboutsBounds.settleMs)
    for (const user of partition.followed.keys()) void this.#read(partition, user, 0)
  }
}

/** Status, last seen, for how long the last server that named the user has ended; then the leases that name them. */
type RawUser = readonly (string | number)[]

function mayWrite(partition: Partition): boolean {
  return partition.lease !== undefined && !partition.isLeaseNew && partition.doubt === undefined
}

function isThere({ status }: Whereabout): boolean {
  return status === 'online' || status === 'away'
}

/** FNV-1a. */
function hashOf(user: Id): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < user.length; index++) hash = Math.imul(hash ^ user.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
