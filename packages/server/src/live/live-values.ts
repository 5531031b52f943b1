/**
 * The live lane: the newest value per (conversation, key, user) wins and expires by itself (rule LIVE1).
 *
 * Values that change fast are gathered: each conversation tells its subscribers at most ten times a second, and only the
 * newest of each; what was set here is published to the other servers in the same breath, and kept for those who open the
 * conversation elsewhere. A subscriber that is behind is told later, and then what is newest by then.
 *
 * Which of two values is newer is decided the same way everywhere, by the database's time at the server that took it, so
 * an earlier one that comes late never wins. How long a value still lives travels as a length of time. Publishing is best
 * effort: what is lost comes with the next value, or expires.
 */
import { type Id, idSchema, type Json, limits, type LiveValue, liveValueSchema } from '@chorus/protocol'
import * as z from 'zod'
import type { Clock, Timer } from '../support/clock.ts'
import { LiveHoldings } from './live-holdings.ts'
import { isNewer, type LiveStore, newestOf, type SharedValue } from './live-store.ts'

export const liveBounds = {
  /** Least time between two events of one conversation. */
  gatherMs: 100,
  /**
   * Values of one conversation; beyond it the setter's own gives way, else the one that was set first. Each user has bounds
   * of their own (live-holdings.ts).
   */
  valuesPerConversationMax: 2_000,
  /** Conversations with values; beyond it new ones are refused. */
  conversationsMax: 200_000,
  /** Values in one message to the other servers. */
  valuesPerMessageMax: 100,
  /** How long values of somebody who left are refused: the longest life of one that was on its way. */
  leftMs: limits.liveTtlMaxMs,
  /** Members who left lately, per conversation; the earliest are forgotten. */
  leftMax: 1_000,
  /** Values from further ahead of this server's time are dropped: nothing set later could replace them. */
  aheadMaxMs: 60_000,
  /** How long what is over is remembered, for an earlier value that comes late. */
  overMs: 5_000,
} as const

interface Held {
  readonly value: LiveValue
  readonly order: number
  readonly origin: string
  readonly expiresAtMs: number
}

interface Room {
  readonly held: Map<string, Held>
  /** Values that changed since the last event. */
  readonly changed: Set<string>
  /** Those of them that were set here. */
  readonly own: Set<string>
  /** Who left, and until when their values are refused. */
  readonly left: Map<Id, number>
  timer: Timer | undefined
  lastToldAtMs: number
}

export interface LiveValuesOptions {
  readonly clock: Clock
  /** The database's time, for the stamps that clients see and for the order. */
  readonly now: () => Date
  /** Names this server among the others; another one after each start. */
  readonly origin: string
  readonly store: LiveStore
  /** Sends these to whoever is shown the conversation here. */
  readonly tell: (conversation: Id, values: readonly LiveValue[]) => void
  /** Sends this to the other servers that show the conversation; they {@link LiveValues.receive} it. Never throws. */
  readonly publish: (conversation: Id, json: string) => void
}

const messageSchema = z
  .array(
    z.strictObject({
      value: liveValueSchema.omit({ conversation: true }),
      order: z.int().min(0),
      origin: z.string().max(100),
      lifeMs: z.number().min(0).max(limits.liveTtlMaxMs),
    }),
  )
  .max(liveBounds.valuesPerMessageMax)

export class LiveValues {
  readonly #options: LiveValuesOptions
  readonly #rooms = new Map<Id, Room>()
  readonly #holdings = new LiveHoldings()
  #lastOrder = 0

  constructor(options: LiveValuesOptions) {
    this.#options = options
  }

  /** False when there is no room for more conversations or values. `null` ends a value now. */
  set(conversation: Id, key: string, user: Id, value: Json, ttlMs: number): boolean {
    const room = this.#open(conversation)
    if (room === undefined) return false
    // Whoever sets one was found to be a member just now.
    room.left.delete(user)
    const at = this.#options.now()
    const lifeMs = value === null ? 0 : Math.min(ttlMs, limits.liveTtlMaxMs)
    // Microseconds, each only once, never back, and after what it replaces, whatever the clocks do: what is set later is newer.
    const replaced = room.held.get(slotOf({ key, user }))?.order ?? 0
    this.#lastOrder = Math.max(Math.max(this.#lastOrder, replaced) + 1, at.getTime() * 1_000)
    const expiresAt = new Date(at.getTime() + lifeMs).toISOString()
    const shared: SharedValue = {
      value: { conversation, key, user, value, at: at.toISOString(), expiresAt },
      order: this.#lastOrder,
      origin: this.#options.origin,
      lifeMs,
    }
    if (this.#take(conversation, room, shared)) room.own.add(slotOf(shared.value))
    else if (!this.#holdings.hasRoom(user, charsOf(value))) {
      this.#dropIfEmpty(conversation, room)
      return false
    }
    return true
  }

  /** Values set at another server. What cannot be read is dropped. */
  receive(conversation: Id, json: string): void {
    const aheadMaxOrder = (this.#options.now().getTime() + liveBounds.aheadMaxMs) * 1_000
    const values = parseMessage(json).filter(({ order }) => order <= aheadMaxOrder)
    if (values.length === 0 || !idSchema.safeParse(conversation).success) return
    const room = this.#open(conversation)
    if (room === undefined) return
    for (const { value, ...shared } of values)
      this.#take(conversation, room, { ...shared, value: { conversation, ...value } })
    this.#dropIfEmpty(conversation, room)
  }

  /** What has not expired, as far as this server was told. */
  list(conversation: Id): LiveValue[] {
    return newestOf(this.#listHeld(conversation))
  }

  /** What has not expired, at any server. */
  async read(conversation: Id): Promise<LiveValue[]> {
    const elsewhere = await this.#options.store.read(conversation)
    const nowMs = this.#options.clock.nowMs()
    const left = this.#rooms.get(conversation)?.left
    return newestOf(
      [...elsewhere, ...this.#listHeld(conversation)].filter(({ value }) => (left?.get(value.user) ?? 0) <= nowMs),
    )
  }

  /** Somebody left the conversation: nothing of theirs is shown any more, nor what is still on its way. */
  forget(conversation: Id, user: Id): void {
    const room = this.#open(conversation)
    if (room === undefined) return
    const over = [...room.held.values()].filter(({ value }) => value.user === user && value.value !== null)
    for (const { value } of over) this.set(conversation, value.key, user, null, 0)
    // Every server that shows the conversation sees the removal by itself.
    for (const { value } of over) room.own.delete(slotOf(value))
    this.#options.store.keep(
      conversation,
      over.flatMap(({ value }) => this.#share(room, slotOf(value)) ?? []),
    )
    room.left.delete(user)
    room.left.set(user, this.#options.clock.nowMs() + liveBounds.leftMs)
    if (room.left.size > liveBounds.leftMax) {
      const [earliest] = room.left.keys()
      if (earliest !== undefined) room.left.delete(earliest)
    }
  }

  /** Somebody who may have left is a member again. */
  welcome(conversation: Id, user: Id): void {
    this.#rooms.get(conversation)?.left.delete(user)
  }

  get size(): number {
    return this.#rooms.size
  }

  stop(): void {
    for (const room of this.#rooms.values()) room.timer?.cancel()
    this.#rooms.clear()
    this.#holdings.clear()
  }

  /** Housekeeping, about once a minute: values expire by themselves. */
  tidy(): void {
    for (const [conversation, room] of this.#rooms) {
      this.#dropExpired(conversation, room)
      this.#dropIfEmpty(conversation, room)
    }
  }

  #open(conversation: Id): Room | undefined {
    const known = this.#rooms.get(conversation)
    if (known !== undefined) return known
    if (this.#rooms.size >= liveBounds.conversationsMax) this.tidy()
    if (this.#rooms.size >= liveBounds.conversationsMax) return undefined
    const room: Room = {
      held: new Map(),
      changed: new Set(),
      own: new Set(),
      left: new Map(),
      timer: undefined,
      lastToldAtMs: Number.NEGATIVE_INFINITY,
    }
    this.#rooms.set(conversation, room)
    return room
  }

  /** False when it is older than what is there, or of somebody who left. */
  #take(conversation: Id, room: Room, { value, order, origin, lifeMs }: SharedValue): boolean {
    const nowMs = this.#options.clock.nowMs()
    const slot = slotOf(value)
    const known = room.held.get(slot)
    if (known !== undefined && rememberedUntilMs(known) > nowMs && !isNewer({ order, origin }, known)) return false
    if ((room.left.get(value.user) ?? nowMs) > nowMs) return false
    const chars = charsOf(value.value)
    if (!this.#holdings.hasRoom(value.user, chars)) return false
    // Set again, so that the order is that of change and the first is the oldest.
    room.held.delete(slot)
    room.held.set(slot, { value, order, origin, expiresAtMs: nowMs + lifeMs })
    for (const evicted of this.#holdings.hold(value.user, { conversation, slot }, chars)) {
      const other = this.#rooms.get(evicted.conversation)
      other?.held.delete(evicted.slot)
      if (other !== undefined && other !== room) this.#dropIfEmpty(evicted.conversation, other)
    }
    if (room.held.size > liveBounds.valuesPerConversationMax) {
      const [oldest] = room.held.keys()
      this.#drop(conversation, room, this.#holdings.oldestOf(value.user, conversation) ?? oldest ?? slot)
    }
    room.changed.add(slot)
    room.own.delete(slot)
    this.#scheduleTelling(conversation, room, nowMs)
    return true
  }

  #drop(conversation: Id, room: Room, slot: string): void {
    const held = room.held.get(slot)
    if (held === undefined) return
    room.held.delete(slot)
    this.#holdings.release(held.value.user, { conversation, slot })
  }

  #share(room: Room, slot: string): SharedValue | undefined {
    const held = room.held.get(slot)
    if (held === undefined) return undefined
    const { value, order, origin, expiresAtMs } = held
    return { value, order, origin, lifeMs: Math.max(0, expiresAtMs - this.#options.clock.nowMs()) }
  }

  *#listHeld(conversation: Id): Generator<SharedValue> {
    const room = this.#rooms.get(conversation)
    for (const slot of room?.held.keys() ?? []) {
      const shared = room === undefined ? undefined : this.#share(room, slot)
      if (shared !== undefined) yield shared
    }
  }

  #scheduleTelling(conversation: Id, room: Room, nowMs: number): void {
    if (room.timer !== undefined) return
    const delayMs = Math.max(0, room.lastToldAtMs + liveBounds.gatherMs - nowMs)
    room.timer = this.#options.clock.setTimer(() => {
      room.timer = undefined
      room.lastToldAtMs = this.#options.clock.nowMs()
      const values = [...room.changed].flatMap((slot) => room.held.get(slot)?.value ?? [])
      const own = [...room.own].flatMap((slot) => this.#share(room, slot) ?? [])
      room.changed.clear()
      room.own.clear()
      this.#dropExpired(conversation, room)
      this.#dropIfEmpty(conversation, room)
      if (values.length > 0) this.#options.tell(conversation, values)
      if (own.length > 0) this.#publish(conversation, own)
    }, delayMs)
  }

  #publish(conversation: Id, own: readonly SharedValue[]): void {
    const { valuesPerMessageMax } = liveBounds
    for (let from = 0; from < own.length; from += valuesPerMessageMax) {
      const message = own
        .slice(from, from + valuesPerMessageMax)
        .map(({ value: { conversation: _, ...value }, ...rest }) => ({
          value,
          ...rest,
        }))
      this.#options.publish(conversation, JSON.stringify(message))
    }
    this.#options.store.keep(conversation, own)
  }

  #dropExpired(conversation: Id, room: Room): void {
    const nowMs = this.#options.clock.nowMs()
    for (const [slot, held] of room.held) if (rememberedUntilMs(held) <= nowMs) this.#drop(conversation, room, slot)
    for (const [user, untilMs] of room.left) if (untilMs <= nowMs) room.left.delete(user)
  }

  #dropIfEmpty(conversation: Id, room: Room): void {
    if (room.held.size === 0 && room.left.size === 0 && room.timer === undefined) this.#rooms.delete(conversation)
  }
}

function charsOf(value: Json): number {
  return JSON.stringify(value).length
}

type Message = z.infer<typeof messageSchema>

function parseMessage(json: string): Message {
  try {
    return messageSchema.safeParse(JSON.parse(json)).data ?? []
  } catch {
    return []
  }
}

function rememberedUntilMs({ value, expiresAtMs }: Held): number {
  return expiresAtMs + (value.value === null ? liveBounds.overMs : 0)
}

/** What a value replaces, within its conversation. */
function slotOf({ key, user }: Pick<LiveValue, 'key' | 'user'>): string {
  return `${key} ${user}`
}
