/**
 * Live values on the client: the newest value for each conversation, key and user, kept only while
 * a listener observes it.
 *
 * The newest value is the one that arrived last. A value expires after its lifetime, counted from
 * its arrival. Clocks of different machines are never compared, not even those of two servers.
 */
import type { Json, LiveValue } from '@chorus/protocol'
import type { LiveValues } from '../model/api-conversation.ts'
import type { Clock } from '../support/clock.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { type Cell, createCell, type Observable } from '../support/observable.ts'
import type { SendRequest } from '../wire/send-request.ts'

/** Maximum number of users with a value under one key. Beyond it, the oldest value is dropped. */
export const liveUsersMax = 1_000
/**
 * Keys whose current values are not requested when a listener subscribes. Their values expire
 * within seconds and are observed for every listed conversation, so the requests would cost more
 * than they help.
 */
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
  readonly request: SendRequest
  readonly clock: Clock
  readonly onError?: (error: unknown) => void
}

/**
 * A running request for the current live values. `arrived` names the values received from the
 * server since the request was sent. They are newer than its response.
 */
interface Load {
  readonly conversation: string
  readonly arrived: Set<string>
}

/**
 * Maximum number of values whose arrival during a request is remembered. If more arrive, the
 * response to the request is ignored.
 */
const arrivedMax = 5_000

export class LiveValuesClient {
  readonly #options: LiveLaneOptions
  readonly #loads = new Set<Load>()
  readonly #keys = new Map<string, LiveKey>()

  constructor(options: LiveLaneOptions) {
    this.#options = options
  }

  of(conversation: string): LiveValues {
    return {
      set: async (key: string, value: Json, ttlMs: number) => {
        await this.#options.request('set-live-value', { conversation, key, value, ttlMs })
      },
      observe: (key) => this.#observe(conversation, key),
    }
  }

  /** Applies live values received from the server. */
  handle(values: readonly LiveValue[]): void {
    for (const load of this.#loads) {
      for (const value of values) if (value.conversation === load.conversation) load.arrived.add(slotOf(value))
      if (load.arrived.size > arrivedMax) this.#loads.delete(load)
    }
    this.#applyAll(values)
  }

  #applyAll(values: readonly LiveValue[]): void {
    const touched = new Set<LiveKey>()
    for (const value of values) {
      const live = this.#keys.get(nameOf(value.conversation, value.key))
      if (live === undefined || live.cell.watchers() === 0) continue
      if (this.#apply(live, value)) touched.add(live)
    }
    for (const live of touched) this.#publish(live)
  }

  /** Requests the live values missed during a disconnection, once per conversation. */
  resume(): void {
    const watched = [...this.#keys.values()].filter(({ key, cell }) => cell.watchers() > 0 && !fleetingKeys.has(key))
    for (const conversation of new Set(watched.map((live) => live.conversation))) this.#load(conversation)
  }

  stop(): void {
    for (const live of this.#keys.values()) live.cancelExpiry()
    this.#keys.clear()
    this.#loads.clear()
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
        onError: this.#options.onError,
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
    const load: Load = { conversation, arrived: new Set() }
    this.#loads.add(load)
    this.#options.api.call('list-live-values', { conversation }).then(
      ({ values }) => {
        if (this.#loads.delete(load)) this.#applyAll(values.filter((value) => !load.arrived.has(slotOf(value))))
      },
      // A failed request is not retried, because new live values arrive anyway.
      () => void this.#loads.delete(load),
    )
  }

  #apply(live: LiveKey, value: LiveValue): boolean {
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

/**
 * Returns the identity of a live value within its conversation: its key and user. A newer value
 * with the same identity replaces the older one.
 */
function slotOf({ key, user }: LiveValue): string {
  return `${key} ${user}`
}
