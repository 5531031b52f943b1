/**
 * Starts a whole Chorus cluster on the loopback interface: Postgres, Redis with a replica (or a
 * Redis Cluster), N servers and a balancer, each with its own temporary data. Each part can be
 * killed, stopped, frozen and started again at the same address. Connections between parts can go
 * through proxies, so that a test can cut them. `npm run cluster` uses this code, too.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { startBalancer } from './balancer.ts'
import type { Balancer, BalancerKind } from './balancer.ts'
import { type Certificate, makeCertificate } from './certificate.ts'
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
import { makeTempDir, removeTempDir } from './tracked.ts'

/**
 * Purpose of a connection between two parts: `publish` and `subscribe` carry hints over Redis
 * (notices of new changes) from and to a server, `database` SQL, `http` requests from the balancer,
 * `replication` the data of the Redis replica.
 */
export type LinkPurpose = 'publish' | 'subscribe' | 'database' | 'http' | 'replication'

export interface ClusterLink {
  readonly purpose: LinkPurpose
  /** Index of the server at one end of the link. Undefined for Redis replication. */
  readonly server: number | undefined
  readonly targetPort: number
}

export interface ClusterOptions {
  /** Number of servers. */
  readonly servers: number
  readonly balancer?: BalancerKind
  /** Port of the balancer. Default: a free port. */
  readonly port?: number
  /** Whether to start a Redis Cluster of three masters instead of a primary and a replica. */
  readonly redisCluster?: boolean
  /** Whether servers publish to the primary and subscribe at the replica. */
  readonly subscribeAtReplica?: boolean
  /**
   * Whether each server has a host of its own, 127.0.0.1, 127.0.0.2 and so on, so that a browser
   * keeps separate cookies for them. Ignored on systems that have only 127.0.0.1.
   */
  readonly hosts?: boolean
  /**
   * Whether clients reach the balancer by HTTPS, and servers reach Redis by TLS. The cluster makes
   * its own certificate.
   */
  readonly tls?: boolean
  /** Environment variables of every server. They override the defaults of this file. */
  readonly env?: Readonly<Record<string, string>>
  /** Returns the environment variables of one server. They override `env`. */
  readonly envOf?: (server: number) => Readonly<Record<string, string>>
  readonly nodeArguments?: readonly string[]
  readonly redis?: Pick<RedisOptions, 'keepsData' | 'settings'>
  readonly postgres?: PostgresOptions
  /**
   * Links that go through a {@link TcpProxy}, available from `proxyOf`. Not possible for links to a
   * Redis Cluster, because its clients discover the addresses of the masters by themselves.
   */
  readonly proxies?: readonly LinkPurpose[]
  /**
   * Opens a custom link between two parts, used instead of a {@link TcpProxy}. Resolves to the port
   * that the first part connects to.
   */
  readonly openLink?: (link: ClusterLink) => Promise<{ readonly port: number }>
  /** Called for each part as soon as it is ready. */
  readonly onPart?: (part: ClusterPart) => void
}

export interface ClusterPart {
  /**
   * Name of the part: `balancer`, `server 1`, `metrics 1`, `redis`, `replica`, `postgres`; the
   * masters of a Redis Cluster are `redis 1`, `redis 2`…
   */
  readonly name: string
  readonly url: string
  readonly pid: number
  readonly exited: Promise<ExitStatus>
}

export interface ClusterServer extends ServerProcess {
  /** SERVER_NAME of the server, such as `server-1`. */
  readonly name: string
  /** URL of the server's Prometheus metrics. */
  readonly metricsUrl: string
}

export interface Cluster {
  /** URL of the balancer. */
  readonly url: string
  /** URLs of the servers. */
  readonly urls: readonly string[]
  readonly servers: readonly ClusterServer[]
  readonly balancer: Balancer
  readonly postgres: Postgres
  /** URL of the servers' database, which bypasses any proxy. */
  readonly databaseUrl: string
  /** The Redis primary, or the first master of a Redis Cluster. */
  readonly redis: Redis
  /** The Redis replica; undefined in a Redis Cluster. */
  readonly replica: Redis | undefined
  /** The Redis Cluster; undefined without one. */
  readonly redisCluster: RedisCluster | undefined
  /** File of the certificate that clients must trust; only with `tls`. */
  readonly caFile: string | undefined
  /** Sends SIGKILL to a server, by its index in `servers`. */
  kill9(server: number): Promise<void>
  /** Sends SIGTERM to a server. Resolves to its exit status. */
  stop(server: number): Promise<ExitStatus>
  /** Starts a stopped server again on its port. */
  start(server: number): Promise<void>
  /** Sends SIGSTOP to a server, which freezes it. */
  pause(server: number): void
  /** Sends SIGCONT to a server, which ends `pause`. */
  resume(server: number): void
  /** Starts one more server and adds it to the balancer. */
  add(): Promise<ClusterServer>
  /** Returns the proxy of a link listed in `proxies`. */
  proxyOf(purpose: LinkPurpose, server?: number): TcpProxy
  /**
   * Kills the Redis primary, promotes the replica in its current state, and redirects the servers'
   * connections to the replica, as an operator does by moving the address. Needs the proxies
   * `publish` and `subscribe`.
   */
  failOverRedis(): Promise<void>
  remove(): Promise<void>
}

/** Returns the default environment of all servers of a test. */
function baseEnv(balancerUrl: string): Record<string, string> {
  return {
    PUBLIC_URL: balancerUrl,
    // Requests of the balancer come from this address. In production, the balancer has its own
    // network.
    TRUSTED_PROXIES: '127.0.0.1',
  }
}

const withPort = (url: string, port: number): string => {
  const moved = new URL(url)
  moved.port = String(port)
  return moved.href.replace(/\/$/, '')
}

/**
 * Starts all parts of a cluster. Resolves when every part is ready. If one part fails to start,
 * removes the other parts and rejects.
 */
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

  const certificate = options.tls === true ? openCertificate(removals) : undefined
  const hasHosts = options.hosts === true && (await isLocal('127.0.0.2'))
  const hostOf = (index: number): string => (hasHosts ? `127.0.0.${index + 1}` : '127.0.0.1')

  const postgres = await startPostgres(options.postgres)
  removals.push(() => postgres.remove())
  const databaseUrl = await postgres.createDatabase()
  tell('postgres', databaseUrl, postgres)

  let redis: Redis
  let replica: Redis | undefined
  let redisCluster: RedisCluster | undefined
  if (options.redisCluster === true) {
    redisCluster = await startRedisCluster({ ...options.redis, ...(certificate !== undefined && { tls: 'names' }) })
    removals.push(redisCluster.remove)
    const [first] = redisCluster.masters
    if (first === undefined) throw new Error('unable to start a cluster; it has no Redis')
    redis = first
    for (const [index, master] of redisCluster.masters.entries()) tell(`redis ${index + 1}`, master.url, master)
  } else {
    const redisOptions = { ...options.redis, ...(certificate !== undefined && { tls: certificate }) }
    redis = await startRedis(redisOptions)
    removals.push(redis.remove)
    tell('redis', redis.url, redis)
    replica = await startRedis({
      ...redisOptions,
      replicaOf: { port: await link('replication', undefined, redis.port) },
    })
    removals.push(replica.remove)
    await replica.waitForSync()
    tell('replica', replica.url, replica)
  }

  const ports: { readonly port: number; readonly metricsPort: number }[] = []
  const behind: string[] = []
  const reservePorts = async (): Promise<void> => {
    const index = ports.length
    const reserved = { port: await findFreePort(), metricsPort: await findFreePort() }
    ports.push(reserved)
    const linkPort = await link('http', index, reserved.port)
    behind.push(`${linkPort === reserved.port ? hostOf(index) : '127.0.0.1'}:${linkPort}`)
  }
  // Start the balancer before the servers, because its URL is their PUBLIC_URL.
  while (ports.length < options.servers) await reservePorts()
  const balancer = await startBalancer(options.balancer ?? 'haproxy', {
    servers: behind,
    ...(certificate !== undefined && { tls: certificate }),
    ...(options.port !== undefined && { port: options.port }),
  })
  removals.push(balancer.remove)

  const subscribed = options.subscribeAtReplica === true ? (replica ?? redis) : redis
  const redisEnv = async (server: number): Promise<Record<string, string>> => {
    // Clients of a Redis Cluster discover its masters by themselves and bypass any proxy.
    if (redisCluster !== undefined) return { REDIS_URL: redisCluster.url }
    const publishPort = await link('publish', server, redis.port)
    const subscribePort = await link('subscribe', server, subscribed.port)
    return {
      REDIS_URL: withPort(redis.url, publishPort),
      ...(subscribePort !== redis.port && { REDIS_SUBSCRIBE_URL: withPort(subscribed.url, subscribePort) }),
    }
  }

  // Node reads additional certificate authorities from one file, so join the cluster's certificate
  // with that of the Redis Cluster.
  const caFile = certificate && joinAuthorities(certificate, redisCluster?.caFile)
  const startOne = async (index: number): Promise<ClusterServer> => {
    const reserved = ports[index]
    if (reserved === undefined) throw new Error(`unable to start server ${index + 1}; it has no port`)
    const { port, metricsPort } = reserved
    const name = `server-${index + 1}`
    const server = await startServer({
      databaseUrl: withPort(databaseUrl, await link('database', index, postgres.port)),
      env: {
        ...baseEnv(balancer.url),
        ...(await redisEnv(index)),
        HOST: hostOf(index),
        ...(caFile !== undefined && { NODE_EXTRA_CA_CERTS: caFile }),
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
    const metricsUrl = `http://${hostOf(index)}:${metricsPort}/metrics`
    tell(`metrics ${index + 1}`, metricsUrl, server)
    return Object.assign(server, { name, metricsUrl })
  }
  // Start the first server alone, because it creates the database tables.
  const servers = [await startOne(0)]
  servers.push(...(await allOrNone(ports.slice(1).map((_, index) => startOne(index + 1)))))
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
    get urls() {
      return servers.map(({ url }) => url)
    },
    servers,
    caFile,
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
    async add() {
      // Reserve ports only if an earlier failed `add` has not left reserved ports.
      if (ports.length === servers.length) await reservePorts()
      const server = await startOne(servers.length)
      servers.push(server)
      await balancer.setServers(behind)
      return server
    },
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

function openCertificate(removals: (() => Promise<void>)[]): Certificate {
  const folder = makeTempDir('certificate')
  removals.push(async () => removeTempDir(folder))
  return makeCertificate(folder)
}

/** Returns a file that contains both certificates. */
function joinAuthorities({ certificate }: Certificate, other: string | undefined): string {
  if (other === undefined) return certificate
  const path = `${certificate}.all`
  writeFileSync(path, readFileSync(certificate, 'utf8') + readFileSync(other, 'utf8'))
  return path
}

/** Returns whether programs can listen on this IP address. */
function isLocal(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(0, host, () => probe.close(() => resolve(true)))
  })
}

/**
 * Waits until all parts have started or failed, even after one has failed. So no part is still
 * starting when the started parts are removed.
 */
async function allOrNone<T>(starts: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(starts)
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}
