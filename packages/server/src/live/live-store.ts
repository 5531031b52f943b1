/**
 * Stores live values outside this server's memory, for servers that open the conversation later.
 * The store may lose values: a lost value is replaced by the next value of its user, or would have
 * expired anyway.
 */
import type { Id, LiveValue } from '@chorus/protocol'

export interface SharedValue {
  readonly value: LiveValue
  /**
   * Rank of a value in time. Of two values with the same key and user, the one with the higher
   * order is newer. With equal orders, the one with the higher origin counts as newer.
   */
  readonly order: number
  /** Name of the server that accepted the value. */
  readonly origin: string
  /**
   * Remaining lifetime of the value. Servers exchange durations, never points in time, so that
   * clocks of different machines are not compared.
   */
  readonly lifeMs: number
}

export interface LiveStore {
  /** Stores values, best effort. Never throws and never waits. */
  keep(conversation: Id, values: readonly SharedValue[]): void
  /** Returns the stored values, or none when the store cannot be reached. Never rejects. */
  read(conversation: Id): Promise<readonly SharedValue[]>
}

/** Store for a single server, which stores nothing: the server's own memory has every value. */
export const localOnlyLiveValues: LiveStore = {
  keep: () => undefined,
  read: async () => [],
}

/**
 * Returns whether value `one` is newer than value `other`. Every server applies this same
 * comparison, so all servers end up with the same value.
 */
export function isNewer(
  one: Pick<SharedValue, 'order' | 'origin'>,
  other: Pick<SharedValue, 'order' | 'origin'>,
): boolean {
  return one.order === other.order ? one.origin > other.origin : one.order > other.order
}

/** Returns the newest value for each key and user, without ended values. */
export function newestOf(values: Iterable<SharedValue>): LiveValue[] {
  const newest = new Map<string, SharedValue>()
  for (const shared of values) {
    const slot = `${shared.value.key} ${shared.value.user}`
    const known = newest.get(slot)
    if (known === undefined || isNewer(shared, known)) newest.set(slot, shared)
  }
  return [...newest.values()]
    .filter(({ value, lifeMs }) => value.value !== null && lifeMs > 0)
    .map(({ value }) => value)
}
