/**
 * Opens buses over a real Redis for tests, records what they report, and waits until all messages
 * have arrived.
 */
import { waitForFact } from '@chorus/testkit'
import { systemClock } from '../../support/clock.ts'
import { createLogger } from '../../support/logger.ts'
import { openRedis } from '../../redis/open-redis.ts'
import type { Redis } from '../../redis/redis.ts'
import type { BusObserver } from '../bus-observer.ts'
import { slotOfKey } from '../../redis/redis-slot.ts'
import { partitionOf } from '../bus-redis-channels.ts'
import { RedisBus } from '../bus-redis.ts'
import type { BusChannel, BusMessage } from '../bus.ts'

export interface OpenedBus {
  readonly bus: RedisBus
  readonly redis: Redis
  readonly received: BusMessage[]
  readonly dropped: Map<string, number>
  readonly gaps: string[]
  readonly notes: string[]
  readonly marks: Set<string>
  probes: number
}

export class RedisBuses {
  readonly opened: OpenedBus[] = []
  readonly #key: string
  #rounds = 0

  constructor(key = 'key') {
    this.#key = key
  }

  async open(url: string, subscribeUrl = url, key = this.#key): Promise<OpenedBus> {
    const redis = await openRedis({
      url,
      variable: 'REDIS_URL',
      allowInsecure: false,
      logger: createLogger('silent', 'test'),
      clock: systemClock,
    })
    const dropped = new Map<string, number>()
    const received: BusMessage[] = []
    const gaps: string[] = []
    const notes: string[] = []
    const observer: BusObserver = {
      published: () => undefined,
      received: () => undefined,
      dropped: (reason, count) => void dropped.set(reason, (dropped.get(reason) ?? 0) + count),
      gap: (cause) => void gaps.push(cause),
      probed: () => void opened.probes++,
      noted: (line) => void notes.push(line),
    }
    const bus = new RedisBus({ redis, subscribeUrl, key, clock: systemClock, observer })
    const marks = new Set<string>()
    bus.onMessage((message) => {
      if (isMark(message)) marks.add(message.json)
      else received.push(message)
    })
    const opened: OpenedBus = { bus, redis, received, dropped, gaps, notes, marks, probes: 0 }
    this.opened.push(opened)
    await bus.whenOpened()
    return opened
  }

  /**
   * Waits until every message published so far has arrived or can no longer arrive. Each bus
   * publishes marker messages on one channel in each third of the cluster's slots, until every bus
   * has received the markers of all others. A Redis delivers messages in the order in which they
   * were published, so everything before a marker has arrived before it.
   */
  async settle(): Promise<void> {
    const round = ++this.#rounds
    for (const { bus } of this.opened) {
      await bus.whenFlushed()
      for (const channel of markChannels) await bus.subscribe(channel)
    }
    await waitForFact(
      () => {
        for (const [index, { bus }] of this.opened.entries())
          for (const channel of markChannels)
            bus.publish(channel, { kind: 'live', conversation: channel.slice(2), json: `${channel} ${index} ${round}` })
        return this.opened.every(({ marks }, own) =>
          this.opened.every((_, index) =>
            markChannels.every((channel) => index === own || marks.has(`${channel} ${index} ${round}`)),
          ),
        )
      },
      { what: 'every mark at every bus' },
    )
  }

  async close(): Promise<void> {
    for (const { bus, redis } of this.opened.splice(0)) {
      await bus.close()
      await redis.close()
    }
  }
}

/** Channels of the marker messages: one in each third of the cluster's slots. */
const markChannels: readonly BusChannel[] = [0, 1, 2].map((third) => {
  for (let number = 0; ; number++) {
    const channel: BusChannel = `c:00000000-0000-4000-8000-${String(number).padStart(12, '0')}`
    if (Math.floor((slotOfKey(String(partitionOf(channel))) * 3) / 16_384) === third) return channel
  }
})

const isMark = (message: BusMessage): message is Extract<BusMessage, { kind: 'live' }> =>
  message.kind === 'live' && message.conversation.startsWith('00000000-0000-4000-8000-')
