/**
 * Partitions of the users for presence over Redis. The users and leases of a partition are stored
 * under one hash tag, so a Redis Cluster spreads the partitions over its masters. All servers must
 * use the same number of partitions.
 */
import type { Id } from '@chorus/protocol'

export const presenceStoreLimits = {
  partitions: 16,
  /** Time after which a lease ends unless it is refreshed. */
  leaseMs: 25_000,
  /** Time after which presence data in Redis expires unless it is written again. */
  keepMs: 6 * 3_600_000,
  /**
   * Time that the other servers get to write their users again after Redis was unavailable or
   * emptied.
   */
  settleMs: 8_000,
  usersPerScript: 200,
} as const

/** Names of the Redis keys of one partition. */
export class PresencePartition {
  readonly index: number
  readonly leasesKey: string
  readonly wholeKey: string
  readonly keyOf: (user: Id) => string

  constructor(index: number, nameOf: (name: string) => string) {
    const tag = `{presence-${index}}`
    this.index = index
    this.leasesKey = nameOf(`${tag}:leases`)
    this.wholeKey = nameOf(`${tag}:whole`)
    this.keyOf = (user) => nameOf(`${tag}:${user}`)
  }
}

/** Creates the state of every partition, in the order of {@link partitionOf}. */
export function createPartitions<State>(
  nameOf: (name: string) => string,
  create: (partition: PresencePartition) => State,
): readonly State[] {
  return Array.from({ length: presenceStoreLimits.partitions }, (_, index) =>
    create(new PresencePartition(index, nameOf)),
  )
}

export function partitionOf<State>(partitions: readonly State[], user: Id): State {
  return partitions[hashOf(user) % presenceStoreLimits.partitions] as State
}

/** Hashes a user id with FNV-1a. */
function hashOf(user: Id): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < user.length; index++) hash = Math.imul(hash ^ user.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
