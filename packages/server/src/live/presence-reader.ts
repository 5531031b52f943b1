/**
 * Reads from Redis the presence of users who are connected to other servers (rules PRES1, PRES2).
 *
 * A user is never reported offline just because Redis cannot answer. While the user's partition of
 * Redis is unreachable, a user without a lease that is alive is `unknown`. When the partition
 * returns or was found empty, such users stay `unknown` for some seconds, until the other servers
 * have written their users again.
 *
 * A hint over Redis names a user whose status changed, and this server reads that user within 100
 * ms. In case a hint was lost, every watched user is read again every ten seconds, or less often
 * above the limit `rereadPerSecondMax`.
 */
import type { Id, PresenceStatus } from '@chorus/protocol'
import type { Redis } from '../redis/redis.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { createPartitions, partitionOf, type PresencePartition, presenceStoreLimits } from './presence-partition.ts'
import { unknownRemotePresence, type RemotePresence } from './presence-store.ts'
import { readPresence } from './scripts.ts'

const readerLimits = {
  /** Time after which the users of an unreachable partition become `unknown`. */
  awayAfterMs: 2_000,
  /** Time during which hints over Redis are gathered before their users are read. */
  gatherMs: 100,
  /** Time in which every watched user is read again, in case a hint over Redis was lost. */
  rereadEveryMs: 10_000,
  /** Maximum number of users per second that are read again in case a hint over Redis was lost. */
  rereadPerSecondMax: 2_000,
  /** Maximum number of watched users on one server. Further users are `unknown` there. */
  followedMax: 100_000,
  /**
   * Maximum number of users of one partition that wait to be read. Further users are `unknown`
   * until the next read.
   */
  waitingMax: 20_000,
} as const

export interface PresenceReaderOptions {
  readonly redis: Redis
  /** Prefix of the names of all leases of this server. */
  readonly prefix: string
  readonly clock: Clock
  /** Returns the database's time. */
  readonly now: () => Date
  /** Subscribes to hints over Redis about this user. Resolves once hints arrive. */
  readonly subscribe: (user: Id) => Promise<void>
  readonly unsubscribe: (user: Id) => void
  /** Called for users whose server died without notice, with the time when it was last alive. */
  readonly onLost: (users: readonly { readonly user: Id; readonly at: string }[]) => void
  /** Called with the number of unreachable partitions. */
  readonly onReach: (unreachable: number) => void
}

interface Followed {
  presence: RemotePresence
  /** Leases under which other servers have written the user. */
  leases: readonly string[]
  readonly subscribed: Promise<void>
}

interface Waiting {
  readonly answer: Promise<RemotePresence>
  readonly resolve: (answer: RemotePresence) => void
}

/** One partition, with its users that are watched or read at this server. */
class ReadPartition {
  readonly partition: PresencePartition
  readonly followed = new Map<Id, Followed>()
  readonly waiting = new Map<Id, Waiting>()
  isReading = false
  readTimer: Timer | undefined
  readDueAtMs = Number.POSITIVE_INFINITY
  settleTimer: Timer | undefined
  /** Time before which a user who is missing in Redis may still be online at another server. */
  settledAtMs = Number.NEGATIVE_INFINITY
  failingSinceMs: number | undefined
  isAway = false

  constructor(partition: PresencePartition) {
    this.partition = partition
  }
}

export class RemotePresenceReader {
  readonly #options: PresenceReaderOptions
  readonly #partitions: readonly ReadPartition[]
  readonly #listeners: ((user: Id) => void)[] = []
  #followedCount = 0
  #rereads: Iterator<readonly [ReadPartition, Id]> | undefined
  #rereadTimer: Timer | undefined
  #isStopped = false

  constructor(options: PresenceReaderOptions) {
    this.#options = options
    this.#partitions = createPartitions(
      (name) => options.redis.keyOf(name),
      (partition) => new ReadPartition(partition),
    )
    this.#rereadLater()
  }

  /** Number of users watched at this server. */
  get followedCount(): number {
    return this.#followedCount
  }

  onChange(listener: (user: Id) => void): void {
    this.#listeners.push(listener)
  }

  follow(user: Id): void {
    const { followed } = this.#of(user)
    if (this.#isStopped || followed.has(user) || this.#followedCount >= readerLimits.followedMax) return
    this.#followedCount++
    followed.set(user, { presence: unknownRemotePresence, leases: [], subscribed: this.#options.subscribe(user) })
  }

  unfollow(user: Id): void {
    if (!this.#of(user).followed.delete(user)) return
    this.#followedCount--
    this.#options.unsubscribe(user)
  }

  elsewhere(user: Id): RemotePresence {
    return this.#of(user).followed.get(user)?.presence ?? unknownRemotePresence
  }

  async ask(users: readonly Id[]): Promise<ReadonlyMap<Id, RemotePresence>> {
    const answers = await Promise.all(
      users.map(async (user): Promise<readonly [Id, RemotePresence]> => {
        const read = this.#of(user)
        const followed = read.followed.get(user)
        // Hints over Redis keep the known status of a followed user up to date. So Redis is read
        // only while the status is unknown.
        if (followed !== undefined && followed.presence.status !== 'unknown') return [user, followed.presence]
        if (read.isAway) return [user, unknownRemotePresence]
        // Subscribes, waits for the confirmation, and then reads, so that later changes arrive as
        // hints.
        await followed?.subscribed
        return [user, await this.#read(read, user, 0)]
      }),
    )
    return new Map(answers)
  }

  /** Handles a hint over Redis from another server that this user's status changed there. */
  applyHint(user: Id): void {
    const read = this.#of(user)
    if (read.followed.has(user)) void this.#read(read, user, readerLimits.gatherMs)
  }

  stop(): void {
    this.#isStopped = true
    this.#rereadTimer?.cancel()
    for (const read of this.#partitions) {
      read.readTimer?.cancel()
      read.settleTimer?.cancel()
      for (const { resolve } of read.waiting.values()) resolve(unknownRemotePresence)
      read.waiting.clear()
    }
  }

  #of(user: Id): ReadPartition {
    return partitionOf(this.#partitions, user)
  }

  #at({ index }: PresencePartition): ReadPartition {
    return this.#partitions[index] as ReadPartition
  }

  // --- Reasons to read again ---

  /**
   * Reads again the followed users written under these ended leases, because their server has died.
   */
  rereadNamedBy(partition: PresencePartition, ended: readonly string[]): void {
    const read = this.#at(partition)
    for (const [user, { leases }] of read.followed)
      if (leases.some((lease) => ended.includes(lease))) void this.#read(read, user, 0)
  }

  /**
   * Reads all followed users again, because this may be another Redis, or one that lost its data.
   */
  rereadAll(): void {
    for (const read of this.#partitions) {
      this.settle(read.partition, presenceStoreLimits.settleMs)
      for (const user of read.followed.keys()) void this.#read(read, user, readerLimits.gatherMs)
    }
  }

  /**
   * For `forMs` from now, gives users who are missing in Redis the status `unknown` instead of
   * `offline`, because their servers may not have written them again yet. After that time, reads
   * the users with the status `unknown` again.
   */
  settle(partition: PresencePartition, forMs: number): void {
    const read = this.#at(partition)
    const atMs = this.#options.clock.nowMs() + forMs
    if (forMs <= 0 || atMs <= read.settledAtMs) return
    read.settledAtMs = atMs
    read.settleTimer?.cancel()
    read.settleTimer = this.#options.clock.setTimer(() => {
      for (const [user, { presence }] of read.followed)
        if (presence.status === 'unknown') void this.#read(read, user, 0)
    }, forMs)
  }

  #rereadLater(): void {
    if (this.#isStopped) return
    this.#rereadTimer = this.#options.clock.setTimer(() => {
      this.#rereadSome()
      this.#rereadLater()
    }, 1_000)
  }

  #rereadSome(): void {
    const share = Math.ceil((this.#followedCount * 1_000) / readerLimits.rereadEveryMs)
    for (let left = Math.min(share, readerLimits.rereadPerSecondMax); left > 0; left--) {
      this.#rereads ??= this.#allFollowed()
      const next = this.#rereads.next()
      if (next.done === true) {
        this.#rereads = undefined
        return
      }
      const [read, user] = next.value
      if (!read.isAway) void this.#read(read, user, 0)
    }
  }

  *#allFollowed(): Generator<readonly [ReadPartition, Id]> {
    for (const read of this.#partitions) for (const user of read.followed.keys()) yield [read, user]
  }

  // --- Reading ---

  #read(read: ReadPartition, user: Id, withinMs: number): Promise<RemotePresence> {
    const known = read.waiting.get(user)
    if (known === undefined && (this.#isStopped || read.waiting.size >= readerLimits.waitingMax))
      return Promise.resolve(unknownRemotePresence)
    let { answer } = known ?? {}
    if (answer === undefined) {
      let resolve: (answer: RemotePresence) => void = () => undefined
      answer = new Promise((resolveAnswer) => {
        resolve = resolveAnswer
      })
      read.waiting.set(user, { answer, resolve })
    }
    const dueAtMs = this.#options.clock.nowMs() + withinMs
    if (dueAtMs < read.readDueAtMs) {
      read.readDueAtMs = dueAtMs
      read.readTimer?.cancel()
      read.readTimer = this.#options.clock.setTimer(() => void this.#readWaiting(read), withinMs)
    }
    return answer
  }

  /**
   * Reads all waiting users. Runs one script at a time. Users that are added during it are read by
   * the next script.
   */
  async #readWaiting(read: ReadPartition): Promise<void> {
    read.readDueAtMs = Number.POSITIVE_INFINITY
    if (read.isReading) return
    read.isReading = true
    try {
      while (read.waiting.size > 0) await this.#readBatch(read)
    } finally {
      read.isReading = false
    }
  }

  async #readBatch(read: ReadPartition): Promise<void> {
    const { partition } = read
    const batch = [...read.waiting].slice(0, presenceStoreLimits.usersPerScript)
    for (const [user] of batch) read.waiting.delete(user)
    let said: readonly RawUser[]
    try {
      const [wholeForMs, ...users] = (await this.#options.redis.script(
        readPresence,
        [partition.leasesKey, partition.wholeKey, ...batch.map(([user]) => partition.keyOf(user))],
        [this.#options.prefix, presenceStoreLimits.leaseMs],
      )) as readonly [number, ...RawUser[]]
      said = users
      const { settleMs } = presenceStoreLimits
      this.settle(partition, wholeForMs < 0 ? settleMs : settleMs - wholeForMs)
      this.noteAnswer(partition)
    } catch {
      this.noteFailure(partition)
      for (const [, { resolve }] of [...batch, ...read.waiting]) resolve(unknownRemotePresence)
      read.waiting.clear()
      return
    }
    const lost: { user: Id; at: string }[] = []
    batch.forEach(([user, { resolve }], index) => {
      const raw = said[index]
      const followed = read.followed.get(user)
      const answer = raw === undefined ? unknownRemotePresence : this.#understand(read, raw, followed?.presence.status)
      if (followed !== undefined && raw !== undefined) {
        const before = followed.presence
        followed.leases = raw.slice(3).map(String)
        if (before.status !== answer.status) {
          if (isPresent(before) && Number(raw[2]) >= 0 && answer.lastSeen !== undefined)
            lost.push({ user, at: answer.lastSeen })
          this.#change(user, followed, answer)
        }
      }
      resolve(answer)
    })
    if (lost.length > 0) this.#options.onLost(lost)
  }

  #understand(
    read: ReadPartition,
    [status, seen, endedForMs]: RawUser,
    before: PresenceStatus | undefined,
  ): RemotePresence {
    if (status === 'online' || status === 'away') return { status, lastSeen: undefined }
    // Servers may still be writing their users to Redis again, so a missing user may be online.
    // Only a user who was already offline stays offline.
    if (this.#options.clock.nowMs() < read.settledAtMs && before !== 'offline') return unknownRemotePresence
    const saidAtMs = Date.parse(String(seen))
    const endedAtMs = Number(endedForMs) < 0 ? Number.NaN : this.#options.now().getTime() - Number(endedForMs)
    const atMs = Math.max(
      Number.isNaN(saidAtMs) ? Number.NEGATIVE_INFINITY : saidAtMs,
      Number.isNaN(endedAtMs) ? Number.NEGATIVE_INFINITY : endedAtMs,
    )
    return { status: 'offline', lastSeen: Number.isFinite(atMs) ? new Date(atMs).toISOString() : undefined }
  }

  #change(user: Id, followed: Followed, presence: RemotePresence): void {
    followed.presence = presence
    for (const listener of this.#listeners) listener(user)
  }

  // --- Reachability of Redis ---

  /**
   * Records that a script of this partition failed. If failures continue, its users become
   * `unknown`.
   */
  noteFailure(partition: PresencePartition): void {
    const read = this.#at(partition)
    const nowMs = this.#options.clock.nowMs()
    read.failingSinceMs ??= nowMs
    if (read.isAway || nowMs - read.failingSinceMs < readerLimits.awayAfterMs) return
    read.isAway = true
    this.#observeReach()
    for (const [user, followed] of read.followed)
      if (followed.presence.status !== 'unknown') this.#change(user, followed, unknownRemotePresence)
  }

  /** Records that a script of this partition succeeded. */
  noteAnswer(partition: PresencePartition): void {
    const read = this.#at(partition)
    read.failingSinceMs = undefined
    if (!read.isAway) return
    read.isAway = false
    this.#observeReach()
    this.settle(partition, presenceStoreLimits.settleMs)
    for (const user of read.followed.keys()) void this.#read(read, user, 0)
  }

  #observeReach(): void {
    this.#options.onReach(this.#partitions.filter(({ isAway }) => isAway).length)
  }
}

/**
 * User as read by the script: status, last-seen time, time since the last server that wrote the
 * user was alive, and then the leases under which the user is written.
 */
type RawUser = readonly (string | number)[]

function isPresent({ status }: RemotePresence): boolean {
  return status === 'online' || status === 'away'
}
