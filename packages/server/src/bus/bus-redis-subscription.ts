/**
 * State of one subscription at Redis. Only in the state `confirmed` do messages surely arrive (rule
 * JOIN1).
 */
import type { BusChannel } from './bus.ts'
import type { GapCause } from './bus-observer.ts'
import type { RedisBusConnection } from './bus-redis-connection.ts'

/** Maximum number of channel names in one SSUBSCRIBE or SUNSUBSCRIBE. */
export const namesPerRequestMax = 500

export interface Subscription {
  readonly channel: BusChannel
  readonly partition: number
  /**
   * State of the subscription. In `requested` and `confirmed`, `connection` is the connection that
   * was asked, and `request` the number of that request.
   */
  state: 'wanted' | 'requested' | 'confirmed'
  connection: RedisBusConnection | undefined
  request: number
  /** Cause of the gap to announce once the subscription is confirmed. */
  owes: GapCause | undefined
  readonly waiters: Set<() => void>
}

/** Lets all callers that wait for the confirmation continue. */
export function release(subscription: Subscription): void {
  const waiters = [...subscription.waiters]
  subscription.waiters.clear()
  for (const resolve of waiters) resolve()
}

/**
 * Groups channel names by the connection they are subscribed on, in lists of one partition and
 * bounded length.
 */
export function groupByConnection(
  subscriptions: ReadonlyMap<string, Subscription>,
): Map<RedisBusConnection, string[][]> {
  const byConnection = new Map<RedisBusConnection, Map<number, string[]>>()
  for (const [name, { connection, partition }] of subscriptions) {
    if (connection === undefined) continue
    const partitions = byConnection.get(connection) ?? new Map<number, string[]>()
    byConnection.set(connection, partitions)
    const names = partitions.get(partition) ?? []
    partitions.set(partition, names)
    names.push(name)
  }
  const grouped = new Map<RedisBusConnection, string[][]>()
  for (const [connection, partitions] of byConnection) {
    const lists: string[][] = []
    for (const names of partitions.values())
      for (let at = 0; at < names.length; at += namesPerRequestMax) lists.push(names.slice(at, at + namesPerRequestMax))
    grouped.set(connection, lists)
  }
  return grouped
}
