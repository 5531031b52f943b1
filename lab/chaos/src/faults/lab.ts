/**
 * A real cluster of servers, Redis and Postgres that the chaos test breaks. Nearly every connection
 * between its parts goes through a proxy that can simulate network faults. The lab knows which
 * Redis is the primary, and which processes were ended on purpose, so that it can report unexpected
 * exits.
 */
import { existsSync } from 'node:fs'
import { readsOfChanges, startCluster, StatementCounter, waitForFact } from '@chorus/testkit'
import type { Cluster, ClusterLink, ClusterServer, Redis } from '@chorus/testkit'
import { FaultProxy, type Tap } from '../proxy/fault-proxy.ts'
import { PublishFaults } from '../proxy/publish-faults.ts'
import type { Random } from '../random/random.ts'
import { FakeClock, fakeTimeLibrary } from './fake-clock.ts'

export interface LabOptions {
  readonly servers: number
  readonly fronts: number
  readonly subscribeAtReplica: boolean
  readonly random: Random
  readonly env: Readonly<Record<string, string>>
  readonly nodeArguments?: readonly string[]
  /** Called when a server exits or logs a crash. */
  readonly onServerNews: (news: ServerNews) => void
}

export interface ServerNews {
  readonly server: string
  readonly what: 'unhandled-rejection' | 'uncaught-exception' | 'unexpected-exit' | 'expected-exit'
  readonly text: string
}

export type LinkName = 'publish' | 'subscribe' | 'database'

const readyTimeoutMs = 30_000

/**
 * Environment variables of every server in a run. Limits per user are off because the load exceeds
 * what a person sends. The time for clients to leave a stopping server is short, so that a shutdown
 * does not take half of the run.
 */
const labEnvironment: Readonly<Record<string, string>> = {
  LIMIT_SENDS: '0',
  LIMIT_REQUESTS: '0',
  LIMIT_MEMBERS: '0',
  LIMIT_STRANGERS: '0',
  LIMIT_SIGN_INS: '0',
  LIMIT_SIGN_INS_ADDRESS: '0',
  LIMIT_CONNECTIONS: '0',
  LIMIT_CONNECTS: '0',
  LIMIT_CONNECTS_ADDRESS: '0',
  DRAIN_NOTICE_MS: '1000',
  DRAIN_MS: '1500',
}

export class Lab {
  readonly cluster: Cluster
  readonly fronts: readonly FaultProxy[]
  readonly random: Random
  /** Controllable clock of the last server; undefined if libfaketime is not installed. */
  readonly clock: FakeClock | undefined
  readonly #links: ReadonlyMap<string, FaultProxy>
  readonly #publishFaults: readonly PublishFaults[]
  /** Counters of the statements that each server sends to Postgres, by the server's index. */
  readonly reads: readonly StatementCounter[]
  readonly #subscribeAtReplica: boolean
  readonly #options: LabOptions
  readonly #expectedEnds = new Set<string>()
  readonly #logLines = new Map<string, number>()
  #primary: Redis
  #replica: Redis
  #isClosing = false

  private constructor(
    cluster: Cluster,
    fronts: readonly FaultProxy[],
    links: ReadonlyMap<string, FaultProxy>,
    publishFaults: readonly PublishFaults[],
    reads: readonly StatementCounter[],
    clock: FakeClock | undefined,
    options: LabOptions,
  ) {
    if (cluster.replica === undefined) throw new Error('unable to start the lab; it needs a Redis with a replica')
    this.cluster = cluster
    this.fronts = fronts
    this.random = options.random
    this.clock = clock
    this.#links = links
    this.#publishFaults = publishFaults
    this.reads = reads
    this.#subscribeAtReplica = options.subscribeAtReplica
    this.#options = options
    this.#primary = cluster.redis
    this.#replica = cluster.replica
    for (const server of cluster.servers) {
      this.#watchLog(server)
      this.#watchEnd(server)
    }
  }

  static async start(options: LabOptions): Promise<Lab> {
    const links = new Map<string, FaultProxy>()
    const publishFaults: PublishFaults[] = []
    const reads: StatementCounter[] = []
    const clock = existsSync(fakeTimeLibrary) ? new FakeClock() : undefined
    const jitter = options.random.branch('jitter')
    const openLink = async ({ purpose, server, targetPort }: ClusterLink): Promise<{ port: number }> => {
      // Faults cut client connections in front of the balancer. The link between balancer and
      // servers stays inside one machine, so it needs no proxy.
      if (purpose === 'http') return { port: targetPort }
      const name = linkName(purpose, server)
      const random = (): number => jitter.next()
      let tap: ((target: { readonly port: number }) => Tap) | undefined
      if (purpose === 'database') {
        const counter = new StatementCounter(readsOfChanges)
        reads[server ?? 0] = counter
        tap = () => {
          const take = counter.reader()
          return {
            forward: (data) => {
              take(data)
              return data
            },
          }
        }
      }
      if (purpose === 'publish') {
        const faults = new PublishFaults(() => lab?.primary.port ?? targetPort, random)
        publishFaults[server ?? 0] = faults
        tap = faults.tap
      }
      const proxy = await FaultProxy.start({ targetPort, random, ...(tap !== undefined && { tap }) })
      links.set(name, proxy)
      return proxy
    }
    // The functions below are created before the lab exists. They read this variable only when they
    // are called, to ask the lab for the current primary.
    let lab: Lab | undefined = undefined as Lab | undefined
    const cluster = await startCluster({
      servers: options.servers,
      subscribeAtReplica: options.subscribeAtReplica,
      env: { ...labEnvironment, ...options.env },
      ...(clock !== undefined && {
        envOf: (server) => (server === options.servers - 1 ? clock.environment : {}),
      }),
      ...(options.nodeArguments !== undefined && { nodeArguments: options.nodeArguments }),
      openLink,
      // A restarted Redis is empty, so every restart is the worst case.
      redis: { keepsData: false },
    })
    const fronts: FaultProxy[] = []
    for (let index = 0; index < options.fronts; index += 1) {
      fronts.push(await FaultProxy.start({ targetPort: cluster.balancer.port, random: () => jitter.next() }))
    }
    lab = new Lab(cluster, fronts, links, publishFaults, reads, clock, options)
    return lab
  }

  get servers(): readonly ClusterServer[] {
    return this.cluster.servers
  }

  get primary(): Redis {
    return this.#primary
  }

  get replica(): Redis {
    return this.#replica
  }

  /** The Redis server to which a server of Chorus subscribes when it connects now. */
  get subscribed(): Redis {
    return this.#subscribeAtReplica ? this.#replica : this.#primary
  }

  server(index: number): ClusterServer {
    const server = this.cluster.servers[index]
    if (server === undefined) throw new Error(`unable to find server ${index}`)
    return server
  }

  link(purpose: LinkName, server: number): FaultProxy {
    return this.#link(linkName(purpose, server))
  }

  get replication(): FaultProxy {
    return this.#link(linkName('replication', undefined))
  }

  publishFaults(server: number): PublishFaults {
    const faults = this.#publishFaults[server]
    if (faults === undefined) throw new Error(`unable to find the publish link of server ${server}`)
    return faults
  }

  async kill(index: number): Promise<void> {
    this.#expectedEnds.add(this.server(index).name)
    await this.server(index).kill9()
  }

  /** Sends SIGTERM to the server and waits until it has exited. */
  async terminate(index: number): Promise<void> {
    this.#expectedEnds.add(this.server(index).name)
    const { code, signal } = await this.server(index).stop()
    if (code === 0) return
    this.#options.onServerNews({
      server: this.server(index).name,
      what: 'unexpected-exit',
      text: `ended with ${code ?? signal} after SIGTERM`,
    })
  }

  /**
   * Starts a server that has exited, and waits until it is ready for connections from the balancer.
   */
  async revive(index: number): Promise<void> {
    const server = this.server(index)
    await server.start()
    this.#expectedEnds.delete(server.name)
    this.#watchEnd(server)
    await waitForFact(async () => (await fetch(`${server.url}/readyz`)).status === 200, {
      what: `${server.name} ready`,
      timeoutMs: readyTimeoutMs,
      everyMs: 50,
    })
  }

  /**
   * Kills the primary Redis and promotes the replica with the data that it has. Then lets the
   * proxies connect the servers to the new primary, like an IP address that moves.
   */
  async failOverRedis(): Promise<void> {
    const [old, next] = [this.#primary, this.#replica]
    await old.kill9()
    await next.follow(undefined)
    this.#primary = next
    this.#replica = old
    this.replication.retarget(next.port)
    for (const [index] of this.servers.entries()) {
      this.link('publish', index).retarget(next.port)
      if (!this.#subscribeAtReplica) this.link('subscribe', index).retarget(next.port)
    }
  }

  /** Starts the former primary Redis without data, as a replica of the new primary. */
  async rejoinRedis(): Promise<void> {
    await this.#replica.follow({ port: this.replication.port })
    await this.#replica.start()
    await this.#replica.waitForSync()
    if (!this.#subscribeAtReplica) return
    for (const [index] of this.servers.entries()) {
      const link = this.link('subscribe', index)
      link.retarget(this.#replica.port)
      // The servers are subscribed to the primary now. Reset their connections so that they
      // reconnect to the replica, as an operator would arrange.
      link.reset()
    }
  }

  query<Row extends Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return this.cluster.postgres.query<Row>(sql, values, this.cluster.databaseUrl)
  }

  /** Number of lines in the log of each server. */
  get logLines(): ReadonlyMap<string, number> {
    return this.#logLines
  }

  async close(): Promise<void> {
    this.#isClosing = true
    for (const faults of this.#publishFaults) faults.close()
    for (const proxy of [...this.fronts, ...this.#links.values()]) await proxy.close()
    await this.cluster.remove()
    this.clock?.remove()
  }

  #link(name: string): FaultProxy {
    const link = this.#links.get(name)
    if (link === undefined) throw new Error(`unable to find the link ${name}`)
    return link
  }

  #watchEnd(server: ClusterServer): void {
    void server.exited.then(({ code, signal }) => {
      if (this.#isClosing) return
      const isExpected = this.#expectedEnds.has(server.name)
      this.#options.onServerNews({
        server: server.name,
        what: isExpected ? 'expected-exit' : 'unexpected-exit',
        text: `ended with ${code ?? signal ?? 'nothing'}`,
      })
    })
  }

  #watchLog({ name, logs }: ClusterServer): void {
    logs.listen((line) => {
      this.#logLines.set(name, (this.#logLines.get(name) ?? 0) + 1)
      const what = findCrash(line)
      if (what !== undefined && !this.#isClosing)
        this.#options.onServerNews({ server: name, what, text: line.slice(0, 2_000) })
    })
  }
}

function linkName(purpose: string, server: number | undefined): string {
  return server === undefined ? purpose : `${purpose} ${server}`
}

/**
 * Returns the kind of crash that this log line reports; undefined for a line of a server that has
 * not crashed.
 */
function findCrash(line: string): 'unhandled-rejection' | 'uncaught-exception' | undefined {
  if (/unhandled ?rejection|UnhandledPromiseRejection/i.test(line)) return 'unhandled-rejection'
  if (/"level":60|the server failed|FATAL ERROR|uncaughtException|Uncaught /.test(line)) return 'uncaught-exception'
  return undefined
}
