/**
 * Leases of this server in Redis, under which it writes the presence of its own users (rules PRES1,
 * PRES2). Users are divided into partitions. Each partition has one lease, refreshed every few
 * seconds. When a lease is no longer refreshed, it ends, and with it the presence of its users.
 *
 * A lease that ended is never revived. When the content of Redis is in doubt (the lease is gone, a
 * write failed, the connection was lost), the server takes a new lease, writes all its users again,
 * and only then ends the old lease. So a connected user never appears offline in between, and a
 * user who left in that time does not remain online. Redis may also lose the presence of single
 * users and keep the lease. No reply from Redis shows such a loss. So each refresh also rewrites
 * some users, and every user is rewritten about every 15 seconds.
 */
import type { Id } from '@chorus/protocol'
import type { Redis } from '../redis/redis.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { createPartitions, partitionOf, type PresencePartition, presenceStoreLimits } from './presence-partition.ts'
import type { RemotePresenceReader } from './presence-reader.ts'
import { endLease, refreshLease, writePresence } from './scripts.ts'

const leaseLimits = {
  /**
   * Time between two refreshes of a lease. A refresh also returns which leases of other servers are
   * alive.
   */
  refreshIntervalMs: 3_000,
  refreshRetryMs: 500,
  /**
   * First delay before a new lease is taken after several lost leases in a row, as in a Redis that
   * evicts keys. The delay grows up to `refreshIntervalMs`.
   */
  lostRetryMs: 100,
  /** Maximum number of leases in a partition, alive and recently ended. */
  leasesMax: 1_000,
  /**
   * Time between the stop of a server and the end of its lease. Its users connect to another server
   * in this time.
   */
  leavingMs: 4_000,
  /**
   * Number of refreshes within which all users of a partition are rewritten, if {@link rewritesMax}
   * permits.
   */
  refreshesPerRewrite: 5,
  /** Maximum number of users that one refresh rewrites. */
  rewritesMax: 200,
} as const

/** Reason for taking a lease. */
export type LeaseCause = 'start' | 'lost' | 'doubt'

export interface PresenceLeasesOptions {
  readonly redis: Redis
  /** Prefix of the names of all leases of this server. */
  readonly prefix: string
  readonly clock: Clock
  /** Sends a hint over Redis: servers where this user is watched read the user again. */
  readonly hint: (user: Id) => void
  readonly onLeaseTaken: (cause: LeaseCause) => void
  readonly reader: RemotePresenceReader
}

/** One partition, with its lease and the users of this server in it. */
class OwnPartition {
  readonly partition: PresencePartition
  /** Current lease of this server. Undefined until the first one was chosen. */
  lease: string | undefined
  /** True while the lease still has to be taken in Redis. */
  isLeaseNew = false
  /** Reason why the current lease was taken. */
  cause: LeaseCause = 'start'
  /**
   * Older leases of this server. They are ended once all users are written under the current lease.
   */
  outdated: string[] = []
  /**
   * Reason why the next refresh must take a new lease. Undefined when the current lease is fine.
   */
  doubt: LeaseCause | undefined = 'start'
  readonly here = new Map<Id, 'online' | 'away'>()
  /** Users who are still to be rewritten in the current round. A round rewrites each user once. */
  rewrites: Iterator<Id> | undefined
  /** Users to be written to Redis. For users who left, with the time when they were last seen. */
  readonly unwritten = new Map<Id, string | undefined>()
  /** Leases of other servers that were alive at the last refresh of this lease. */
  living: ReadonlySet<string> = new Set()
  /** Number of leases lost in a row. A successful refresh resets it. */
  losses = 0
  isRefreshing = false
  isWriting = false
  refreshTimer: Timer | undefined

  constructor(partition: PresencePartition) {
    this.partition = partition
  }

  get mayWrite(): boolean {
    return this.lease !== undefined && !this.isLeaseNew && this.doubt === undefined
  }
}

export class PresenceLeases {
  readonly #options: PresenceLeasesOptions
  readonly #partitions: readonly OwnPartition[]
  #leasesTaken = 0
  #isStopped = false

  constructor(options: PresenceLeasesOptions) {
    this.#options = options
    this.#partitions = createPartitions(
      (name) => options.redis.keyOf(name),
      (partition) => new OwnPartition(partition),
    )
    for (const own of this.#partitions) this.#refreshLater(own, 0)
  }

  report(user: Id, status: 'online' | 'away' | undefined, lastSeen?: string): void {
    const own = partitionOf(this.#partitions, user)
    if (own.here.get(user) === status) return
    if (status === undefined) own.here.delete(user)
    else own.here.set(user, status)
    // Nothing to do here: the next lease writes all users anyway.
    if (own.doubt !== undefined || this.#isStopped) return
    own.unwritten.set(user, lastSeen)
    void this.#write(own)
  }

  /** Takes a new lease in every partition, because the content of Redis is in doubt. */
  renewAll(): void {
    for (const own of this.#partitions) {
      this.#doubt(own)
      this.#refreshLater(own, 0)
    }
  }

  /** Ends all leases of this server. A lease with users ends a few seconds later. */
  async stop(): Promise<void> {
    this.#isStopped = true
    for (const { refreshTimer } of this.#partitions) refreshTimer?.cancel()
    await Promise.allSettled(
      this.#partitions.map(async ({ partition: { leasesKey }, lease, here }) => {
        const afterMs = here.size === 0 ? 0 : leaseLimits.leavingMs
        if (lease !== undefined) await this.#options.redis.script(endLease, [leasesKey], [lease, afterMs])
      }),
    )
  }

  // --- Lease ---

  #refreshLater(own: OwnPartition, delayMs: number): void {
    own.refreshTimer?.cancel()
    if (this.#isStopped) return
    own.refreshTimer = this.#options.clock.setTimer(() => void this.#refresh(own), delayMs)
  }

  async #refresh(own: OwnPartition): Promise<void> {
    if (own.isRefreshing || this.#isStopped) return
    const { reader } = this.#options
    own.isRefreshing = true
    try {
      const nextMs = await this.#refreshOnce(own)
      reader.noteAnswer(own.partition)
      if (nextMs === 'lost') this.#takeAgainLater(own)
      else this.#refreshLater(own, own.doubt === undefined ? nextMs : Math.min(nextMs, leaseLimits.refreshRetryMs))
    } catch {
      // The Redis client has already logged the reason. The new lease may or may not have been
      // taken, so the server takes another one.
      if (own.isLeaseNew) this.#doubt(own, own.cause)
      reader.noteFailure(own.partition)
      this.#refreshLater(own, leaseLimits.refreshRetryMs)
    } finally {
      own.isRefreshing = false
    }
    void this.#write(own)
  }

  /**
   * Refreshes the lease of a partition once. Resolves to the time until the next refresh, or to
   * `lost`.
   */
  async #refreshOnce(own: OwnPartition): Promise<number | 'lost'> {
    const { redis, reader, prefix } = this.#options
    const { partition } = own
    if (own.doubt !== undefined) this.#takeNewLease(own, own.doubt)
    const lease = own.lease as string
    const reply = (await redis.script(
      refreshLease,
      [partition.leasesKey, partition.wholeKey],
      [
        lease,
        own.isLeaseNew ? 'new' : 'keep',
        presenceStoreLimits.leaseMs,
        presenceStoreLimits.keepMs,
        leaseLimits.leasesMax,
      ],
    )) as readonly (number | string)[]
    if (reply[0] !== 1) {
      this.#doubt(own, 'lost')
      return 'lost'
    }
    if (own.isLeaseNew) this.#options.onLeaseTaken(own.cause)
    else {
      own.losses = 0
      rewriteSome(own)
    }
    own.isLeaseNew = false
    reader.settle(partition, presenceStoreLimits.settleMs - Number(reply[1]))

    const living = new Set<string>()
    let nextMs: number = leaseLimits.refreshIntervalMs
    for (let index = 2; index < reply.length; index += 2) {
      const other = String(reply[index])
      if (other.startsWith(prefix)) continue
      living.add(other)
      // If the lease of another server is about to end, this server checks it right after its end.
      nextMs = Math.min(nextMs, Number(reply[index + 1]) + 50)
    }
    const ended = [...own.living].filter((other) => !living.has(other))
    own.living = living
    if (ended.length > 0) reader.rereadNamedBy(partition, ended)
    return nextMs
  }

  /**
   * Schedules a new lease after the current one was lost. The first attempt is immediate, because
   * one lost lease means an emptied Redis. Several lost leases in a row mean a Redis that evicts
   * keys, so further attempts are delayed.
   */
  #takeAgainLater(own: OwnPartition): void {
    const { lostRetryMs, refreshIntervalMs } = leaseLimits
    const limitMs = own.losses === 0 ? 0 : Math.min(refreshIntervalMs, lostRetryMs * 2 ** Math.min(own.losses, 10))
    own.losses++
    this.#refreshLater(own, limitMs * (0.5 + Math.random() / 2))
  }

  #takeNewLease(own: OwnPartition, cause: LeaseCause): void {
    if (own.lease !== undefined && !own.isLeaseNew) own.outdated.push(own.lease)
    // Keeps the four newest of the older leases, to end them. Leases removed here expire in Redis.
    own.outdated = own.outdated.slice(-4)
    own.doubt = undefined
    own.isLeaseNew = true
    own.lease = `${this.#options.prefix}${++this.#leasesTaken}`
    own.unwritten.clear()
    for (const user of own.here.keys()) own.unwritten.set(user, undefined)
    own.cause = cause
  }

  #doubt(own: OwnPartition, cause: LeaseCause = 'doubt'): void {
    own.doubt ??= cause
    own.unwritten.clear()
  }

  // --- Writing this server's users ---

  async #write(own: OwnPartition): Promise<void> {
    if (own.isWriting) return
    own.isWriting = true
    try {
      while (own.unwritten.size > 0 && own.mayWrite && !this.#isStopped) await this.#writeBatch(own)
      while (own.outdated.length > 0 && own.mayWrite && !this.#isStopped) {
        const [outdated = ''] = own.outdated
        await this.#options.redis.script(endLease, [own.partition.leasesKey], [outdated, 0])
        own.outdated = own.outdated.filter((lease) => lease !== outdated)
      }
    } catch {
      // The write may or may not have happened, so all users are written again under a new lease.
      this.#doubt(own)
      this.#options.reader.noteFailure(own.partition)
      this.#refreshLater(own, leaseLimits.refreshRetryMs)
    } finally {
      own.isWriting = false
    }
  }

  async #writeBatch(own: OwnPartition): Promise<void> {
    const { partition } = own
    const users: Id[] = []
    const words: string[] = []
    for (const [user, lastSeen] of own.unwritten) {
      own.unwritten.delete(user)
      users.push(user)
      words.push(own.here.get(user) ?? '', lastSeen ?? '')
      if (users.length === presenceStoreLimits.usersPerScript) break
    }
    const lease = own.lease as string
    const [held, ...changed] = (await this.#options.redis.script(
      writePresence,
      [partition.leasesKey, ...users.map(partition.keyOf)],
      [lease, presenceStoreLimits.leaseMs, presenceStoreLimits.keepMs, ...words],
    )) as readonly number[]
    this.#options.reader.noteAnswer(partition)
    if (held !== 1) {
      // If the server has taken a newer lease by now, these users are written again under that one.
      if (lease === own.lease) {
        this.#doubt(own, 'lost')
        this.#takeAgainLater(own)
      } else this.#refreshLater(own, 0)
      return
    }
    users.forEach((user, index) => {
      if (changed[index] === 1) this.#options.hint(user)
    })
  }
}

/**
 * Adds some users of the current round to the users to be written. Starts the next round when this
 * one is complete.
 */
function rewriteSome(own: OwnPartition): void {
  const { here, unwritten } = own
  const count = Math.min(Math.ceil(here.size / leaseLimits.refreshesPerRewrite), leaseLimits.rewritesMax)
  for (let left = count; left > 0; left--) {
    own.rewrites ??= here.keys()
    const next = own.rewrites.next()
    if (next.done === true) {
      own.rewrites = undefined
      return
    }
    if (!unwritten.has(next.value)) unwritten.set(next.value, undefined)
  }
}
