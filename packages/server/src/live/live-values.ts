/**
 * Live values: state such as typing or a position, of which only the newest value counts. One value
 * is kept per conversation, key and user, and it expires by itself (rule LIVE1).
 *
 * Fast changes are gathered: a conversation sends its subscribers at most ten events a second, each
 * with only the newest values. At the same time, values set at this server are published to the
 * other servers and stored for servers that open the conversation later. A subscriber that reads
 * slowly gets the newest values later.
 *
 * All servers decide by the same rule which of two values is newer: by the time of the database
 * when a server accepted the value. So an older value that arrives late never wins. Servers send
 * the remaining lifetime of a value as a duration. Publishing is best effort: a lost value is
 * replaced by the next one, or expires.
 */
import { type Id, idSchema, type Json, limits, type LiveValue, liveValueSchema } from '@chorus/protocol'
import * as z from 'zod'
import type { Clock, Timer } from '../support/clock.ts'
import { LiveHoldings } from './live-holdings.ts'
import { isNewer, type LiveStore, newestOf, type SharedValue } from './live-store.ts'

export const liveLimits = {
  /** Minimum time between two events with live values of one conversation. */
  gatherMs: 100,
  /**
   * Maximum number of values of one conversation. Beyond it, the server evicts an older value of
   * the user who sets one, or else the oldest value. Each user has further limits
   * (live-holdings.ts).
   */
  valuesPerConversationMax: 2_000,
  /**
   * Maximum number of conversations with values. Beyond it, values in further conversations are
   * refused.
   */
  conversationsMax: 200_000,
  /** Maximum number of values in one message to the other servers. */
  valuesPerMessageMax: 100,
  /**
   * Time for which values of a user who left are refused. It equals the longest lifetime of a value
   * that may still be on its way.
   */
  leftMs: limits.liveTtlMaxMs,
  /**
   * Maximum number of users that the server remembers as having left, per conversation. Beyond it,
   * the earliest ones are forgotten.
   */
  leftMax: 1_000,
  /**
   * Maximum time that a value may be ahead of this server's clock. Values that are further ahead
   * are dropped, because no later value could replace them.
   */
  aheadMaxMs: 60_000,
  /** Time for which an ended value is remembered, in case an older value arrives late. */
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
  /** Slots (key and user) whose value changed since the last event. */
  readonly changed: Set<string>
  /** Changed slots whose value was set at this server. */
  readonly own: Set<string>
  /** Users who left, with the time until which their values are refused. */
  readonly left: Map<Id, number>
  timer: Timer | undefined
  lastToldAtMs: number
}

export interface LiveValuesOptions {
  readonly clock: Clock
  /**
   * Returns the database's time. It is used for the timestamps that clients see and for the order
   * of values.
   */
  readonly now: () => Date
  /** Name of this server, unique among all servers. It changes at each start. */
  readonly origin: string
  readonly store: LiveStore
  /** Sends values to the local subscribers of the conversation. */
  readonly tell: (conversation: Id, values: readonly LiveValue[]) => void
  /**
   * Publishes values to the other servers with subscribers of the conversation. There, they are
   * passed to {@link LiveValues.receive}. Never throws.
   */
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
  .max(liveLimits.valuesPerMessageMax)

export class LiveValues {
  readonly #options: LiveValuesOptions
  readonly #rooms = new Map<Id, Room>()
  readonly #holdings = new LiveHoldings()
  #lastOrder = 0

  constructor(options: LiveValuesOptions) {
    this.#options = options
  }

  /**
   * Sets a value; `null` ends it at once. Returns false when a limit on conversations or values is
   * reached.
   */
  set(conversation: Id, key: string, user: Id, value: Json, ttlMs: number): boolean {
    const room = this.#open(conversation)
    if (room === undefined) return false
    // The caller has just checked that this user is a member.
    room.left.delete(user)
    const at = this.#options.now()
    const lifeMs = value === null ? 0 : Math.min(ttlMs, limits.liveTtlMaxMs)
    // The order of a value is a time in microseconds. It is unique, increasing, and above the order
    // of the replaced value, even if a clock goes back.
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

  /** Takes values that were set at another server. Drops invalid messages. */
  receive(conversation: Id, json: string): void {
    const aheadMaxOrder = (this.#options.now().getTime() + liveLimits.aheadMaxMs) * 1_000
    const values = parseMessage(json).filter(({ order }) => order <= aheadMaxOrder)
    if (values.length === 0 || !idSchema.safeParse(conversation).success) return
    const room = this.#open(conversation)
    if (room === undefined) return
    for (const { value, ...shared } of values)
      this.#take(conversation, room, { ...shared, value: { conversation, ...value } })
    this.#dropIfEmpty(conversation, room)
  }

  /** Returns the values that have not expired and that this server knows. */
  list(conversation: Id): LiveValue[] {
    return newestOf(this.#listHeld(conversation))
  }

  /** Returns the values that have not expired, over all servers. */
  async read(conversation: Id): Promise<LiveValue[]> {
    const elsewhere = await this.#options.store.read(conversation)
    const nowMs = this.#options.clock.nowMs()
    const left = this.#rooms.get(conversation)?.left
    return newestOf(
      [...elsewhere, ...this.#listHeld(conversation)].filter(({ value }) => (left?.get(value.user) ?? 0) <= nowMs),
    )
  }

  /**
   * Ends all values of a user who left the conversation, and refuses values of that user that are
   * still on their way.
   */
  forget(conversation: Id, user: Id): void {
    const room = this.#open(conversation)
    if (room === undefined) return
    const over = [...room.held.values()].filter(({ value }) => value.user === user && value.value !== null)
    for (const { value } of over) this.set(conversation, value.key, user, null, 0)
    // The end of these values is not published to other servers. Each server with subscribers of
    // this conversation finds the user's removal in the log and ends the values itself.
    for (const { value } of over) room.own.delete(slotOf(value))
    this.#options.store.keep(
      conversation,
      over.flatMap(({ value }) => this.#share(room, slotOf(value)) ?? []),
    )
    room.left.delete(user)
    room.left.set(user, this.#options.clock.nowMs() + liveLimits.leftMs)
    if (room.left.size > liveLimits.leftMax) {
      const [earliest] = room.left.keys()
      if (earliest !== undefined) room.left.delete(earliest)
    }
  }

  /** Accepts values of this user again, because the user is a member. */
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

  /** Drops expired values and conversations without values. Called about once a minute. */
  tidy(): void {
    for (const [conversation, room] of this.#rooms) {
      this.#dropExpired(conversation, room)
      this.#dropIfEmpty(conversation, room)
    }
  }

  #open(conversation: Id): Room | undefined {
    const known = this.#rooms.get(conversation)
    if (known !== undefined) return known
    if (this.#rooms.size >= liveLimits.conversationsMax) this.tidy()
    if (this.#rooms.size >= liveLimits.conversationsMax) return undefined
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

  /**
   * Keeps a value in memory. Returns false when it is older than the current value, when its user
   * left, or when a limit is reached.
   */
  #take(conversation: Id, room: Room, { value, order, origin, lifeMs }: SharedValue): boolean {
    const nowMs = this.#options.clock.nowMs()
    const slot = slotOf(value)
    const known = room.held.get(slot)
    if (known !== undefined && rememberedUntilMs(known) > nowMs && !isNewer({ order, origin }, known)) return false
    if ((room.left.get(value.user) ?? nowMs) > nowMs) return false
    const chars = charsOf(value.value)
    if (!this.#holdings.hasRoom(value.user, chars)) return false
    // Deletes the entry and inserts it again, so that the map stays in order of change and its
    // first entry is the oldest.
    room.held.delete(slot)
    room.held.set(slot, { value, order, origin, expiresAtMs: nowMs + lifeMs })
    for (const evicted of this.#holdings.hold(value.user, { conversation, slot }, chars)) {
      const other = this.#rooms.get(evicted.conversation)
      other?.held.delete(evicted.slot)
      if (other !== undefined && other !== room) this.#dropIfEmpty(evicted.conversation, other)
    }
    if (room.held.size > liveLimits.valuesPerConversationMax) {
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
    const delayMs = Math.max(0, room.lastToldAtMs + liveLimits.gatherMs - nowMs)
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
    const { valuesPerMessageMax } = liveLimits
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
  return expiresAtMs + (value.value === null ? liveLimits.overMs : 0)
}

/**
 * Returns the slot of a value: its place within the conversation, by key and user. A new value
 * replaces the earlier value in the same slot.
 */
function slotOf({ key, user }: Pick<LiveValue, 'key' | 'user'>): string {
  return `${key} ${user}`
}
