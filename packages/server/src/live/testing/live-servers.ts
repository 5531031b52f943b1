/**
 * Simulates live values of several servers without sockets, for tests. Each server records the
 * values sent to its subscribers.
 */
import type { Id, LiveValue } from '@chorus/protocol'
import type { Bus } from '../../bus/bus.ts'
import type { LocalBusHub } from '../../bus/bus-local.ts'
import type { Clock } from '../../support/clock.ts'
import { type LiveStore, localOnlyLiveValues } from '../live-store.ts'
import { LiveValues } from '../live-values.ts'

export class LiveServer {
  readonly values: LiveValues
  readonly told: LiveValue[] = []
  readonly #bus: Bus

  constructor(clock: Clock, hub: LocalBusHub, store: LiveStore = localOnlyLiveValues, origin = 'origin') {
    this.#bus = hub.join()
    this.#bus.onMessage((message) => {
      if (message.kind === 'live') this.values.receive(message.conversation, message.json)
    })
    this.values = new LiveValues({
      clock,
      now: () => new Date(),
      origin,
      store,
      tell: (_conversation, values) => void this.told.push(...values),
      publish: (conversation, json) => this.#bus.publish(`c:${conversation}`, { kind: 'live', conversation, json }),
    })
  }

  /** Subscribes this server to the conversation, as if one of its connections showed it. */
  async show(conversation: Id): Promise<void> {
    await this.#bus.subscribe(`c:${conversation}`)
  }
}
