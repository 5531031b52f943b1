/**
 * Connection to a Redis Cluster. Every wait has a time limit. Masters that cannot be reached are
 * listed, so that the caller can use the others.
 */
import { createCluster, type RedisClusterType } from 'redis'
import type { Clock, Timer } from '../support/clock.ts'
import { redactUrl } from '../support/redact-url.ts'
import { StartError } from '../support/start-error.ts'
import { RedisError, reasonOf } from './redis-errors.ts'
import type { RedisTarget } from './redis-exposure.ts'
import { redisConnection, redisLimits } from './redis-options.ts'
import { parseRedisPlace, redisTlsOf } from './redis-tls.ts'

export type ConnectClusterOptions = Pick<RedisTarget, 'url' | 'variable' | 'logger'> & { readonly clock: Clock }

export interface ConnectedCluster {
  readonly cluster: RedisClusterType
  /** Masters that cannot be reached, each with the reason. */
  readonly unreachable: readonly string[]
}

/** Connects to the masters of the cluster. Rejects if none can be reached. */
export async function connectCluster(options: ConnectClusterOptions): Promise<ConnectedCluster> {
  const cluster = createClusterClient(options)
  const problems = new Map<string, string>()
  cluster.on('node-error', (error: unknown, { host, port }: { host: string; port: number }) => {
    problems.set(`${host}:${port}`, reasonOf(error))
  })
  const { clock } = options
  try {
    if ((await settlesWithin(clock, redisLimits.connectTimeoutMs, cluster.connect())) === 'late')
      throw new RedisError('the cluster did not return its slots in time')
    const reached = new Set<string>()
    const places = cluster.masters.map(({ address }) => address)
    const all = Promise.allSettled(
      cluster.masters.map(async (master) => {
        await cluster.nodeClient(master)
        reached.add(master.address)
      }),
    )
    await settlesWithin(clock, redisLimits.connectTimeoutMs, all)
    const unreachable = places
      .filter((place) => !reached.has(place))
      .map((place) => `${place}: ${problems.get(place) ?? 'no answer'}`)
    if (reached.size === 0) throw new RedisError(`no master of the cluster can be reached (${unreachable.join('; ')})`)
    return { cluster, unreachable }
  } catch (error) {
    if (cluster.isOpen) cluster.destroy()
    throw error
  }
}

function createClusterClient({ url, variable, logger }: ConnectClusterOptions): RedisClusterType {
  const { url: _, ...defaults } = redisConnection(url)
  const { username, password, pathname } = new URL(url)
  if (Number(pathname.slice(1)) !== 0)
    throw new StartError(`${variable} is ${redactUrl(url)}; a Redis Cluster has only database 0`)
  const cluster = createCluster({
    rootNodes: [{ url }],
    // Each master has its own server name for TLS. node-redis passes additional fields of an
    // address on to the socket, so the TLS settings are returned with the address.
    nodeAddressMap: (place) => {
      const { host, port } = parseRedisPlace(place)
      return { host, port, ...redisTlsOf(url, host) }
    },
    // Without this option, the client connects to all masters and waits for each one without a
    // limit.
    minimizeConnections: true,
    defaults: {
      ...(defaults as object),
      ...(password === '' ? {} : { password: decodeURIComponent(password) }),
      ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    },
  }) as unknown as RedisClusterType
  // An unavailable master needs no handling here: commands for it reject, and the other masters
  // still work.
  cluster.on('error', (error: unknown) => logger.debug({ err: error }, 'a node of the Redis Cluster is unavailable'))
  return cluster
}

/**
 * Waits for `work` at most `limitMs`. Resolves to `done` or `late`, or rejects if `work` rejects in
 * time.
 */
export async function settlesWithin(clock: Clock, limitMs: number, work: Promise<unknown>): Promise<'done' | 'late'> {
  let timer: Timer | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = clock.setTimer(() => resolve('late'), limitMs)
  })
  // An error after the limit is ignored, because the client also reports it by an event.
  work.catch(() => undefined)
  try {
    return await Promise.race([work.then(() => 'done' as const), late])
  } finally {
    timer?.cancel()
  }
}
