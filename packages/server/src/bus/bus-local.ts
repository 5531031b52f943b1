/**
 * The bus for servers within one process. In production, a single server uses it, so no other
 * server receives its messages. Tests use it to connect several servers.
 */
import type { Bus, BusChannel, BusMessage } from './bus.ts'

/** The local buses of one process, between which messages are delivered. */
export class LocalBusHub {
  readonly #buses = new Set<LocalBus>()

  join(): Bus {
    const bus = new LocalBus(this)
    this.#buses.add(bus)
    return bus
  }

  leave(bus: LocalBus): void {
    this.#buses.delete(bus)
  }

  carry(from: LocalBus, channel: BusChannel, message: BusMessage): void {
    for (const bus of this.#buses) if (bus !== from) bus.receive(channel, message)
  }
}

class LocalBus implements Bus {
  readonly #hub: LocalBusHub
  readonly #channels = new Set<BusChannel>()
  readonly #listeners: ((message: BusMessage) => void)[] = []

  constructor(hub: LocalBusHub) {
    this.#hub = hub
  }

  publish(channel: BusChannel, message: BusMessage): void {
    this.#hub.carry(this, channel, message)
  }

  async subscribe(channel: BusChannel): Promise<void> {
    this.#channels.add(channel)
  }

  unsubscribe(channel: BusChannel): void {
    this.#channels.delete(channel)
  }

  onMessage(listener: (message: BusMessage) => void): void {
    this.#listeners.push(listener)
  }

  onGap(): void {
    // Messages within one process are never lost, so there are no gaps to report.
  }

  degraded(): undefined {
    return undefined
  }

  async close(): Promise<void> {
    this.#channels.clear()
    this.#hub.leave(this)
  }

  receive(channel: BusChannel, message: BusMessage): void {
    if (!this.#channels.has(channel)) return
    // Deliver in a later turn of the event loop: a listener must never run inside the publisher's
    // call.
    setImmediate(() => {
      if (!this.#channels.has(channel)) return
      for (const listener of this.#listeners) listener(message)
    })
  }
}
