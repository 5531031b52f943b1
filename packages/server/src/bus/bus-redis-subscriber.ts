/**
 * The subscriptions of one server. It holds one connection to the Redis that serves them, or one
 * connection to each master of a cluster.
 *
 * A connection that ends is reopened with jitter, and every wanted channel is subscribed again.
 * Once that is confirmed, the gap is announced. Subscriptions follow slots that move. Each
 * connection is probed: a probe published over the publishing connection must come back on it.
 * Otherwise the connection is reopened and the bus reports itself degraded.
 */
import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../support/clock.ts'
import { type Redis, reconnectDelayMs } from '../support/redis.ts'
import { slotOfKey } from '../support/redis-slot.ts'
import { redisHostOf, redisTlsOf } from '../support/redis-tls.ts'
import type { BusObserver, GapCause } from './bus-observer.ts'
import { nameOf, partitionOf, partitionsCount } from './bus-redis-channels.ts'
import { type RedisAccess, type RedisAddress, RedisBusConnection } from './bus-redis-connection.ts'
import { RedisRefusal, type Reply, textOf } from './bus-redis-replies.ts'
import type { BusChannel } from './bus.ts'

export const subscriberBounds = {
  /** Time after which a subscriber continues without the confirmation (rule JOIN1). */
  confirmationMs: 250,
  /** Maximum number of names in one SSUBSCRIBE. */
  namesPerAskMax: 500,
  probeIntervalMs: 2_000,
  /**
   * The connection is reopened after the first lost probe, and then after every so many further
   * ones.
   */
  probesPerReopening: 5,
  /** A probe checked later than this is ignored, because this process itself was paused. */
  probeLatenessMaxMs: 1_000,
  /** Time within which several gaps are announced as one. */
  gapDelayMs: 50,
  refusedRetryMs: 100,
  topologyIntervalMs: 10_000,
  noteIntervalMs: 10_000,
} as const

export interface BusSubscriberOptions {
  readonly url: string
  /** Redis that publishes the probes. */
  readonly redis: Redis
  readonly clock: Clock
  readonly observer: BusObserver
  readonly onMessage: (channel: BusChannel, payload: Buffer) => void
  readonly onGap: () => void
}

interface Subscription {
  readonly channel: BusChannel
  readonly partition: number
  /**
   * State of the subscription. In `asked` and `confirmed`, `line` and `ask` name the connection and
   * the request.
   */
  state: 'wanted' | 'asked' | 'confirmed'
  line: RedisBusConnection | undefined
  ask: number
  /** Cause of the gap to announce once the subscription is confirmed. */
  owes: GapCause | undefined
  readonly waiters: Set<() => void>
}

interface SentProbe {
  readonly nonce: string
  readonly sentAtMs: number
  isPublished: boolean
  isBack: boolean
}

interface Probe {
  readonly name: string
  sent: SentProbe | undefined
}

interface Shard {
  readonly address: RedisAddress
  line: RedisBusConnection | undefined
  state: 'connecting' | 'open' | 'away'
  retries: number
  timer: Timer | undefined
  /** Reason why messages from this Redis cannot be relied on. */
  problem: string | undefined
  probe: Probe | undefined
  probeTimer: Timer | undefined
  lostProbes: number
}

export class BusSubscriber {
  readonly #options: BusSubscriberOptions
  readonly #seed: RedisAddress
  readonly #access: RedisAccess
  readonly #probeId = randomBytes(8).toString('hex')
  readonly #subscriptions = new Map<string, Subscription>()
  /** Names that no connection has been asked to subscribe yet. */
  readonly #wanting = new Set<string>()
  /** Subscriptions that ended here but not yet at Redis. */
  readonly #leaving = new Map<string, Subscription>()
  readonly #shards = new Map<string, Shard>()
  /** Master of each partition in a cluster. Undefined: the seed serves all partitions. */
  #owners: readonly string[] | undefined
  #isFlushing = false
  /** Reason of the last refused subscription, until the next one is confirmed. */
  #refusal: string | undefined
  #lastNote = ''
  #lastNoteAtMs = Number.NEGATIVE_INFINITY
  #gapTimer: Timer | undefined
  #retryTimer: Timer | undefined
  #topologyTimer: Timer | undefined
  #isRefreshing = false
  #isClosed = false
  #opened: (() => void)[] = []

  constructor(options: BusSubscriberOptions) {
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

  /** Resolves when every connection has been opened once, or its first attempt has failed. */
  async whenOpened(): Promise<void> {
    if (this.#isSettled) return
    await new Promise<void>((resolve) => this.#opened.push(resolve))
  }

  /** Number of subscribed channels. */
  get size(): number {
    return this.#subscriptions.size
  }

  subscribe(channel: BusChannel): Promise<void> {
    const name = nameOf(this.#options.redis, channel)
    let subscription = this.#subscriptions.get(name) ?? this.#leaving.get(name)
    if (this.#isClosed || subscription?.state === 'confirmed') {
      this.#comeBack(name, subscription)
      return Promise.resolve()
    }
    if (subscription === undefined) {
      subscription = {
        channel,
        partition: partitionOf(channel),
        state: 'wanted',
        line: undefined,
        ask: 0,
        owes: undefined,
        waiters: new Set(),
      }
    }
    this.#comeBack(name, subscription)
    if (subscription.state === 'wanted') this.#wanting.add(name)
    this.#scheduleFlush()
    return this.#whenConfirmed(subscription)
  }

  unsubscribe(channel: BusChannel): void {
    const name = nameOf(this.#options.redis, channel)
    const subscription = this.#subscriptions.get(name)
    if (subscription === undefined) return
    this.#subscriptions.delete(name)
    this.#wanting.delete(name)
    release(subscription)
    if (subscription.state === 'wanted') return
    this.#leaving.set(name, subscription)
    this.#scheduleFlush()
  }

  /**
   * Returns undefined when all connections are open and probes come back. Otherwise returns the
   * reason.
   */
  degraded(): string | undefined {
    for (const { address, state, problem } of this.#shards.values()) {
      if (state === 'open' && problem === undefined) continue
      return `the bus receives nothing from ${keyOf(address)}; ${problem ?? 'connecting'}`
    }
    return this.#refusal === undefined ? undefined : `the bus cannot subscribe; ${this.#refusal}`
  }

  close(): void {
    this.#isClosed = true
    this.#gapTimer?.cancel()
    this.#retryTimer?.cancel()
    this.#topologyTimer?.cancel()
    for (const shard of [...this.#shards.values()]) this.#dropShard(shard)
    for (const subscription of this.#subscriptions.values()) release(subscription)
    this.#subscriptions.clear()
    this.#wanting.clear()
    this.#leaving.clear()
    this.#settle()
  }

  #comeBack(name: string, subscription: Subscription | undefined): void {
    if (this.#isClosed || subscription === undefined) return
    this.#leaving.delete(name)
    this.#subscriptions.set(name, subscription)
  }

  /**
   * Resolves at the confirmation, after 250 ms, or at once when no confirmation can come (rule
   * JOIN1).
   */
  async #whenConfirmed(subscription: Subscription): Promise<void> {
    if (this.#shardOf(subscription)?.state === 'away') {
      subscription.owes ??= 'late'
      return
    }
    let timer: Timer | undefined
    await new Promise<void>((resolve) => {
      subscription.waiters.add(resolve)
      timer = this.#options.clock.setTimer(() => {
        subscription.waiters.delete(resolve)
        if (subscription.state !== 'confirmed') subscription.owes ??= 'late'
        resolve()
      }, subscriberBounds.confirmationMs)
    })
    timer?.cancel()
  }

  #shardOf({ partition }: Subscription): Shard | undefined {
    return this.#shards.get(this.#owners?.[partition] ?? keyOf(this.#seed))
  }

  // --- Subscription requests ---

  /** Sends all requests of one turn of the event loop together. */
  #scheduleFlush(): void {
    if (this.#isFlushing || this.#isClosed) return
    this.#isFlushing = true
    queueMicrotask(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#isClosed) return
    for (const [line, names] of groupByLine(this.#leaving)) for (const some of names) line.unsubscribe(some)
    this.#leaving.clear()

    const asks = new Map<Shard, Map<number, string[]>>()
    for (const name of this.#wanting) {
      const subscription = this.#subscriptions.get(name)
      if (subscription === undefined) continue
      const shard = this.#shardOf(subscription)
      if (shard?.state !== 'open') continue
      const partitions = asks.get(shard) ?? new Map<number, string[]>()
      asks.set(shard, partitions)
      const names = partitions.get(subscription.partition) ?? []
      partitions.set(subscription.partition, names)
      names.push(name)
    }
    for (const [{ line }, partitions] of asks)
      for (const names of partitions.values()) if (line !== undefined) this.#ask(line, names)
  }

  #ask(line: RedisBusConnection, names: readonly string[]): void {
    for (let at = 0; at < names.length; at += subscriberBounds.namesPerAskMax) {
      const some = names.slice(at, at + subscriberBounds.namesPerAskMax)
      const ask = line.subscribe(some)
      for (const name of some) {
        const subscription = this.#subscriptions.get(name)
        if (subscription === undefined) continue
        this.#wanting.delete(name)
        subscription.state = 'asked'
        subscription.line = line
        subscription.ask = ask
      }
    }
  }

  #confirm(line: RedisBusConnection, name: string, ask: number): void {
    const subscription = this.#subscriptions.get(name)
    if (subscription?.state !== 'asked' || subscription.line !== line || subscription.ask !== ask) return
    subscription.state = 'confirmed'
    this.#refusal = undefined
    release(subscription)
    if (subscription.owes === undefined) return
    this.#oweGap(subscription.owes)
    subscription.owes = undefined
  }

  /** Marks the subscription as lost. Messages may be missed until it is confirmed again. */
  #lose(name: string, subscription: Subscription, cause: GapCause): void {
    if (subscription.state === 'confirmed') subscription.owes ??= cause
    subscription.state = 'wanted'
    subscription.line = undefined
    this.#wanting.add(name)
  }

  #oweGap(cause: GapCause): void {
    if (this.#gapTimer !== undefined || this.#isClosed) return
    this.#gapTimer = this.#options.clock.setTimer(() => {
      this.#gapTimer = undefined
      this.#options.observer.gap(cause)
      this.#options.onGap()
    }, subscriberBounds.gapDelayMs)
  }

  #retrySoon(): void {
    if (this.#retryTimer !== undefined || this.#isClosed) return
    this.#retryTimer = this.#options.clock.setTimer(() => {
      this.#retryTimer = undefined
      this.#scheduleFlush()
    }, subscriberBounds.refusedRetryMs)
  }

  // --- Connections ---

  #addShard(address: RedisAddress): Shard {
    const shard: Shard = {
      address,
      line: undefined,
      state: 'connecting',
      retries: 0,
      timer: undefined,
      problem: undefined,
      probe: undefined,
      probeTimer: undefined,
      lostProbes: 0,
    }
    this.#shards.set(keyOf(address), shard)
    this.#open(shard)
    return shard
  }

  #dropShard(shard: Shard): void {
    if (this.#shards.get(keyOf(shard.address)) === shard) this.#shards.delete(keyOf(shard.address))
    shard.timer?.cancel()
    shard.probeTimer?.cancel()
    const { line } = shard
    shard.line = undefined
    line?.close('no longer needed')
    if (line !== undefined) this.#loseLine(line, 'moved')
  }

  #open(shard: Shard): void {
    const line = new RedisBusConnection(shard.address, this.#access, this.#options.clock, {
      onMessage: (name, payload) => this.#receive(shard, name, payload),
      onConfirmed: (name, ask) => {
        if (name === shard.probe?.name) this.#sendProbe(shard)
        else this.#confirm(line, name, ask)
      },
      onMoved: (name) => this.#followMoved(shard, line, name),
      onRefused: (names, reason) => this.#followRefused(line, names, reason),
      onClosed: (reason) => {
        if (shard.line === line) this.#reopen(shard, reason)
      },
    })
    shard.line = line
    line.open(this.#access).then(
      () => this.#begin(shard, line),
      // `onClosed` has already reported the end of the connection.
      () => undefined,
    )
  }

  async #begin(shard: Shard, line: RedisBusConnection): Promise<void> {
    const topology = await line.ask(['CLUSTER', 'SLOTS']).catch(() => undefined)
    if (topology === undefined || shard.line !== line) return
    shard.state = 'open'
    if (shard.lostProbes === 0) shard.problem = undefined
    this.#applyTopology(topology, shard.address)
    if (shard.line !== line) return
    this.#startProbing(shard)
    this.#flush()
    this.#settle()
  }

  #reopen(shard: Shard, reason: string): void {
    const { line } = shard
    if (shard.state === 'open') this.#note(`the bus connection to ${keyOf(shard.address)} ended; ${reason}`)
    shard.line = undefined
    shard.state = 'away'
    shard.problem = reason
    shard.probeTimer?.cancel()
    shard.probe = undefined
    if (line !== undefined) this.#loseLine(line, 'connected')
    for (const subscription of this.#subscriptions.values()) {
      if (this.#shardOf(subscription) !== shard) continue
      // Callers that wait for this subscription continue without it.
      subscription.owes ??= 'late'
      release(subscription)
    }
    this.#settle()
    if (this.#isClosed) return
    shard.timer = this.#options.clock.setTimer(
      () => {
        this.#refreshTopology()
        if (this.#shards.get(keyOf(shard.address)) === shard) this.#open(shard)
      },
      reconnectDelayMs(shard.retries++),
    )
  }

  #loseLine(line: RedisBusConnection, cause: GapCause): void {
    for (const [name, subscription] of this.#subscriptions)
      if (subscription.line === line) this.#lose(name, subscription, cause)
    for (const [name, subscription] of this.#leaving) if (subscription.line === line) this.#leaving.delete(name)
  }

  get #isSettled(): boolean {
    return [...this.#shards.values()].every(({ state }) => state !== 'connecting')
  }

  #settle(): void {
    if (!this.#isClosed && !this.#isSettled) return
    for (const resolve of this.#opened.splice(0)) resolve()
  }

  #receive(shard: Shard, name: string, payload: Buffer): void {
    if (name === shard.probe?.name) {
      this.#takeProbe(shard, payload.toString('latin1'))
      return
    }
    const subscription = this.#subscriptions.get(name)
    if (subscription !== undefined) this.#options.onMessage(subscription.channel, payload)
  }

  // --- Clusters ---

  #followMoved(shard: Shard, line: RedisBusConnection, name: string): void {
    if (name === shard.probe?.name) shard.probe = undefined
    const subscription = this.#subscriptions.get(name)
    if (subscription?.line === line) this.#lose(name, subscription, 'moved')
    // Ask the master that dropped the slot: it knows the new owner.
    this.#refreshTopology(line)
    this.#retrySoon()
  }

  #followRefused(line: RedisBusConnection, names: readonly string[], reason: string): void {
    for (const name of names) {
      const subscription = this.#subscriptions.get(name)
      if (subscription?.line === line) this.#lose(name, subscription, 'moved')
    }
    if (!reason.startsWith('MOVED') || this.#owners === undefined) {
      this.#refusal = reason
      this.#note(`unable to subscribe at Redis; ${reason}`)
    }
    this.#refreshTopology(line)
    this.#retrySoon()
  }

  /** Logs a line, but not the same line again within a while. */
  #note(line: string): void {
    const nowMs = this.#options.clock.nowMs()
    if (line === this.#lastNote && nowMs - this.#lastNoteAtMs < subscriberBounds.noteIntervalMs) return
    this.#lastNote = line
    this.#lastNoteAtMs = nowMs
    this.#options.observer.noted(line)
  }

  #watchTopology(): void {
    this.#topologyTimer = this.#options.clock.setTimer(() => {
      this.#refreshTopology()
      this.#watchTopology()
    }, subscriberBounds.topologyIntervalMs)
  }

  /** Asks a master for the owners of all slots: the given connection, or any open one. */
  #refreshTopology(asked?: RedisBusConnection): void {
    if (this.#owners === undefined || this.#isRefreshing || this.#isClosed) return
    const open = [...this.#shards.values()].filter(({ state }) => state === 'open')
    const shard = open.find(({ line }) => line === asked) ?? open[Math.floor(Math.random() * open.length)]
    if (shard?.line === undefined) {
      // No known master is left: start again at the configured address.
      if (!this.#shards.has(keyOf(this.#seed))) this.#addShard(this.#seed)
      return
    }
    this.#isRefreshing = true
    shard.line
      .ask(['CLUSTER', 'SLOTS'])
      .then((reply) => this.#applyTopology(reply, shard.address))
      .catch(() => undefined)
      .finally(() => {
        this.#isRefreshing = false
      })
  }

  #applyTopology(reply: Reply, asked: RedisAddress): void {
    if (this.#isClosed) return
    const masters = readMasters(reply, asked)
    // Either a single Redis without a cluster, or a cluster that has not formed yet.
    if (masters === undefined) {
      if (reply instanceof RedisRefusal && !reply.text.includes('cluster support disabled'))
        this.#note(`unable to read the masters of the cluster; ${reply.text}`)
      return
    }
    const owners = Array.from({ length: partitionsCount }, (_, partition) => {
      const slot = slotOfKey(String(partition))
      const master = masters.find(({ from, to }) => slot >= from && slot <= to)
      return master === undefined ? (this.#owners?.[partition] ?? keyOf(asked)) : keyOf(master.address)
    })
    const isKnown = this.#owners?.every((owner, partition) => owner === owners[partition]) === true
    this.#owners = owners
    const needed = new Set(owners)
    for (const [key, shard] of this.#shards) if (!needed.has(key)) this.#dropShard(shard)
    for (const { address } of masters)
      if (needed.has(keyOf(address)) && !this.#shards.has(keyOf(address))) this.#addShard(address)
    if (isKnown) return
    for (const shard of this.#shards.values())
      if (shard.probe !== undefined && shard.probe.name !== this.#probeNameOf(shard)) this.#startProbing(shard)
    for (const [name, subscription] of this.#subscriptions) {
      const { line } = subscription
      if (line === undefined || line === this.#shardOf(subscription)?.line) continue
      line.unsubscribe([name])
      this.#lose(name, subscription, 'moved')
    }
    this.#scheduleFlush()
  }

  // --- Probes ---

  #probeNameOf(shard: Shard): string {
    const partition = this.#owners?.indexOf(keyOf(shard.address)) ?? 0
    return this.#options.redis.keyOf(`{${Math.max(0, partition)}}:probe:${this.#probeId}`)
  }

  /** Starts probing: a probe published over the other connection must come back on this one. */
  #startProbing(shard: Shard): void {
    const { line } = shard
    if (line === undefined) return
    shard.probeTimer?.cancel()
    if (shard.probe !== undefined) line.unsubscribe([shard.probe.name])
    const name = this.#probeNameOf(shard)
    shard.probe = { name, sent: undefined }
    line.subscribe([name])
    this.#watchProbe(shard, line)
  }

  #watchProbe(shard: Shard, line: RedisBusConnection): void {
    const { clock } = this.#options
    const dueMs = clock.nowMs() + subscriberBounds.probeIntervalMs
    shard.probeTimer = clock.setTimer(() => {
      const { probe } = shard
      if (probe === undefined) {
        this.#startProbing(shard)
        return
      }
      const isTelling = clock.nowMs() - dueMs <= subscriberBounds.probeLatenessMaxMs
      if (isTelling && isLost(probe)) this.#loseProbe(shard)
      if (shard.line !== line) return
      this.#sendProbe(shard)
      this.#watchProbe(shard, line)
    }, subscriberBounds.probeIntervalMs)
  }

  #sendProbe(shard: Shard): void {
    const { probe } = shard
    if (probe === undefined) return
    const { redis, clock } = this.#options
    const sent: SentProbe = {
      nonce: randomBytes(8).toString('hex'),
      sentAtMs: clock.nowMs(),
      isPublished: false,
      isBack: false,
    }
    probe.sent = sent
    publishProbe(redis, probe.name, sent.nonce).then(
      () => {
        sent.isPublished = true
      },
      (error: unknown) => {
        // If Redis is away, the publishing side reports it. If it answers but refuses the probe,
        // the problem is reported only here.
        if (redis.problem() === undefined)
          shard.problem = `unable to probe it; ${error instanceof Error ? error.message : String(error)}`
      },
    )
  }

  #loseProbe(shard: Shard): void {
    shard.problem = 'published probes do not come back'
    const isTimeToReopen = shard.lostProbes % subscriberBounds.probesPerReopening === 0
    shard.lostProbes++
    this.#refreshTopology()
    if (isTimeToReopen) shard.line?.close(shard.problem)
  }

  #takeProbe(shard: Shard, nonce: string): void {
    const sent = shard.probe?.sent
    if (sent === undefined || sent.isBack || sent.nonce !== nonce) return
    sent.isBack = true
    this.#options.observer.probed(this.#options.clock.nowMs() - sent.sentAtMs)
    shard.retries = 0
    shard.problem = undefined
    if (shard.lostProbes === 0) return
    shard.lostProbes = 0
    this.#oweGap('connected')
  }
}

/**
 * Publishes a probe, after a write. A primary that became a replica accepts a publish silently and
 * delivers it to no subscriber, but it refuses a write.
 */
async function publishProbe(redis: Redis, name: string, nonce: string): Promise<void> {
  await redis.command(name, ['SET', name, nonce, 'PX', String(subscriberBounds.probeIntervalMs)])
  await redis.command(name, ['SPUBLISH', name, nonce])
}

/**
 * Returns whether a probe is lost: its subscription was never confirmed, or it was published and
 * did not come back. A probe that could not be published proves nothing.
 */
const isLost = ({ sent }: Probe): boolean => sent === undefined || (sent.isPublished && !sent.isBack)

const keyOf = ({ host, port }: RedisAddress): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

/** Lets all callers that wait for the confirmation continue. */
function release(subscription: Subscription): void {
  const waiters = [...subscription.waiters]
  subscription.waiters.clear()
  for (const resolve of waiters) resolve()
}

/**
 * Groups names by the connection they are subscribed on, in lists of one partition and bounded
 * length.
 */
function groupByLine(subscriptions: ReadonlyMap<string, Subscription>): Map<RedisBusConnection, string[][]> {
  const byLine = new Map<RedisBusConnection, Map<number, string[]>>()
  for (const [name, { line, partition }] of subscriptions) {
    if (line === undefined) continue
    const partitions = byLine.get(line) ?? new Map<number, string[]>()
    byLine.set(line, partitions)
    const names = partitions.get(partition) ?? []
    partitions.set(partition, names)
    names.push(name)
  }
  const grouped = new Map<RedisBusConnection, string[][]>()
  for (const [line, partitions] of byLine) {
    const lists: string[][] = []
    for (const names of partitions.values())
      for (let at = 0; at < names.length; at += subscriberBounds.namesPerAskMax)
        lists.push(names.slice(at, at + subscriberBounds.namesPerAskMax))
    grouped.set(line, lists)
  }
  return grouped
}

interface Master {
  readonly from: number
  readonly to: number
  readonly address: RedisAddress
}

/**
 * Parses the reply to CLUSTER SLOTS: `[from, to, [host, port, …], replicas …]` for each range.
 * Returns undefined when there is no cluster, or none yet.
 */
function readMasters(reply: Reply, asked: RedisAddress): readonly Master[] | undefined {
  if (reply instanceof RedisRefusal || !Array.isArray(reply) || reply.length === 0) return undefined
  const masters: Master[] = []
  for (const range of reply as readonly Reply[]) {
    if (!Array.isArray(range)) return undefined
    const [from, to, master] = range as readonly Reply[]
    if (typeof from !== 'number' || typeof to !== 'number' || !Array.isArray(master)) return undefined
    const [host, port] = master as readonly Reply[]
    if (typeof port !== 'number') return undefined
    // A node that does not know its own address means the address under which it was reached.
    const name = textOf(host)
    masters.push({ from, to, address: { host: name === '' || name === '?' ? asked.host : name, port } })
  }
  return masters
}
