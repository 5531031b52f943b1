/**
 * Presence store over Redis, based on leases: entries that end unless their server refreshes them
 * (rules PRES1, PRES2). Users are divided into partitions. Each server holds one lease per
 * partition, refreshes it every few seconds, and writes its own users under it
 * (presence-leases.ts). So the cost of refreshing depends on the number of servers, not of users.
 * After `kill -9`, all users of the server end with its lease, 25 s after the last refresh. Redis
 * may lose all data at any moment; the servers then write it again.
 *
 * Users of other servers are read when a hint over Redis names them, when a lease ends, and
 * regularly in case a hint was lost (presence-reader.ts). A user is never reported offline just
 * because Redis cannot answer.
 *
 * Cost: a server runs about five small scripts a second for its leases, as many to rewrite users,
 * and one script and one hint per status change. A server that receives hints runs one script per
 * 100 ms and partition. It also rereads every watched user once in ten seconds, in case a hint was
 * lost, and less often beyond a limit.
 */
import type { Id } from '@chorus/protocol'
import type { Redis } from '../redis/redis.ts'
import type { Clock } from '../support/clock.ts'
import { type LeaseCause, PresenceLeases } from './presence-leases.ts'
import { RemotePresenceReader } from './presence-reader.ts'
import type { PresenceStore, RemotePresence } from './presence-store.ts'

export interface PresenceStoreObserver {
  /**
   * Called when this server took a lease. It takes one per partition at its start. Later ones mean
   * trouble with Redis.
   */
  leaseTaken(cause: LeaseCause): void
  /** Called with the number of unreachable partitions. */
  unreachable(partitions: number): void
}

export interface RedisPresenceStoreOptions {
  readonly redis: Redis
  /** Name of this server, unique among all servers. It changes at each start. */
  readonly boot: string
  readonly clock: Clock
  /** Returns the database's time. */
  readonly now: () => Date
  /** Subscribes to hints over Redis about this user. Resolves once hints arrive. */
  readonly subscribe: (user: Id) => Promise<void>
  readonly unsubscribe: (user: Id) => void
  /** Sends a hint over Redis: servers where this user is watched read the user again. */
  readonly hint: (user: Id) => void
  /** Called for users whose server died without notice, with the time when it was last alive. */
  readonly onLost: (users: readonly { readonly user: Id; readonly at: string }[]) => void
  readonly observer: PresenceStoreObserver
}

export class RedisPresenceStore implements PresenceStore {
  readonly #reader: RemotePresenceReader
  readonly #leases: PresenceLeases

  constructor(options: RedisPresenceStoreOptions) {
    const { redis, boot, clock, now, subscribe, unsubscribe, hint, onLost, observer } = options
    const prefix = `${boot}.`
    this.#reader = new RemotePresenceReader({
      redis,
      prefix,
      clock,
      now,
      subscribe,
      unsubscribe,
      onLost,
      onReach: (unreachable) => observer.unreachable(unreachable),
    })
    this.#leases = new PresenceLeases({
      redis,
      prefix,
      clock,
      hint,
      onLeaseTaken: (cause) => observer.leaseTaken(cause),
      reader: this.#reader,
    })
    redis.onReconnect(() => {
      // After a reconnect, this may be another Redis, or one that lost its data.
      this.#leases.renewAll()
      this.#reader.rereadAll()
    })
  }

  /** Number of users watched at this server. */
  get followedCount(): number {
    return this.#reader.followedCount
  }

  onChange(listener: (user: Id) => void): void {
    this.#reader.onChange(listener)
  }

  report(user: Id, status: 'online' | 'away' | undefined, lastSeen?: string): void {
    this.#leases.report(user, status, lastSeen)
  }

  follow(user: Id): void {
    this.#reader.follow(user)
  }

  unfollow(user: Id): void {
    this.#reader.unfollow(user)
  }

  elsewhere(user: Id): RemotePresence {
    return this.#reader.elsewhere(user)
  }

  ask(users: readonly Id[]): Promise<ReadonlyMap<Id, RemotePresence>> {
    return this.#reader.ask(users)
  }

  /** Handles a hint over Redis from another server that this user's status changed there. */
  applyHint(user: Id): void {
    this.#reader.applyHint(user)
  }

  async stop(): Promise<void> {
    this.#reader.stop()
    await this.#leases.stop()
  }
}
