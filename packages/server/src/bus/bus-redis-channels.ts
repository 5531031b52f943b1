/**
 * Names of the bus channels in Redis: `{partition}:channel` within the installation's namespace.
 * The partition is the hash tag of the name. So all channels of one conversation or user belong to
 * one master of a cluster, and one SSUBSCRIBE may name many channels of a partition.
 */
import type { Redis } from '../redis/redis.ts'
import type { BusChannel } from './bus.ts'

/**
 * Number of partitions of the channels. Part of the wire format between servers: all servers must
 * use the same number.
 */
export const partitionsCount = 64

export function nameOf(redis: Pick<Redis, 'keyOf'>, channel: BusChannel): string {
  return redis.keyOf(`{${partitionOf(channel)}}:${channel}`)
}

export function partitionOf(channel: BusChannel): number {
  // Hash the id alone (FNV-1a), without the kind of channel, so that all channels of one user share
  // a partition.
  let hash = 0x811c9dc5
  for (let index = channel.indexOf(':') + 1; index < channel.length; index++)
    hash = Math.imul(hash ^ channel.charCodeAt(index), 0x01000193)
  return (hash >>> 0) % partitionsCount
}
