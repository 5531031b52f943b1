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
  /** Returns the main file of a server, asked at every start. Default: the built server. */
  readonly mainFileOf?: (server: number) => string
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
    // The balancer of a test connects to the servers from this address. In production, this is the
    // network of the balancer.
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

/** State that is shared while the parts of one cluster start. */
interface Start {
  readonly options: ClusterOptions
  /** Functions that remove the started parts, in the order in which the parts were started. */
  readonly removals: (() => Promise<void>)[]
  /** Opens a link, with a proxy where the options ask for one. Resolves to the port to connect to. */
  readonly link: (purpose: LinkPurpose, server: number | undefined, targetPort: number) => Promise<number>
  /** Calls `onPart` for a part that is ready. */
  readonly tell: (name: string, url: string, part: Pick<ClusterPart, 'pid' | 'exited'>) => void
  readonly certificate: Certificate | undefined
}

type RedisParts = Pick<Cluster, 'redis' | 'replica' | 'redisCluster'>
type Stores = Pick<Cluster, 'postgres' | 'databaseUrl'> & RedisParts

async function startParts(
  options: ClusterOptions,
  removals: (() => Promise<void>)[],
  remove: () => Promise<void>,
): Promise<Cluster> {
  if (options.servers < 1) throw new Error('unable to start a cluster; it needs a server')
  const proxies = new Map<string, TcpProxy>()
  const start: Start = {
    options,
    removals,
    link: (purpose, server, targetPort) => openLink({ purpose, server, targetPort }, options, proxies, removals),
    tell: (name, url, part) => options.onPart?.({ name, url, pid: part.pid, exited: part.exited }),
    certificate: options.tls === true ? openCertificate(removals) : undefined,
  }
  const hasHosts = options.hosts === true && (await isLocal('127.0.0.2'))

  const postgres = await startPostgres(options.postgres)
  removals.push(() => postgres.remove())
  const databaseUrl = await postgres.createDatabase()
  start.tell('postgres', databaseUrl, postgres)
  const redisParts = options.redisCluster === true ? await startMasters(start) : await startPrimaryAndReplica(start)
  const stores = { postgres, databaseUrl, ...redisParts }
  const { redis, replica } = stores

  const { servers, ...behindBalancer } = await startServers(start, stores, hasHosts)
  start.tell('balancer', behindBalancer.balancer.url, behindBalancer.balancer)

  const proxyOf = (purpose: LinkPurpose, server?: number): TcpProxy => {
    const proxy = proxies.get(`${purpose} ${server}`)
    if (proxy === undefined) throw new Error(`unable to find the proxy of ${purpose} ${server}; it was not asked for`)
    return proxy
  }
  return {
    url: behindBalancer.balancer.url,
    get urls() {
      return servers.map(({ url }) => url)
    },
    servers,
    ...behindBalancer,
    ...stores,
    ...controlServers(servers),
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

async function openLink(
  link: ClusterLink,
  options: ClusterOptions,
  proxies: Map<string, TcpProxy>,
  removals: Start['removals'],
): Promise<number> {
  if (options.openLink !== undefined) return (await options.openLink(link)).port
  if (options.proxies?.includes(link.purpose) !== true) return link.targetPort
  const proxy = await startTcpProxy(link.targetPort)
  proxies.set(`${link.purpose} ${link.server}`, proxy)
  removals.push(() => proxy.remove())
  return proxy.port
}

async function startMasters({ options, removals, tell, certificate }: Start): Promise<RedisParts> {
  const redisCluster = await startRedisCluster({ ...options.redis, ...(certificate !== undefined && { tls: 'names' }) })
  removals.push(redisCluster.remove)
  const [redis] = redisCluster.masters
  if (redis === undefined) throw new Error('unable to start a cluster; it has no Redis')
  for (const [index, master] of redisCluster.masters.entries()) tell(`redis ${index + 1}`, master.url, master)
  return { redis, replica: undefined, redisCluster }
}

async function startPrimaryAndReplica({ options, removals, link, tell, certificate }: Start): Promise<RedisParts> {
  const redisOptions = { ...options.redis, ...(certificate !== undefined && { tls: certificate }) }
  const redis = await startRedis(redisOptions)
  removals.push(redis.remove)
  tell('redis', redis.url, redis)
  const replica = await startRedis({
    ...redisOptions,
    replicaOf: { port: await link('replication', undefined, redis.port) },
  })
  removals.push(replica.remove)
  await replica.waitForSync()
  tell('replica', replica.url, replica)
  return { redis, replica, redisCluster: undefined }
}

interface ServerPlace {
  readonly host: string
  readonly port: number
  readonly metricsPort: number
}

/** Starts the balancer and the servers. */
async function startServers(
  start: Start,
  stores: Stores,
  hasHosts: boolean,
): Promise<Pick<Cluster, 'balancer' | 'caFile' | 'add'> & { readonly servers: ClusterServer[] }> {
  const { options, removals, certificate } = start
  const places: ServerPlace[] = []
  const behind: string[] = []
  const reservePlace = async (): Promise<void> => {
    const index = places.length
    const host = hasHosts ? `127.0.0.${index + 1}` : '127.0.0.1'
    const place = { host, port: await findFreePort(), metricsPort: await findFreePort() }
    places.push(place)
    const linkPort = await start.link('http', index, place.port)
    behind.push(`${linkPort === place.port ? host : '127.0.0.1'}:${linkPort}`)
  }
  // Start the balancer before the servers, because its URL is their PUBLIC_URL.
  while (places.length < options.servers) await reservePlace()
  const balancer = await startBalancer(options.balancer ?? 'haproxy', {
    servers: behind,
    ...(certificate !== undefined && { tls: certificate }),
    ...(options.port !== undefined && { port: options.port }),
  })
  removals.push(balancer.remove)

  // Node reads additional certificate authorities from one file, so join the cluster's certificate
  // with that of the Redis Cluster.
  const caFile = certificate && joinAuthorities(certificate, stores.redisCluster?.caFile)
  const env = { ...baseEnv(balancer.url), ...(caFile !== undefined && { NODE_EXTRA_CA_CERTS: caFile }) }
  const startOne = async (index: number): Promise<ClusterServer> => {
    const place = places[index]
    if (place === undefined) throw new Error(`unable to start server ${index + 1}; it has no port`)
    return startServerAt(place, index, env, start, stores)
  }
  // Start the first server alone, because it creates the database tables.
  const servers = [await startOne(0)]
  servers.push(...(await allOrNone(places.slice(1).map((_, index) => startOne(index + 1)))))
  return {
    servers,
    balancer,
    caFile,
    async add() {
      // If an earlier `add` failed after it had reserved ports, use those ports.
      if (places.length === servers.length) await reservePlace()
      const server = await startOne(servers.length)
      servers.push(server)
      await balancer.setServers(behind)
      return server
    },
  }
}

async function startServerAt(
  { host, port, metricsPort }: ServerPlace,
  index: number,
  env: Readonly<Record<string, string>>,
  start: Start,
  stores: Stores,
): Promise<ClusterServer> {
  const { options, removals, tell } = start
  const { mainFileOf } = options
  const name = `server-${index + 1}`
  const server = await startServer({
    databaseUrl: withPort(stores.databaseUrl, await start.link('database', index, stores.postgres.port)),
    env: {
      ...env,
      ...(await redisEnv(index, start, stores)),
      HOST: host,
      PORT: String(port),
      METRICS_PORT: String(metricsPort),
      SERVER_NAME: name,
      ...options.env,
      ...options.envOf?.(index),
    },
    ...(mainFileOf !== undefined && { mainFile: () => mainFileOf(index) }),
    ...(options.nodeArguments !== undefined && { nodeArguments: options.nodeArguments }),
  })
  removals.push(() => server.remove())
  tell(`server ${index + 1}`, server.url, server)
  const metricsUrl = `http://${host}:${metricsPort}/metrics`
  tell(`metrics ${index + 1}`, metricsUrl, server)
  return Object.assign(server, { name, metricsUrl })
}

/** Returns the environment variables with which a server finds Redis. */
async function redisEnv(
  server: number,
  { options, link }: Start,
  { redis, replica, redisCluster }: RedisParts,
): Promise<Record<string, string>> {
  // Clients of a Redis Cluster discover its masters by themselves and bypass any proxy.
  if (redisCluster !== undefined) return { REDIS_URL: redisCluster.url }
  const subscribed = options.subscribeAtReplica === true ? (replica ?? redis) : redis
  const publishPort = await link('publish', server, redis.port)
  const subscribePort = await link('subscribe', server, subscribed.port)
  return {
    REDIS_URL: withPort(redis.url, publishPort),
    ...(subscribePort !== redis.port && { REDIS_SUBSCRIBE_URL: withPort(subscribed.url, subscribePort) }),
  }
}

function controlServers(
  servers: readonly ClusterServer[],
): Pick<Cluster, 'kill9' | 'stop' | 'start' | 'pause' | 'resume'> {
  const serverAt = (index: number): ClusterServer => {
    const server = servers[index]
    if (server === undefined) throw new Error(`unable to find server ${index}; there are ${servers.length}, from 0`)
    return server
  }
  return {
    kill9: (server) => serverAt(server).kill9(),
    stop: (server) => serverAt(server).stop(),
    start: (server) => serverAt(server).start(),
    pause: (server) => serverAt(server).freeze(),
    resume: (server) => serverAt(server).thaw(),
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
