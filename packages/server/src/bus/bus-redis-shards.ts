/**
 * Connections of one server to the Redis that serves its subscriptions: one to a single Redis, or
 * one to each master of a cluster.
 *
 * A connection that ends is reopened after a random delay. When slots of the cluster move to other
 * masters, the connections follow them. Each connection is probed (bus-redis-probe.ts), and
 * reopened when a probe is lost. Every end of a connection is reported, so that its subscriptions
 * are made again.
 */
import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../support/clock.ts'
import type { Redis } from '../redis/redis.ts'
import { reconnectDelayMs } from '../redis/redis-options.ts'
import { redisHostOf, redisTlsOf } from '../redis/redis-tls.ts'
import type { GapCause } from './bus-observer.ts'
import { type RedisAccess, type RedisAddress, RedisBusConnection } from './bus-redis-connection.ts'
import { SubscriptionProbe } from './bus-redis-probe.ts'
import { RedisRefusal, type Reply } from './bus-redis-replies.ts'
import { keyOf, ownersOf, readMasters } from './bus-redis-topology.ts'

/** Time between two reads of the list of masters of a cluster. */
const topologyIntervalMs = 10_000

/** One Redis that serves subscriptions. `open`: the connection to it can be used. */
export interface Shard {
  readonly connection: RedisBusConnection | undefined
  readonly state: 'connecting' | 'open' | 'away'
}

export interface ShardEvents {
  readonly onMessage: (name: string, payload: Buffer) => void
  /** Called when a connection can be used. */
  readonly onReady: () => void
  readonly onConfirmed: (connection: RedisBusConnection, name: string, request: number) => void
  /** Called when Redis ended a subscription because its slot has moved. */
  readonly onMoved: (connection: RedisBusConnection, name: string) => void
  readonly onRefused: (connection: RedisBusConnection, names: readonly string[], reason: string) => void
  /** Called when a connection has ended: its subscriptions are lost. */
  readonly onEnded: (connection: RedisBusConnection, cause: GapCause) => void
  /**
   * Called when one of these Redis servers cannot be reached. Its subscriptions cannot be confirmed
   * for a while.
   */
  readonly onAway: (shard: Shard) => void
  /** Called when partitions of the channels have moved to other masters. */
  readonly onOwnersChanged: () => void
  /** Called when probes are received again after some were lost. */
  readonly onGap: (cause: GapCause) => void
  readonly onProbed: (durationMs: number) => void
  readonly onNote: (line: string) => void
}

export interface BusShardsOptions {
  readonly url: string
  /** Redis to which the probes are published. */
  readonly redis: Redis
  readonly clock: Clock
  readonly events: ShardEvents
}

interface OwnShard extends Shard {
  readonly address: RedisAddress
  connection: RedisBusConnection | undefined
  state: 'connecting' | 'open' | 'away'
  retries: number
  timer: Timer | undefined
  /** Reason why messages from this Redis cannot be relied on. */
  problem: string | undefined
  readonly probe: SubscriptionProbe
}

export class BusShards {
  readonly #options: BusShardsOptions
  readonly #seed: RedisAddress
  readonly #access: RedisAccess
  readonly #probeId = randomBytes(8).toString('hex')
  readonly #shards = new Map<string, OwnShard>()
  /** Master of each partition in a cluster. Undefined while one Redis serves all partitions. */
  #owners: readonly string[] | undefined
  #topologyTimer: Timer | undefined
  #isRefreshing = false
  #isClosed = false
  #opened: (() => void)[] = []

  constructor(options: BusShardsOptions) {
    this.#options = options
    const url = new URL(options.url)
    this.#seed = { host: redisHostOf(options.url), port: url.port === '' ? 6_379 : Number(url.port) }
    this.#access = {
      tlsOf: (host) => redisTlsOf(options.url, host),
      username: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
    }
    this.#addShard(this.#seed)
    this.#watchTopology()
  }

  /** Whether Redis is a cluster. False until a connection has read that it is one. */
  get isCluster(): boolean {
    return this.#owners !== undefined
  }

  /** Resolves when every connection has opened once, or its first attempt has failed. */
  async whenOpened(): Promise<void> {
    if (this.#isSettled) return
    await new Promise<void>((resolve) => this.#opened.push(resolve))
  }

  shardOf(partition: number): Shard | undefined {
    return this.#shards.get(this.#owners?.[partition] ?? keyOf(this.#seed))
  }

  /**
   * Returns undefined when all connections are open and no probe is lost. Otherwise returns the
   * reason why messages may be missed.
   */
  degraded(): string | undefined {
    for (const { address, state, problem } of this.#shards.values()) {
      if (state === 'open' && problem === undefined) continue
      return `the bus receives nothing from ${keyOf(address)}; ${problem ?? 'connecting'}`
    }
    return undefined
  }

  /**
   * Asks a master of the cluster for the owners of all slots: the given connection, or any open
   * one.
   */
  refreshTopology(asked?: RedisBusConnection): void {
    if (this.#owners === undefined || this.#isRefreshing || this.#isClosed) return
    const open = [...this.#shards.values()].filter(({ state }) => state === 'open')
    const shard = open.find(({ connection }) => connection === asked) ?? open[Math.floor(Math.random() * open.length)]
    if (shard?.connection === undefined) {
      // No known master is left: start again at the configured address.
      if (!this.#shards.has(keyOf(this.#seed))) this.#addShard(this.#seed)
      return
    }
    this.#isRefreshing = true
    shard.connection
      .request(['CLUSTER', 'SLOTS'])
      .then((reply) => this.#applyTopology(reply, shard.address))
      .catch(() => undefined)
      .finally(() => {
        this.#isRefreshing = false
      })
  }

  close(): void {
    this.#isClosed = true
    this.#topologyTimer?.cancel()
    for (const shard of [...this.#shards.values()]) this.#dropShard(shard)
    this.#settle()
  }

  #addShard(address: RedisAddress): void {
    const shard: OwnShard = {
      address,
      connection: undefined,
      state: 'connecting',
      retries: 0,
      timer: undefined,
      problem: undefined,
      probe: this.#createProbe(address, () => shard),
    }
    this.#shards.set(keyOf(address), shard)
    this.#open(shard)
  }

  #dropShard(shard: OwnShard): void {
    if (this.#shards.get(keyOf(shard.address)) === shard) this.#shards.delete(keyOf(shard.address))
    shard.timer?.cancel()
    shard.probe.stop()
    const { connection } = shard
    shard.connection = undefined
    connection?.close('no longer needed')
    if (connection !== undefined) this.#options.events.onEnded(connection, 'moved')
  }

  #open(shard: OwnShard): void {
    const { clock, events } = this.#options
    const connection = new RedisBusConnection(shard.address, this.#access, clock, {
      onMessage: (name, payload) => {
        if (name === shard.probe.name) shard.probe.accept(payload.toString('latin1'))
        else events.onMessage(name, payload)
      },
      onConfirmed: (name, request) => {
        if (name === shard.probe.name) shard.probe.send()
        else events.onConfirmed(connection, name, request)
      },
      onMoved: (name) => {
        if (name === shard.probe.name) shard.probe.forgetChannel()
        events.onMoved(connection, name)
      },
      onRefused: (names, reason) => events.onRefused(connection, names, reason),
      onClosed: (reason) => {
        if (shard.connection === connection) this.#reopen(shard, reason)
      },
    })
    shard.connection = connection
    connection.open(this.#access).then(
      () => this.#begin(shard, connection),
      // Nothing to do: `onClosed` has already reported the end of the connection.
      () => undefined,
    )
  }

  async #begin(shard: OwnShard, connection: RedisBusConnection): Promise<void> {
    const topology = await connection.request(['CLUSTER', 'SLOTS']).catch(() => undefined)
    if (topology === undefined || shard.connection !== connection) return
    shard.state = 'open'
    if (!shard.probe.isLost) shard.problem = undefined
    this.#applyTopology(topology, shard.address)
    if (shard.connection !== connection) return
    shard.probe.start(connection)
    this.#options.events.onReady()
    this.#settle()
  }

  #reopen(shard: OwnShard, reason: string): void {
    const { clock, events } = this.#options
    const { connection } = shard
    if (shard.state === 'open') events.onNote(`the bus connection to ${keyOf(shard.address)} ended; ${reason}`)
    shard.connection = undefined
    shard.state = 'away'
    shard.problem = reason
    shard.probe.stop()
    if (connection !== undefined) events.onEnded(connection, 'connected')
    events.onAway(shard)
    this.#settle()
    if (this.#isClosed) return
    shard.timer = clock.setTimer(
      () => {
        this.refreshTopology()
        if (this.#shards.get(keyOf(shard.address)) === shard) this.#open(shard)
      },
      reconnectDelayMs(shard.retries++),
    )
  }

  get #isSettled(): boolean {
    return [...this.#shards.values()].every(({ state }) => state !== 'connecting')
  }

  #settle(): void {
    if (!this.#isClosed && !this.#isSettled) return
    for (const resolve of this.#opened.splice(0)) resolve()
  }

  #watchTopology(): void {
    this.#topologyTimer = this.#options.clock.setTimer(() => {
      this.refreshTopology()
      this.#watchTopology()
    }, topologyIntervalMs)
  }

  #applyTopology(reply: Reply, asked: RedisAddress): void {
    if (this.#isClosed) return
    const { events } = this.#options
    const masters = readMasters(reply, asked)
    // This is a single Redis without a cluster, or a cluster that has not formed yet.
    if (masters === undefined) {
      if (reply instanceof RedisRefusal && !reply.text.includes('cluster support disabled'))
        events.onNote(`unable to read the masters of the cluster; ${reply.text}`)
      return
    }
    const owners = ownersOf(masters, this.#owners, asked)
    const isKnown = this.#owners?.every((owner, partition) => owner === owners[partition]) === true
    this.#owners = owners
    const needed = new Set(owners)
    for (const [key, shard] of this.#shards) if (!needed.has(key)) this.#dropShard(shard)
    for (const { address } of masters)
      if (needed.has(keyOf(address)) && !this.#shards.has(keyOf(address))) this.#addShard(address)
    if (isKnown) return
    for (const { probe } of this.#shards.values()) probe.followSlots()
    events.onOwnersChanged()
  }

  #createProbe(address: RedisAddress, shardOf: () => OwnShard): SubscriptionProbe {
    const { redis, clock, events } = this.#options
    return new SubscriptionProbe({
      redis,
      clock,
      nameOf: () => {
        const partition = this.#owners?.indexOf(keyOf(address)) ?? 0
        return redis.keyOf(`{${Math.max(0, partition)}}:probe:${this.#probeId}`)
      },
      onBack: (durationMs, wasLost) => {
        const shard = shardOf()
        events.onProbed(durationMs)
        shard.retries = 0
        shard.problem = undefined
        if (wasLost) events.onGap('connected')
      },
      onLost: (isTimeToReopen) => {
        const shard = shardOf()
        shard.problem = 'published probes do not come back'
        this.refreshTopology()
        if (isTimeToReopen) shard.connection?.close(shard.problem)
      },
      onRefused: (reason) => {
        shardOf().problem = `unable to probe it; ${reason}`
      },
    })
  }
}
