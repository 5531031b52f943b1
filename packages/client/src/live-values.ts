/**
 * The live lane on the client: the newest value per (conversation, key, user), only while somebody looks at it. Values
 * expire by the length of their life, not by comparing clocks: this device's may be an hour off.
 */
import type { Json, LiveValue } from '@chorus/protocol'
import type { LiveValues } from './api.ts'
import type { Clock } from './clock.ts'
import type { HttpApi } from './http-api.ts'
import { type Cell, createCell, type Observable } from './observable.ts'
import type { Ask } from './ask.ts'

/** Users with a value under one key; beyond, the oldest are forgotten. */
export const liveUsersMax = 1_000
/** Gone in seconds anyway, and watched for every conversation of a list: not worth a request. */
const fleetingKeys: ReadonlySet<string> = new Set(['typing'])

interface Held {
  readonly value: LiveValue
  readonly endsAtMs: number
}

interface LiveKey {
  readonly conversation: string
  readonly key: string
  readonly cell: Cell<ReadonlyMap<string, LiveValue>>
  readonly held: Map<string, Held>
  cancelExpiry: () => void
}

export interface LiveLaneOptions {
  readonly api: HttpApi
  readonly ask: Ask
  readonly clock: Clock
}

export class LiveLane {
  readonly #options: LiveLaneOptions
  readonly #keys = new Map<string, LiveKey>()

  constructor(options: LiveLaneOptions) {
    this.#options = options
  }

  of(conversation: string): LiveValues {
    return {
      set: async (key: string, value: Json, ttlMs: number) => {
        await this.#options.ask('set-live-value', { conversation, key, value, ttlMs })
      },
      observe: (key) => this.#observe(conversation, key),
    }
  }

  handle(values: readonly LiveValue[]): void {
    const touched = new Set<LiveKey>()
    for (const value of values) {
      const live = this.#keys.get(nameOf(value.conversation, value.key))
      if (live === undefined || live.cell.watchers() === 0) continue
      if (this.#take(live, value)) touched.add(live)
    }
    for (const live of touched) this.#publish(live)
  }

  /** After a reconnection: what was missed is asked for, once per conversation. */
  resume(): void {
    const watched = [...this.#keys.values()].filter(({ key, cell }) => cell.watchers() > 0 && !fleetingKeys.has(key))
    for (const conversation of new Set(watched.map((live) => live.conversation))) this.#load(conversation)
  }

  stop(): void {
    for (const live of this.#keys.values()) live.cancelExpiry()
    this.#keys.clear()
  }

  #observe(conversation: string, key: string): Observable<ReadonlyMap<string, LiveValue>> {
    const name = nameOf(conversation, key)
    const known = this.#keys.get(name)
    if (known !== undefined) return known.cell
    const live: LiveKey = {
      conversation,
      key,
      held: new Map(),
      cancelExpiry: () => undefined,
      cell: createCell<ReadonlyMap<string, LiveValue>>(new Map(), {
        onWatched: () => {
          if (!fleetingKeys.has(key)) this.#load(conversation)
        },
        onUnwatched: () => {
          live.cancelExpiry()
          live.held.clear()
          live.cell.set(new Map())
        },
      }),
    }
    this.#keys.set(name, live)
    return live.cell
  }

  #load(conversation: string): void {
    this.#options.api.call('list-live-values', { conversation }).then(
      ({ values }) => this.handle(values),
      // The next value comes by itself.
      () => undefined,
    )
  }

  #take(live: LiveKey, value: LiveValue): boolean {
    const known = live.held.get(value.user)
    // Times of one database, so they may be compared with each other.
    if (known !== undefined && known.value.at > value.at) return false
    if (value.value === null) return live.held.delete(value.user)
    const lifeMs = Math.max(0, Date.parse(value.expiresAt) - Date.parse(value.at))
    live.held.delete(value.user)
    live.held.set(value.user, { value, endsAtMs: this.#options.clock.now() + lifeMs })
    if (live.held.size > liveUsersMax) {
      const [oldest] = live.held.keys()
      if (oldest !== undefined) live.held.delete(oldest)
    }
    return true
  }

  #publish(live: LiveKey): void {
    live.cancelExpiry()
    const nowMs = this.#options.clock.now()
    let nextMs = Number.POSITIVE_INFINITY
    for (const [user, { endsAtMs }] of live.held) {
      if (endsAtMs <= nowMs) live.held.delete(user)
      else nextMs = Math.min(nextMs, endsAtMs)
    }
    live.cell.set(new Map([...live.held].map(([user, { value }]) => [user, value])))
    if (nextMs !== Number.POSITIVE_INFINITY) {
      live.cancelExpiry = this.#options.clock.after(Math.max(1, nextMs - nowMs), () => this.#publish(live))
    }
  }
}

function nameOf(conversation: string, key: string): string {
  return `${conversation} ${key}`
}
