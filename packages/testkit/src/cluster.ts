/**
 * A whole cluster on loopback: Postgres, Redis with a replica (or a Redis Cluster), N servers and a balancer, each with
 * temporary data of its own. Each part can be killed, stopped, frozen and started again where it was. Links between
 * parts can be led through proxies, so that a test can cut them. `npm run cluster` is this same code.
 */
import { startBalancer } from './balancer.ts'
import type { Balancer, BalancerKind } from './balancer.ts'
import { findFreePort } from './free-port.ts'
import type { ExitStatus } from './part-process.ts'
import { startPostgres } from './postgres.ts'
import type { Postgres, PostgresOptions } from './postgres.ts'
import { startRedis, startRedisCluster } from './redis.ts'
import type { Redis, RedisCluster, RedisOptions } from './redis.ts'
import { startServer } from './server-process.ts'
import type { ServerProcess } from './server-process.ts'
import { startTcpProxy } from './tcp-proxy.ts'
import type { TcpProxy } from './tcp-proxy.ts'

/** What a link carries: hints out, hints in, SQL, requests from the balancer, Redis's replication. */
export type LinkPurpose = 'publish' | 'subscribe' | 'database' | 'http' | 'replication'

export interface ClusterLink {
  readonly purpose: LinkPurpose
  /** The index of the server at one end; undefined for replication. */
  readonly server: number | undefined
  readonly targetPort: number
}

export interface ClusterOptions {
  /** How many. */
  readonly servers: number
  readonly balancer?: BalancerKind
  /** The balancer's port; left out, a free one. */
  readonly port?: number
  /** Three masters instead of a primary and a replica. */
  readonly redisCluster?: boolean
  /** Servers publish at the primary and subscribe at the replica. */
  readonly subscribeAtReplica?: boolean
  /** For every server; over the defaults here. */
  readonly env?: Readonly<Record<string, string>>
  /** For one server, over `env`. */
  readonly envOf?: (server: number) => Readonly<Record<string, string>>
  readonly nodeArguments?: readonly string[]
  readonly redis?: Pick<RedisOptions, 'keepsData' | 'settings'>
  readonly postgres?: PostgresOptions
  /** Which links go through a {@link TcpProxy}, to be had by `proxyOf`. Not those of a Redis Cluster: clients find its masters by themselves. */
  readonly proxies?: readonly LinkPurpose[]
  /** Stands between two parts instead: answers with the port to connect to. */
  readonly openLink?: (link: ClusterLink) => Promise<{ readonly port: number }>
  /** Called for each part as soon as it serves. */
  readonly onPart?: (part: ClusterPart) => void
}

export interface ClusterPart {
  /** `balancer`, `server 1`, `redis`, `replica`, `postgres`; the masters of a Redis Cluster are `redis 1`, `redis 2`… */
  readonly name: string
  readonly url: string
  readonly pid: number
  readonly exited: Promise<ExitStatus>
}

export interface ClusterServer extends ServerProcess {
  /** `server-1`: its SERVER_NAME. */
  readonly name: string
  /** Prometheus reads here. */
  readonly metricsUrl: string
}

export interface Cluster {
  /** The balancer's. */
  readonly url: string
  /** Each server's own. */
  readonly urls: readonly string[]
  readonly servers: readonly ClusterServer[]
  readonly balancer: Balancer
  readonly postgres: Postgres
  /** The servers' database, without any proxy between. */
  readonly databaseUrl: string
  /** The primary, or the first master. */
  readonly redis: Redis
  /** Undefined in a Redis Cluster. */
  readonly replica: Redis | undefined
  /** Undefined unless there is one. */
  readonly redisCluster: RedisCluster | undefined
  /** SIGKILL to a server, counted from 0 as in `servers`. */
  kill9(server: number): Promise<void>
  /** SIGTERM; resolves with how it ended. */
  stop(server: number): Promise<ExitStatus>
  /** Starts it again on its port. */
  start(server: number): Promise<void>
  /** SIGSTOP */
  pause(server: number): void
  /** SIGCONT */
  resume(server: number): void
  /** The proxy of a link that was asked for in `proxies`. */
  proxyOf(purpose: LinkPurpose, server?: number): TcpProxy
  /**
   * Kills the primary, promotes the replica as it is, and leads the servers' links there, as an address that moves does.
   * Needs the proxies `publish` and `subscribe`.
   */
  failOverRedis(): Promise<void>
  remove(): Promise<void>
}

/** What all servers of a test get unless it says otherwise. */
function baseEnv(balancerUrl: string): Record<string, string> {
  return {
    PUBLIC_URL: balancerUrl,
    // The balancer stands at this address; in production it is a network of its own.
    TRUSTED_PROXIES: '127.0.0.1',
  }
}

const withPort = (url: string, port: number): string => {
  const moved = new URL(url)
  moved.port = String(port)
  return moved.href.replace(/\/$/, '')
}

/** Starts everything and resolves when every part serves. What was started is removed when one part fails. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const removals: (() => Promise<void>)[] = []
  const remove = async (): Promise<void> => {
    for (const removePart of removals.splice(0).reverse()) await removePart()
  }
  try {
    return await startParts(options, removals, remove)
  } catch (error) {
    await remove()
    throw error
  }
}

async function startParts(
  options: ClusterOptions,
  removals: (() => Promise<void>)[],
  remove: () => Promise<void>,
): Promise<Cluster> {
  if (options.servers < 1) throw new Error('unable to start a cluster; it needs a server')
  const tell = (name: string, url: string, part: { readonly pid: number; readonly exited: Promise<ExitStatus> }) =>
    options.onPart?.({ name, url, pid: part.pid, exited: part.exited })

  const proxies = new Map<string, TcpProxy>()
  const link = async (purpose: LinkPurpose, server: number | undefined, targetPort: number): Promise<number> => {
    if (options.openLink !== undefined) return (await options.openLink({ purpose, server, targetPort })).port
    if (options.proxies?.includes(purpose) !== true) return targetPort
    const proxy = await startTcpProxy(targetPort)
    proxies.set(`${purpose} ${server}`, proxy)
    removals.push(() => proxy.remove())
    return proxy.port
  }

  const postgres = await startPostgres(options.postgres)
  removals.push(() => postgres.remove())
  const databaseUrl = await postgres.createDatabase()
  tell('postgres', databaseUrl, postgres)

  let redis: Redis
  let replica: Redis | undefined
  let redisCluster: RedisCluster | undefined
  if (options.redisCluster === true) {
    redisCluster = await startRedisCluster(options.redis)
    removals.push(redisCluster.remove)
    const [first] = redisCluster.masters
    if (first === undefined) throw new Error('unable to start a cluster; it has no Redis')
    redis = first
    for (const [index, master] of redisCluster.masters.entries()) tell(`redis ${index + 1}`, master.url, master)
  } else {
    redis = await startRedis(options.redis)
    removals.push(redis.remove)
    tell('redis', redis.url, redis)
    replica = await startRedis({
      ...options.redis,
      replicaOf: { port: await link('replication', undefined, redis.port) },
    })
    removals.push(replica.remove)
    await replica.waitForSync()
    tell('replica', replica.url, replica)
  }

  const ports: { readonly port: number; readonly metricsPort: number }[] = []
  for (let index = 0; index < options.servers; index += 1) {
    ports.push({ port: await findFreePort(), metricsPort: await findFreePort() })
  }
  // The balancer comes before the servers: its address is their PUBLIC_URL.
  const behind: number[] = []
  for (const [index, { port }] of ports.entries()) behind.push(await link('http', index, port))
  const balancer = await startBalancer(options.balancer ?? 'haproxy', {
    servers: behind,
    ...(options.port !== undefined && { port: options.port }),
  })
  removals.push(balancer.remove)

  const subscribed = options.subscribeAtReplica === true ? (replica ?? redis) : redis
  const redisEnv = async (server: number): Promise<Record<string, string>> => {
    // Clients of a Redis Cluster find its masters by themselves, past any proxy.
    if (redisCluster !== undefined) return { REDIS_URL: redisCluster.url }
    const publishPort = await link('publish', server, redis.port)
    const subscribePort = await link('subscribe', server, subscribed.port)
    return {
      REDIS_URL: withPort(redis.url, publishPort),
      ...(subscribePort !== redis.port && { REDIS_SUBSCRIBE_URL: withPort(subscribed.url, subscribePort) }),
    }
  }

  const startOne = async (index: number, port: number, metricsPort: number): Promise<ClusterServer> => {
    const name = `server-${index + 1}`
    const server = await startServer({
      databaseUrl: withPort(databaseUrl, await link('database', index, postgres.port)),
      env: {
        ...baseEnv(balancer.url),
        ...(await redisEnv(index)),
        PORT: String(port),
        METRICS_PORT: String(metricsPort),
        SERVER_NAME: name,
        ...options.env,
        ...options.envOf?.(index),
      },
      ...(options.nodeArguments !== undefined && { nodeArguments: options.nodeArguments }),
    })
    removals.push(() => server.remove())
    tell(`server ${index + 1}`, server.url, server)
    return Object.assign(server, { name, metricsUrl: `http://127.0.0.1:${metricsPort}/metrics` })
  }
  const [firstPorts, ...otherPorts] = ports
  if (firstPorts === undefined) throw new Error('unable to start a cluster; it needs a server')
  // The first one alone: it makes the tables.
  const first = await startOne(0, firstPorts.port, firstPorts.metricsPort)
  const others = await allOrNone(
    otherPorts.map(({ port, metricsPort }, index) => startOne(index + 1, port, metricsPort)),
  )
  const servers = [first, ...others]
  tell('balancer', balancer.url, balancer)

  const serverAt = (index: number): ClusterServer => {
    const server = servers[index]
    if (server === undefined) throw new Error(`unable to find server ${index}; there are ${servers.length}, from 0`)
    return server
  }
  const proxyOf = (purpose: LinkPurpose, server?: number): TcpProxy => {
    const proxy = proxies.get(`${purpose} ${server}`)
    if (proxy === undefined) throw new Error(`unable to find the proxy of ${purpose} ${server}; it was not asked for`)
    return proxy
  }

  return {
    url: balancer.url,
    urls: servers.map(({ url }) => url),
    servers,
    balancer,
    postgres,
    databaseUrl,
    redis,
    replica,
    redisCluster,
    kill9: (server) => serverAt(server).kill9(),
    stop: (server) => serverAt(server).stop(),
    start: (server) => serverAt(server).start(),
    pause: (server) => serverAt(server).freeze(),
    resume: (server) => serverAt(server).thaw(),
    proxyOf,
    async failOverRedis() {
      if (replica === undefined) throw new Error('unable to fail over; there is no replica')
      const links = servers.flatMap((_, index) => [proxyOf('publish', index), proxyOf('subscribe', index)])
      await redis.kill9()
      await replica.follow(undefined)
      for (const proxy of links) proxy.retarget(replica.port)
    },
    remove,
  }
}

/** Waits for all even when one fails, so that nothing is still starting when the rest is removed. */
async function allOrNone<T>(starts: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(starts)
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}
