/**
 * Live values beyond this server's memory, for those who open a conversation elsewhere. Nothing depends on it: what is
 * not kept comes with the next value, or expires.
 */
import type { Id, LiveValue } from '@chorus/protocol'

export interface SharedValue {
  readonly value: LiveValue
  /** Of two values of one key and user the higher is newer; with equal ones the higher origin. */
  readonly order: number
  /** The server that took it. */
  readonly origin: string
  /** How long it still lives. Lengths of time travel, never moments: no two clocks are compared. */
  readonly lifeMs: number
}

export interface LiveStore {
  /** Best effort; never throws, never waits. */
  keep(conversation: Id, values: readonly SharedValue[]): void
  /** What others kept; nothing when it cannot be asked. Never rejects. */
  read(conversation: Id): Promise<readonly SharedValue[]>
}

/** Of a single server: its memory has everything. */
export const nothingElsewhere: LiveStore = {
  keep: () => undefined,
  read: async () => [],
}

/** Is `one` newer than `other`? The same on every server, so that all end up with the same value. */
export function isNewer(
  one: Pick<SharedValue, 'order' | 'origin'>,
  other: Pick<SharedValue, 'order' | 'origin'>,
): boolean {
  return one.order === other.order ? one.origin > other.origin : one.order > other.order
}

/** Of several values for one key and user the newest; of those that are over none. */
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
