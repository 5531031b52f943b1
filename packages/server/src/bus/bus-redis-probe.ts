/**
 * Probes of one subscribing connection. A probe published over the publishing connection must come
 * back on this one. So a subscription that Redis has confirmed but does not serve is detected
 * within a few seconds.
 */
import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis } from '../redis/redis.ts'
import type { RedisBusConnection } from './bus-redis-connection.ts'

/**
 * The connection is reopened after the first lost probe, and then after every so many further
 * ones.
 */
const lostPerReopening = 5

const probeTimings = {
  intervalMs: 2_000,
  /** A probe checked later than this is ignored, because this process itself was paused. */
  latenessMaxMs: 1_000,
} as const

export interface ProbeOptions {
  /** Redis that publishes the probes. */
  readonly redis: Redis
  readonly clock: Clock
  /** Returns the name of the channel of the probes. It changes when slots move. */
  readonly nameOf: () => string
  /** Called when a probe came back. `wasLost`: the probe before it was lost. */
  readonly onBack: (durationMs: number, wasLost: boolean) => void
  /** Called when a probe did not come back. */
  readonly onLost: (isTimeToReopen: boolean) => void
  /** Called when Redis answers but refuses to publish a probe. */
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

  /** Name of the channel that the probes are sent to. Undefined: none is subscribed. */
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

  /** Subscribes again if the slots have moved, so that the probes have another name. */
  followSlots(): void {
    if (this.#connection !== undefined && this.#channel !== undefined && this.#channel.name !== this.#options.nameOf())
      this.start(this.#connection)
  }

  /** Ends probing because the connection has ended. The next `start` continues the count. */
  stop(): void {
    this.#timer?.cancel()
    this.#connection = undefined
    this.#channel = undefined
  }

  /** Records that Redis ended the subscription. The next interval subscribes again. */
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
        // If Redis is away, the publishing side reports it. If it answers but refuses the probe,
        // the problem is reported only here.
        if (redis.problem() === undefined) onRefused(error instanceof Error ? error.message : String(error))
      },
    )
  }

  /** Accepts a message that arrived on the channel of the probes. */
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
 * Publishes a probe, after a write. A primary that became a replica accepts a publish silently and
 * delivers it to no subscriber, but it refuses a write.
 */
async function publishProbe(redis: Redis, name: string, nonce: string): Promise<void> {
  await redis.command(name, ['SET', name, nonce, 'PX', String(probeTimings.intervalMs)])
  await redis.command(name, ['SPUBLISH', name, nonce])
}

/**
 * Returns whether a probe is lost: its subscription was never confirmed, or it was published and
 * did not come back. A probe that could not be published proves nothing.
 */
const didNotComeBack = ({ sent }: Channel): boolean => sent === undefined || (sent.isPublished && !sent.isBack)
