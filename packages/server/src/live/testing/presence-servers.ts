/**
 * Simulates presence of several servers without sockets, for tests. Devices connect, disconnect,
 * watch users, and record the presence sent to them.
 */
import type { Id, Presence, PresenceStatus } from '@chorus/protocol'
import type { Bus } from '../../bus/bus.ts'
import type { LocalBusHub } from '../../bus/bus-local.ts'
import type { Clock } from '../../support/clock.ts'
import type { Redis } from '../../redis/redis.ts'
import { type LastSeen, PresenceTracker } from '../presence-tracker.ts'
import { localOnlyPresence } from '../presence-store.ts'
import type { LeaseCause } from '../presence-leases.ts'
import { RedisPresenceStore } from '../presence-store-redis.ts'

export interface Device {
  readonly user: Id
  status: 'online' | 'away'
  readonly watched: Map<Id, PresenceStatus>
  readonly told: Presence[]
  readonly isBehind: boolean
}

export class PresenceServer {
  readonly presences: PresenceTracker<Device>
  readonly presenceStore: RedisPresenceStore | undefined
  readonly bus: Bus
  readonly boot: string
  readonly saved: LastSeen[] = []
  readonly leases: LeaseCause[] = []
  /** Number of scripts run in Redis so far. */
  scripts = 0
  hints = 0
  losesHints = false

  constructor(clock: Clock, hub: LocalBusHub, redis?: Redis, boot = 'boot') {
    this.bus = hub.join()
    this.boot = boot
    const now = (): Date => new Date()
    const counted: Redis | undefined =
      redis &&
      new Proxy(redis, {
        get: (target, key) => {
          const value = Reflect.get(target, key, target) as unknown
          if (typeof value !== 'function') return value
          return (...args: unknown[]) => {
            if (key === 'script') this.scripts++
            return (value as (...args: unknown[]) => unknown).apply(target, args)
          }
        },
      })
    this.presenceStore =
      counted &&
      new RedisPresenceStore({
        redis: counted,
        boot,
        clock,
        now,
        subscribe: (user) => this.bus.subscribe(`p:${user}`),
        unsubscribe: (user) => this.bus.unsubscribe(`p:${user}`),
        hint: (user) => {
          this.hints++
          if (!this.losesHints) this.bus.publish(`p:${user}`, { kind: 'presence', user })
        },
        onLost: (seen) => void this.saved.push(...seen),
        observer: { leaseTaken: (cause) => void this.leases.push(cause), unreachable: () => undefined },
      })
    this.bus.onMessage((message) => {
      if (message.kind === 'presence') this.presenceStore?.applyHint(message.user)
    })
    this.presences = new PresenceTracker<Device>({
      clock,
      now,
      presenceStore: this.presenceStore ?? localOnlyPresence,
      tell: ({ told }, news) => void told.push(...news),
      saveLastSeen: (seen) => void this.saved.push(...seen),
      readLastSeen: async () => new Map(),
    })
  }

  arrive(user: Id): Device {
    const device: Device = { user, status: 'online', watched: new Map(), told: [], isBehind: false }
    this.presences.arrive(device)
    return device
  }

  depart(device: Device): void {
    this.presences.depart(device)
  }

  say(device: Device, status: 'online' | 'away'): void {
    device.status = status
    this.presences.update(device.user)
  }

  /** Watches users, as the command `watch` does. From then on, the device receives their status. */
  async watch(device: Device, users: readonly Id[]): Promise<(PresenceStatus | undefined)[]> {
    const ask = this.presences.beginWatch(device.user, users)
    this.presences.endWatch(ask)
    this.presences.watch(device, users, ask)
    const answer = await this.presences.ask(users)
    this.presences.noteTold(device, ask, answer.values())
    return users.map((user) => answer.get(user)?.status)
  }
}
