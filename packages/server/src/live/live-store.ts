/**
 * Keeps live values outside this server's memory, for servers that open the conversation later.
 * Nothing depends on it: a lost value is replaced by the next value, or expires.
 */
import type { Id, LiveValue } from '@chorus/protocol'

export interface SharedValue {
  readonly value: LiveValue
  /**
   * Order of a value. Of two values for one key and user, the higher order is newer; with equal
   * orders, the higher origin.
   */
  readonly order: number
  /** The server that accepted the value. */
  readonly origin: string
  /**
   * Remaining life of the value. Servers exchange durations, never points in time, so no two clocks
   * are compared.
   */
  readonly lifeMs: number
}

export interface LiveStore {
  /** Stores values. Best effort: never throws, never waits. */
  keep(conversation: Id, values: readonly SharedValue[]): void
  /** Returns the stored values, or none when the store cannot be reached. Never rejects. */
  read(conversation: Id): Promise<readonly SharedValue[]>
}

/** Store of a single server: its own memory has every value. */
export const localOnlyLiveValues: LiveStore = {
  keep: () => undefined,
  read: async () => [],
}

/**
 * Returns whether `one` is newer than `other`. Every server decides alike, so all end up with the
 * same value.
 */
export function isNewer(
  one: Pick<SharedValue, 'order' | 'origin'>,
  other: Pick<SharedValue, 'order' | 'origin'>,
): boolean {
  return one.order === other.order ? one.origin > other.origin : one.order > other.order
}

/** Returns the newest value for each key and user, without the ended ones. */
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
