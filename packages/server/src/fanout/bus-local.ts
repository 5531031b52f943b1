/** The bus of servers in one process: of a single server (where nobody else listens), and of several in tests. */
import type { Bus, BusChannel, BusMessage } from './bus.ts'

/** What several local buses share. */
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
    // Within one process nothing is missed.
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
    // Never inside the publisher's call.
    setImmediate(() => {
      if (!this.#channels.has(channel)) return
      for (const listener of this.#listeners) listener(message)
    })
  }
}
