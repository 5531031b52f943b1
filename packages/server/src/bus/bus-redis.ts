/**
 * The bus for several servers: sharded pub/sub over a single Redis, a primary with replicas, or a
 * Redis Cluster. It publishes over the server's ordinary Redis connection. It subscribes over
 * connections of its own, which may go to another Redis. No guarantee of the chat depends on the
 * bus: while Redis cannot be reached nothing is queued, and the sweep finds the changes whose hints
 * were lost.
 */
import type { Clock } from '../support/clock.ts'
import type { Redis } from '../redis/redis.ts'
import { BusCodec } from './bus-codec.ts'
import type { BusObserver } from './bus-observer.ts'
import { BusPublisher } from './bus-redis-publisher.ts'
import { BusSubscriber } from './bus-redis-subscriber.ts'
import type { Bus, BusChannel, BusMessage } from './bus.ts'

export interface RedisBusOptions {
  /** Redis to which messages are published. */
  readonly redis: Redis
  /** URL of the Redis to subscribe at: the one for publishing, or a replica of it. */
  readonly subscribeUrl: string
  /** Key of the HMAC that authenticates bus messages; the same on every server. */
  readonly key: string
  readonly clock: Clock
  readonly observer: BusObserver
}

export class RedisBus implements Bus {
  readonly #redis: Redis
  readonly #codec: BusCodec
  readonly #publisher: BusPublisher
  readonly #subscriber: BusSubscriber
  readonly #observer: BusObserver
  readonly #messageListeners: ((message: BusMessage) => void)[] = []
  readonly #gapListeners: (() => void)[] = []

  constructor({ redis, subscribeUrl, key, clock, observer }: RedisBusOptions) {
    this.#redis = redis
    this.#observer = observer
    this.#codec = new BusCodec(key)
    this.#publisher = new BusPublisher(redis, this.#codec, observer)
    this.#subscriber = new BusSubscriber({
      url: subscribeUrl,
      redis,
      clock,
      observer,
      onMessage: (channel, payload) => this.#receive(channel, payload),
      onGap: () => {
        for (const listener of this.#gapListeners) listener()
      },
    })
  }

  /** Resolves when every subscribing connection has opened, or its first attempt has failed. */
  whenOpened(): Promise<void> {
    return this.#subscriber.whenOpened()
  }

  /** Number and size of the messages that are queued or on their way to Redis. */
  get queued(): { readonly messages: number; readonly bytes: number } {
    return {
      messages: this.#publisher.underWay + this.#publisher.waiting,
      bytes: this.#publisher.waitingBytes,
    }
  }

  /** Resolves when no message is queued or on its way to Redis. */
  whenFlushed(): Promise<void> {
    return this.#publisher.whenFlushed()
  }

  publish(channel: BusChannel, message: BusMessage): void {
    this.#publisher.publish(channel, message)
  }

  subscribe(channel: BusChannel): Promise<void> {
    return this.#subscriber.subscribe(channel)
  }

  unsubscribe(channel: BusChannel): void {
    this.#subscriber.unsubscribe(channel)
  }

  onMessage(listener: (message: BusMessage) => void): void {
    this.#messageListeners.push(listener)
  }

  onGap(listener: () => void): void {
    this.#gapListeners.push(listener)
  }

  degraded(): string | undefined {
    const problem = this.#redis.problem()
    return problem === undefined ? this.#subscriber.degraded() : `the bus cannot publish; ${problem}`
  }

  async close(): Promise<void> {
    this.#publisher.close()
    this.#subscriber.close()
  }

  #receive(channel: BusChannel, payload: Buffer): void {
    const decoded = this.#codec.decode(channel, payload)
    switch (decoded.kind) {
      case 'message':
        this.#observer.received(payload.length)
        for (const listener of this.#messageListeners) listener(decoded.message)
        return
      case 'echo':
        return
      case 'refused':
        this.#observer.dropped(decoded.reason, 1)
        return
    }
  }
}
