/**
 * Counts the live values that each user holds on this server, so that a bound costs the user who reaches it and nobody else
 * (rule LIM3): a user past a bound gives up an own value, the one set longest ago. Values of other people stay.
 */
import type { Id } from '@chorus/protocol'

export const holdingBounds = {
  /** Values of one user in one conversation. */
  perConversationMax: 32,
  /** Values of one user in all conversations. */
  perUserMax: 1_000,
  /** Characters of JSON in the values of one user. */
  perUserMaxChars: 131_072,
  /** Characters of JSON in all values of this server; beyond it a user can replace own values only. */
  totalMaxChars: 67_108_864,
} as const

export interface HeldSlot {
  readonly conversation: Id
  readonly slot: string
}

interface Holding {
  /** By conversation, the one set longest ago first in both. */
  readonly slots: Map<Id, Map<string, number>>
  count: number
  chars: number
}

export class LiveHoldings {
  readonly #holdings = new Map<Id, Holding>()
  #chars = 0

  /** False when this server is full and the user holds nothing to give up. */
  hasRoom(user: Id, chars: number): boolean {
    return this.#chars + chars <= holdingBounds.totalMaxChars || this.#holdings.has(user)
  }

  /** Counts a value, in place of an earlier one of the same slot, and names the own values that have to give way. */
  hold(user: Id, { conversation, slot }: HeldSlot, chars: number): HeldSlot[] {
    this.release(user, { conversation, slot })
    let holding = this.#holdings.get(user)
    if (holding === undefined) {
      holding = { slots: new Map(), count: 0, chars: 0 }
      this.#holdings.set(user, holding)
    }
    const here = holding.slots.get(conversation) ?? new Map<string, number>()
    // Set again, so that the order is that of the newest value in each.
    holding.slots.delete(conversation)
    holding.slots.set(conversation, here)
    here.set(slot, chars)
    holding.count++
    holding.chars += chars
    this.#chars += chars

    const evicted: HeldSlot[] = []
    const evict = (from: Id, slots: ReadonlyMap<string, number>): void => {
      const [oldest] = slots.keys()
      if (oldest === undefined) return
      evicted.push({ conversation: from, slot: oldest })
      this.release(user, { conversation: from, slot: oldest })
    }
    if (here.size > holdingBounds.perConversationMax) evict(conversation, here)
    while (holding.count > 1 && this.#isOver(holding)) {
      const [oldest] = holding.slots
      if (oldest === undefined) break
      evict(...oldest)
    }
    return evicted
  }

  /** The slot that this user set longest ago in this conversation, other than the newest. */
  oldestOf(user: Id, conversation: Id): string | undefined {
    const slots = this.#holdings.get(user)?.slots.get(conversation)
    if (slots === undefined || slots.size < 2) return undefined
    const [oldest] = slots.keys()
    return oldest
  }

  release(user: Id, { conversation, slot }: HeldSlot): void {
    const holding = this.#holdings.get(user)
    const slots = holding?.slots.get(conversation)
    const chars = slots?.get(slot)
    if (holding === undefined || slots === undefined || chars === undefined) return
    slots.delete(slot)
    if (slots.size === 0) holding.slots.delete(conversation)
    holding.count--
    holding.chars -= chars
    this.#chars -= chars
    if (holding.count === 0) this.#holdings.delete(user)
  }

  clear(): void {
    this.#holdings.clear()
    this.#chars = 0
  }

  #isOver({ count, chars }: Holding): boolean {
    const { perUserMax, perUserMaxChars, totalMaxChars } = holdingBounds
    return count > perUserMax || chars > perUserMaxChars || this.#chars > totalMaxChars
  }
}
