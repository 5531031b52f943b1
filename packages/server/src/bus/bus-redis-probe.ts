/**
 * Probes of one subscribing connection. A probe is a small message: this server publishes it over
 * its publishing connection and must receive it on the subscribing one. So a subscription that
 * Redis has confirmed but does not serve is detected within a few seconds.
 */
import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis } from '../redis/redis.ts'
import type { RedisBusConnection } from './bus-redis-connection.ts'

/**
 * Number of lost probes between two reopenings of the connection. The first lost probe reopens it
 * at once.
 */
const lostPerReopening = 5

const probeTimings = {
  intervalMs: 2_000,
  /**
   * Maximum delay of the check for a probe. A later check is ignored, because this process itself
   * was paused.
   */
  latenessMaxMs: 1_000,
} as const

export interface ProbeOptions {
  /** Redis to which the probes are published. */
  readonly redis: Redis
  readonly clock: Clock
  /**
   * Returns the name of the channel of the probes. The name changes when slots of the cluster move.
   */
  readonly nameOf: () => string
  /** Called when a probe was received. `wasLost`: the probe before it was lost. */
  readonly onBack: (durationMs: number, wasLost: boolean) => void
  /** Called when a probe was lost: it was published but not received. */
  readonly onLost: (isTimeToReopen: boolean) => void
  /** Called when Redis can be reached but refuses to publish a probe. */
  readonly onRefused: (reason: string) => void
}

interface SentProbe {
  readonly nonce: string
  readonly sentAtMs: number
  isPublished: boolean
  isBack: boolean
}

interface Channel {
  readonly name: string
  sent: SentProbe | undefined
}

export class SubscriptionProbe {
  readonly #options: ProbeOptions
  #connection: RedisBusConnection | undefined
  #channel: Channel | undefined
  #timer: Timer | undefined
  #lost = 0

  constructor(options: ProbeOptions) {
    this.#options = options
  }

  /**
   * Name of the channel on which the probes are received. Undefined while no such channel is
   * subscribed.
   */
  get name(): string | undefined {
    return this.#channel?.name
  }

  /** Whether the last probe was lost. */
  get isLost(): boolean {
    return this.#lost > 0
  }

  start(connection: RedisBusConnection): void {
    this.#timer?.cancel()
    if (this.#channel !== undefined) connection.unsubscribe([this.#channel.name])
    const name = this.#options.nameOf()
    this.#connection = connection
    this.#channel = { name, sent: undefined }
    connection.subscribe([name])
    this.#watch(connection)
  }

  /** Subscribes to the new channel of the probes if slots of the cluster have moved. */
  followSlots(): void {
    if (this.#connection !== undefined && this.#channel !== undefined && this.#channel.name !== this.#options.nameOf())
      this.start(this.#connection)
  }

  /**
   * Stops probing because the connection has ended. The next `start` continues the count of lost
   * probes.
   */
  stop(): void {
    this.#timer?.cancel()
    this.#connection = undefined
    this.#channel = undefined
  }

  /**
   * Records that Redis ended the subscription of the probes. The next interval subscribes again.
   */
  forgetChannel(): void {
    this.#channel = undefined
  }

  send(): void {
    const channel = this.#channel
    if (channel === undefined) return
    const { redis, clock, onRefused } = this.#options
    const sent: SentProbe = {
      nonce: randomBytes(8).toString('hex'),
      sentAtMs: clock.nowMs(),
      isPublished: false,
      isBack: false,
    }
    channel.sent = sent
    publishProbe(redis, channel.name, sent.nonce).then(
      () => {
        sent.isPublished = true
      },
      (error: unknown) => {
        // If Redis cannot be reached, the publisher reports that. If Redis can be reached but
        // refuses the probe, only this line reports it.
        if (redis.problem() === undefined) onRefused(error instanceof Error ? error.message : String(error))
      },
    )
  }

  /** Accepts a probe that arrived on the channel of the probes. */
  accept(nonce: string): void {
    const sent = this.#channel?.sent
    if (sent === undefined || sent.isBack || sent.nonce !== nonce) return
    sent.isBack = true
    const wasLost = this.isLost
    this.#lost = 0
    this.#options.onBack(this.#options.clock.nowMs() - sent.sentAtMs, wasLost)
  }

  #watch(connection: RedisBusConnection): void {
    const { clock } = this.#options
    const dueMs = clock.nowMs() + probeTimings.intervalMs
    this.#timer = clock.setTimer(() => {
      if (this.#channel === undefined) {
        this.start(connection)
        return
      }
      const isOnTime = clock.nowMs() - dueMs <= probeTimings.latenessMaxMs
      if (isOnTime && didNotComeBack(this.#channel)) this.#lose()
      if (this.#connection !== connection) return
      this.send()
      this.#watch(connection)
    }, probeTimings.intervalMs)
  }

  #lose(): void {
    const isTimeToReopen = this.#lost % lostPerReopening === 0
    this.#lost++
    this.#options.onLost(isTimeToReopen)
  }
}

/**
 * Publishes a probe, after a write to Redis. A primary that became a replica accepts the publish
 * silently and delivers it to no subscriber, but it refuses the write.
 */
async function publishProbe(redis: Redis, name: string, nonce: string): Promise<void> {
  await redis.command(name, ['SET', name, nonce, 'PX', String(probeTimings.intervalMs)])
  await redis.command(name, ['SPUBLISH', name, nonce])
}

/**
 * Returns whether the last probe is lost: its subscription was never confirmed, or the probe was
 * published and not received. A probe that could not be published does not count as lost.
 */
const didNotComeBack = ({ sent }: Channel): boolean => sent === undefined || (sent.isPublished && !sent.isBack)
