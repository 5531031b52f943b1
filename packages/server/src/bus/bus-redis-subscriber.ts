/**
 * Subscriptions of one server at Redis. A wanted channel is subscribed again whenever its
 * connection ends or its slot moves. Until the new subscription is confirmed, messages may be
 * missed. The gap is announced at the confirmation (rule JOIN1). Requests of one turn of the event
 * loop are sent together.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis } from '../redis/redis.ts'
import type { BusChannel } from './bus.ts'
import type { BusObserver, GapCause } from './bus-observer.ts'
import { nameOf, partitionOf } from './bus-redis-channels.ts'
import type { RedisBusConnection } from './bus-redis-connection.ts'
import { BusShards, type Shard } from './bus-redis-shards.ts'
import { groupByConnection, namesPerRequestMax, release, type Subscription } from './bus-redis-subscription.ts'

const subscriberTimings = {
  /** Time after which a caller that subscribes continues without the confirmation (rule JOIN1). */
  confirmationMs: 250,
  /** Time for which gaps in subscriptions are collected, to announce them as one. */
  gapDelayMs: 50,
  refusedRetryMs: 100,
  noteIntervalMs: 10_000,
} as const

export interface BusSubscriberOptions {
  readonly url: string
  /** Redis to which the probes are published. */
  readonly redis: Redis
  readonly clock: Clock
  readonly observer: BusObserver
  readonly onMessage: (channel: BusChannel, payload: Buffer) => void
  readonly onGap: () => void
}

export class BusSubscriber {
  readonly #options: BusSubscriberOptions
  readonly #subscriptions = new Map<string, Subscription>()
  /** Names of wanted channels that no connection has been asked to subscribe to yet. */
  readonly #wanting = new Set<string>()
  /** Subscriptions that this server has ended but Redis has not yet. */
  readonly #leaving = new Map<string, Subscription>()
  readonly #shards: BusShards
  #isFlushing = false
  /** Reason why Redis refused the last refused subscription, until a later one is confirmed. */
  #refusal: string | undefined
  #lastNote = ''
  #lastNoteAtMs = Number.NEGATIVE_INFINITY
  #gapTimer: Timer | undefined
  #retryTimer: Timer | undefined
  #isClosed = false

  constructor(options: BusSubscriberOptions) {
    this.#options = options
    const { url, redis, clock, observer } = options
    this.#shards = new BusShards({
      url,
      redis,
      clock,
      events: {
        onMessage: (name, payload) => {
          const subscription = this.#subscriptions.get(name)
          if (subscription !== undefined) options.onMessage(subscription.channel, payload)
        },
        onReady: () => this.#flush(),
        onConfirmed: (connection, name, request) => this.#confirm(connection, name, request),
        onMoved: (connection, name) => this.#followMoved(connection, name),
        onRefused: (connection, names, reason) => this.#followRefused(connection, names, reason),
        onEnded: (connection, cause) => this.#loseConnection(connection, cause),
        onAway: (shard) => this.#releaseOf(shard),
        onOwnersChanged: () => this.#followOwners(),
        onGap: (cause) => this.#announceGap(cause),
        onProbed: (durationMs) => observer.probed(durationMs),
        onNote: (line) => this.#note(line),
      },
    })
  }

  /** Resolves when every connection has opened once, or its first attempt has failed. */
  whenOpened(): Promise<void> {
    return this.#shards.whenOpened()
  }

  /** Number of subscribed channels. */
  get size(): number {
    return this.#subscriptions.size
  }

  subscribe(channel: BusChannel): Promise<void> {
    const name = nameOf(this.#options.redis, channel)
    let subscription = this.#subscriptions.get(name) ?? this.#leaving.get(name)
    if (this.#isClosed || subscription?.state === 'confirmed') {
      this.#comeBack(name, subscription)
      return Promise.resolve()
    }
    if (subscription === undefined) {
      subscription = {
        channel,
        partition: partitionOf(channel),
        state: 'wanted',
        connection: undefined,
        request: 0,
        owes: undefined,
        waiters: new Set(),
      }
    }
    this.#comeBack(name, subscription)
    if (subscription.state === 'wanted') this.#wanting.add(name)
    this.#scheduleFlush()
    return this.#whenConfirmed(subscription)
  }

  unsubscribe(channel: BusChannel): void {
    const name = nameOf(this.#options.redis, channel)
    const subscription = this.#subscriptions.get(name)
    if (subscription === undefined) return
    this.#subscriptions.delete(name)
    this.#wanting.delete(name)
    release(subscription)
    if (subscription.state === 'wanted') return
    this.#leaving.set(name, subscription)
    this.#scheduleFlush()
  }

  /**
   * Returns undefined when all connections are open and no probe is lost. Otherwise returns the
   * reason why messages may be missed.
   */
  degraded(): string | undefined {
    const problem = this.#shards.degraded()
    if (problem !== undefined) return problem
    return this.#refusal === undefined ? undefined : `the bus cannot subscribe; ${this.#refusal}`
  }

  close(): void {
    this.#isClosed = true
    this.#gapTimer?.cancel()
    this.#retryTimer?.cancel()
    this.#shards.close()
    for (const subscription of this.#subscriptions.values()) release(subscription)
    this.#subscriptions.clear()
    this.#wanting.clear()
    this.#leaving.clear()
  }

  #comeBack(name: string, subscription: Subscription | undefined): void {
    if (this.#isClosed || subscription === undefined) return
    this.#leaving.delete(name)
    this.#subscriptions.set(name, subscription)
  }

  /**
   * Resolves when the subscription is confirmed, after 250 ms, or at once when no confirmation can
   * come (rule JOIN1).
   */
  async #whenConfirmed(subscription: Subscription): Promise<void> {
    if (this.#shardOf(subscription)?.state === 'away') {
      subscription.owes ??= 'late'
      return
    }
    let timer: Timer | undefined
    await new Promise<void>((resolve) => {
      subscription.waiters.add(resolve)
      timer = this.#options.clock.setTimer(() => {
        subscription.waiters.delete(resolve)
        if (subscription.state !== 'confirmed') subscription.owes ??= 'late'
        resolve()
      }, subscriberTimings.confirmationMs)
    })
    timer?.cancel()
  }

  #shardOf({ partition }: Subscription): Shard | undefined {
    return this.#shards.shardOf(partition)
  }

  // --- Subscription requests ---

  /** Sends all requests of one turn of the event loop together. */
  #scheduleFlush(): void {
    if (this.#isFlushing || this.#isClosed) return
    this.#isFlushing = true
    queueMicrotask(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#isClosed) return
    for (const [connection, names] of groupByConnection(this.#leaving))
      for (const some of names) connection.unsubscribe(some)
    this.#leaving.clear()

    const requests = new Map<Shard, Map<number, string[]>>()
    for (const name of this.#wanting) {
      const subscription = this.#subscriptions.get(name)
      if (subscription === undefined) continue
      const shard = this.#shardOf(subscription)
      if (shard?.state !== 'open') continue
      const partitions = requests.get(shard) ?? new Map<number, string[]>()
      requests.set(shard, partitions)
      const names = partitions.get(subscription.partition) ?? []
      partitions.set(subscription.partition, names)
      names.push(name)
    }
    for (const [{ connection }, partitions] of requests)
      for (const names of partitions.values()) if (connection !== undefined) this.#request(connection, names)
  }

  #request(connection: RedisBusConnection, names: readonly string[]): void {
    for (let at = 0; at < names.length; at += namesPerRequestMax) {
      const some = names.slice(at, at + namesPerRequestMax)
      const request = connection.subscribe(some)
      for (const name of some) {
        const subscription = this.#subscriptions.get(name)
        if (subscription === undefined) continue
        this.#wanting.delete(name)
        subscription.state = 'requested'
        subscription.connection = connection
        subscription.request = request
      }
    }
  }

  #confirm(connection: RedisBusConnection, name: string, request: number): void {
    const subscription = this.#subscriptions.get(name)
    if (
      subscription?.state !== 'requested' ||
      subscription.connection !== connection ||
      subscription.request !== request
    )
      return
    subscription.state = 'confirmed'
    this.#refusal = undefined
    release(subscription)
    if (subscription.owes === undefined) return
    this.#announceGap(subscription.owes)
    subscription.owes = undefined
  }

  /** Marks the subscription as lost. Messages may be missed until it is confirmed again. */
  #lose(name: string, subscription: Subscription, cause: GapCause): void {
    if (subscription.state === 'confirmed') subscription.owes ??= cause
    subscription.state = 'wanted'
    subscription.connection = undefined
    this.#wanting.add(name)
  }

  #announceGap(cause: GapCause): void {
    if (this.#gapTimer !== undefined || this.#isClosed) return
    this.#gapTimer = this.#options.clock.setTimer(() => {
      this.#gapTimer = undefined
      this.#options.observer.gap(cause)
      this.#options.onGap()
    }, subscriberTimings.gapDelayMs)
  }

  #retrySoon(): void {
    if (this.#retryTimer !== undefined || this.#isClosed) return
    this.#retryTimer = this.#options.clock.setTimer(() => {
      this.#retryTimer = undefined
      this.#scheduleFlush()
    }, subscriberTimings.refusedRetryMs)
  }

  // --- Connections that end, slots that move ---

  #loseConnection(connection: RedisBusConnection, cause: GapCause): void {
    for (const [name, subscription] of this.#subscriptions)
      if (subscription.connection === connection) this.#lose(name, subscription, cause)
    for (const [name, subscription] of this.#leaving)
      if (subscription.connection === connection) this.#leaving.delete(name)
  }

  /**
   * Lets callers that wait for the confirmation of subscriptions at this shard continue without it.
   */
  #releaseOf(shard: Shard): void {
    for (const subscription of this.#subscriptions.values()) {
      if (this.#shardOf(subscription) !== shard) continue
      subscription.owes ??= 'late'
      release(subscription)
    }
  }

  #followOwners(): void {
    for (const [name, subscription] of this.#subscriptions) {
      const { connection } = subscription
      if (connection === undefined || connection === this.#shardOf(subscription)?.connection) continue
      connection.unsubscribe([name])
      this.#lose(name, subscription, 'moved')
    }
    this.#scheduleFlush()
  }

  #followMoved(connection: RedisBusConnection, name: string): void {
    const subscription = this.#subscriptions.get(name)
    if (subscription?.connection === connection) this.#lose(name, subscription, 'moved')
    // Ask the master that no longer has the slot: it knows the new owner.
    this.#shards.refreshTopology(connection)
    this.#retrySoon()
  }

  #followRefused(connection: RedisBusConnection, names: readonly string[], reason: string): void {
    for (const name of names) {
      const subscription = this.#subscriptions.get(name)
      if (subscription?.connection === connection) this.#lose(name, subscription, 'moved')
    }
    if (!reason.startsWith('MOVED') || !this.#shards.isCluster) {
      this.#refusal = reason
      this.#note(`unable to subscribe at Redis; ${reason}`)
    }
    this.#shards.refreshTopology(connection)
    this.#retrySoon()
  }

  /** Logs a line, but not the same line twice within a while. */
  #note(line: string): void {
    const nowMs = this.#options.clock.nowMs()
    if (line === this.#lastNote && nowMs - this.#lastNoteAtMs < subscriberTimings.noteIntervalMs) return
    this.#lastNote = line
    this.#lastNoteAtMs = nowMs
    this.#options.observer.noted(line)
  }
}
