/**
 * Masters of a Redis Cluster, as CLUSTER SLOTS reports them. The reply comes from another process
 * and is not trusted: a malformed reply counts as "no cluster".
 */
import { slotOfKey } from '../redis/redis-slot.ts'
import { partitionsCount } from './bus-redis-channels.ts'
import type { RedisAddress } from './bus-redis-connection.ts'
import { RedisRefusal, type Reply, textOf } from './bus-redis-replies.ts'

/** Returns the name by which the bus identifies a Redis: `host:port`. */
export const keyOf = ({ host, port }: RedisAddress): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

export interface Master {
  readonly from: number
  readonly to: number
  readonly address: RedisAddress
}

/**
 * Parses the reply to CLUSTER SLOTS: `[from, to, [host, port, …], replicas …]` for each range.
 * Returns undefined when Redis is no cluster, or the cluster has not formed yet.
 */
export function readMasters(reply: Reply, asked: RedisAddress): readonly Master[] | undefined {
  if (reply instanceof RedisRefusal || !Array.isArray(reply) || reply.length === 0) return undefined
  const masters: Master[] = []
  for (const range of reply as readonly Reply[]) {
    if (!Array.isArray(range)) return undefined
    const [from, to, master] = range as readonly Reply[]
    if (typeof from !== 'number' || typeof to !== 'number' || !Array.isArray(master)) return undefined
    const [host, port] = master as readonly Reply[]
    if (typeof port !== 'number') return undefined
    // A node that does not know its own address reports no host. Use the address under which it was
    // reached.
    const name = textOf(host)
    masters.push({ from, to, address: { host: name === '' || name === '?' ? asked.host : name, port } })
  }
  return masters
}

/**
 * Returns the name (`host:port`) of the master of each partition. A partition without a master
 * keeps its former master. If it never had one, the Redis that was asked counts as its master.
 */
export function ownersOf(
  masters: readonly Master[],
  before: readonly string[] | undefined,
  asked: RedisAddress,
): readonly string[] {
  return Array.from({ length: partitionsCount }, (_, partition) => {
    const slot = slotOfKey(String(partition))
    const master = masters.find(({ from, to }) => slot >= from && slot <= to)
    return master === undefined ? (before?.[partition] ?? keyOf(asked)) : keyOf(master.address)
  })
}
