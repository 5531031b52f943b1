/**
 * The live lane in one process: the newest value per (conversation, key, user) wins and expires by itself (rule LIVE1).
 *
 * Values that change fast are gathered: each conversation tells its subscribers at most ten times a second, and only the
 * newest of each. A subscriber that is behind is told later, and then what is newest by then.
 */
import { type Id, type Json, limits, type LiveValue } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'

export const liveBounds = {
  /** Least time between two events of one conversation. */
  gatherMs: 100,
  /** Values of one conversation; beyond it the one that expires first gives way. */
  valuesPerConversationMax: 2_000,
  /** Conversations with values; beyond it new ones are refused. */
  conversationsMax: 200_000,
} as const

interface Held {
  readonly value: LiveValue
  readonly expiresAtMs: number
}

interface Room {
  readonly held: Map<string, Held>
  /** Values that changed since the last event. */
  readonly changed: Set<string>
  timer: Timer | undefined
  lastToldAtMs: number
}

export interface LiveValuesOptions {
  readonly clock: Clock
  /** The database's time, for the stamps that clients see. */
  readonly now: () => Date
  /** Sends these to whoever is shown the conversation here. */
  readonly tell: (conversation: Id, values: readonly LiveValue[]) => void
}

export class LiveValues {
  readonly #options: LiveValuesOptions
  readonly #rooms = new Map<Id, Room>()

  constructor(options: LiveValuesOptions) {
    this.#options = options
  }

  /** False when there is no room for more conversations. `null` ends a value now. */
  set(conversation: Id, key: string, user: Id, value: Json, ttlMs: number): boolean {
    const nowMs = this.#options.clock.nowMs()
    let room = this.#rooms.get(conversation)
    if (room === undefined) {
      if (this.#rooms.size >= liveBounds.conversationsMax) this.#forgetExpired()
      if (this.#rooms.size >= liveBounds.conversationsMax) return false
      room = { held: new Map(), changed: new Set(), timer: undefined, lastToldAtMs: Number.NEGATIVE_INFINITY }
      this.#rooms.set(conversation, room)
    }
    const at = this.#options.now()
    const lifeMs = value === null ? 0 : Math.min(ttlMs, limits.liveTtlMaxMs)
    const id = `${key} ${user}`
    // Set again, so that the order is that of change and the first is the oldest.
    room.held.delete(id)
    room.held.set(id, {
      value: {
        conversation,
        key,
        user,
        value,
        at: at.toISOString(),
        expiresAt: new Date(at.getTime() + lifeMs).toISOString(),
      },
      expiresAtMs: nowMs + lifeMs,
    })
    if (room.held.size > liveBounds.valuesPerConversationMax) {
      const [oldest] = room.held.keys()
      if (oldest !== undefined) room.held.delete(oldest)
    }
    room.changed.add(id)
    this.#scheduleTelling(conversation, room, nowMs)
    return true
  }

  /** What has not expired. */
  list(conversation: Id): LiveValue[] {
    const room = this.#rooms.get(conversation)
    if (room === undefined) return []
    const nowMs = this.#options.clock.nowMs()
    return [...room.held.values()]
      .filter((held) => held.expiresAtMs > nowMs && held.value.value !== null)
      .map((held) => held.value)
  }

  /** Somebody left the conversation: nothing of theirs is shown any more. */
  forget(conversation: Id, user: Id): void {
    const room = this.#rooms.get(conversation)
    if (room === undefined) return
    for (const { value } of [...room.held.values()])
      if (value.user === user) this.set(conversation, value.key, user, null, 0)
  }

  get size(): number {
    return this.#rooms.size
  }

  stop(): void {
    for (const room of this.#rooms.values()) room.timer?.cancel()
    this.#rooms.clear()
  }

  #scheduleTelling(conversation: Id, room: Room, nowMs: number): void {
    if (room.timer !== undefined) return
    const delayMs = Math.max(0, room.lastToldAtMs + liveBounds.gatherMs - nowMs)
    room.timer = this.#options.clock.setTimer(() => {
      room.timer = undefined
      room.lastToldAtMs = this.#options.clock.nowMs()
      const values = [...room.changed].flatMap((id) => room.held.get(id)?.value ?? [])
      room.changed.clear()
      this.#dropExpired(conversation, room)
      if (values.length > 0) this.#options.tell(conversation, values)
    }, delayMs)
  }

  #dropExpired(conversation: Id, room: Room): void {
    const nowMs = this.#options.clock.nowMs()
    for (const [id, held] of room.held) if (held.expiresAtMs <= nowMs) room.held.delete(id)
    if (room.held.size === 0 && room.timer === undefined) this.#rooms.delete(conversation)
  }

  /** Called now and then, too: values expire by themselves. */
  #forgetExpired(): void {
    for (const [conversation, room] of this.#rooms) this.#dropExpired(conversation, room)
  }

  /** Housekeeping, about once a minute. */
  tidy(): void {
    this.#forgetExpired()
  }
}
