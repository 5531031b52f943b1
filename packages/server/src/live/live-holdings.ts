/**
 * Counts the live values that each user holds on this server, so that a limit affects only the user
 * who reaches it (rule LIM3). When a user exceeds a limit, the oldest value of that user is
 * evicted. Values of other users stay.
 */
import type { Id } from '@chorus/protocol'

export const holdingLimits = {
  /** Maximum number of values of one user in one conversation. */
  perConversationMax: 32,
  /** Maximum number of values of one user in all conversations. */
  perUserMax: 1_000,
  /** Maximum number of JSON characters in the values of one user. */
  perUserMaxChars: 131_072,
  /**
   * Maximum number of JSON characters in all values of this server. Beyond it, a new value of a
   * user must replace an older value of the same user.
   */
  totalMaxChars: 67_108_864,
} as const

export interface HeldSlot {
  readonly conversation: Id
  readonly slot: string
}

interface Holding {
  /**
   * Sizes of the values, by conversation and then by slot (key and user). Both maps are ordered by
   * change, the oldest first.
   */
  readonly slots: Map<Id, Map<string, number>>
  count: number
  chars: number
}

export class LiveHoldings {
  readonly #holdings = new Map<Id, Holding>()
  #chars = 0

  /**
   * Returns false when the server's total limit is reached and the user has no older value that a
   * new one could replace.
   */
  hasRoom(user: Id, chars: number): boolean {
    return this.#chars + chars <= holdingLimits.totalMaxChars || this.#holdings.has(user)
  }

  /**
   * Counts a new value, which replaces the earlier value in the same slot. Returns the values of
   * this user that must be evicted.
   */
  hold(user: Id, { conversation, slot }: HeldSlot, chars: number): HeldSlot[] {
    this.release(user, { conversation, slot })
    let holding = this.#holdings.get(user)
    if (holding === undefined) {
      holding = { slots: new Map(), count: 0, chars: 0 }
      this.#holdings.set(user, holding)
    }
    const here = holding.slots.get(conversation) ?? new Map<string, number>()
    // Deletes the entry and inserts it again, so that conversations stay in the order of their
    // newest value.
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
    if (here.size > holdingLimits.perConversationMax) evict(conversation, here)
    while (holding.count > 1 && this.#isOver(holding)) {
      const [oldest] = holding.slots
      if (oldest === undefined) break
      evict(...oldest)
    }
    return evicted
  }

  /**
   * Returns the slot (key and user) of the user's oldest value in this conversation. Returns
   * undefined if the user has fewer than two values there.
   */
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
    const { perUserMax, perUserMaxChars, totalMaxChars } = holdingLimits
    return count > perUserMax || chars > perUserMaxChars || this.#chars > totalMaxChars
  }
}
