/**
 * The subscriptions of one server: one line to the Redis that serves them, or one to each master of a cluster. A line that
 * ends is opened again with jitter, everything wanted is subscribed again, and once that is confirmed the gap is announced.
 * Slots that move are followed. The subscription itself is probed: what is published by the other road has to come back on
 * every line, or the line is opened anew and the bus says that it is degraded.
 */
import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../support/clock.ts'
import { type Redis, reconnectDelayMs } from '../support/redis.ts'
import { slotOfKey } from '../support/redis-slot.ts'
import { redisHostOf, redisTlsOf } from '../support/redis-tls.ts'
import type { BusObserver, GapCause } from './bus-observer.ts'
import { nameOf, partitionOf, partitionsCount } from './bus-redis-channels.ts'
import { type RedisAccess, type RedisAddress, RedisLine } from './bus-redis-line.ts'
import { RedisRefusal, type Reply, textOf } from './bus-redis-replies.ts'
import type { BusChannel } from './bus.ts'

export const subscriberBounds = {
  /** JOIN1: after so long a subscriber goes on without the confirmation. */
  confirmationMs: 250,
  /** Names in one SSUBSCRIBE. */
  namesPerAskMax: 500,
  probeIntervalMs: 2_000,
  /** After a lost probe the line is opened again, then at every so many lost ones. */
  probesPerReopening: 5,
  /** A probe that is looked at so late says nothing: this process stood still. */
  probeLatenessMaxMs: 1_000,
  /** Gaps announced within so long are one. */
  gapDelayMs: 50,
  refusedRetryMs: 100,
  topologyIntervalMs: 10_000,
  noteIntervalMs: 10_000,
} as const

export interface BusSubscriberOptions {
  readonly url: string
  /** Publishes the probes. */
  readonly redis: Redis
  readonly clock: Clock
  readonly observer: BusObserver
  readonly onMessage: (channel: BusChannel, payload: Buffer) => void
  readonly onGap: () => void
}

interface Subscription {
  readonly channel: BusChannel
  readonly partition: number
  /** `asked` and `confirmed` at `line`, with that ask. */
  state: 'wanted' | 'asked' | 'confirmed'
  line: RedisLine | undefined
  ask: number
  /** What may have been missed when it is confirmed. */
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
  line: RedisLine | undefined
  state: 'connecting' | 'open' | 'away'
  retries: number
  timer: Timer | undefined
  /** Why nothing can be relied on here. */
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
  /** Names whose subscription nobody has been asked for. */
  readonly #wanting = new Set<string>()
  /** Ended here, and not yet at Redis. */
  readonly #leaving = new Map<string, Subscription>()
  readonly #shards = new Map<string, Shard>()
  /** Where each partition stands in a cluster. Undefined: all at the seed. */
  #owners: readonly string[] | undefined
  #isFlushing = false
  /** Why a subscription was refused; until the next is confirmed. */
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

  /** Resolves when every line has been opened once, or the first attempt failed. */
  async whenOpened(): Promise<void> {
    if (this.#isSettled) return
    await new Promise<void>((resolve) => this.#opened.push(resolve))
  }

  /** How many channels are wanted. */
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

  /** Undefined: everything is subscribed, and what is published comes back. */
  degraded(): string | undefined {
    for (const { address, state, problem } of this.#shards.values()) {
      if (state === 'open' && problem === undefined) continue
      return `the bus does not hear at ${keyOf(address)}; ${problem ?? 'connecting'}`
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

  /** JOIN1: at the confirmation, after 250 ms, or at once when it is known that none will come. */
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

  // --- Asking ---

  /** What is asked within one turn leaves together. */
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

  #ask(line: RedisLine, names: readonly string[]): void {
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

  #confirm(line: RedisLine, name: string, ask: number): void {
    const subscription = this.#subscriptions.get(name)
    if (subscription?.state !== 'asked' || subscription.line !== line || subscription.ask !== ask) return
    subscription.state = 'confirmed'
    this.#refusal = undefined
    release(subscription)
    if (subscription.owes === undefined) return
    this.#oweGap(subscription.owes)
    subscription.owes = undefined
  }

  /** The subscription stands nowhere now; something may be missed until it does again. */
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

  // --- Lines ---

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
    line?.close('not needed any more')
    if (line !== undefined) this.#loseLine(line, 'moved')
  }

  #open(shard: Shard): void {
    const line = new RedisLine(shard.address, this.#access, this.#options.clock, {
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
      // Its end was told already.
      () => undefined,
    )
  }

  async #begin(shard: Shard, line: RedisLine): Promise<void> {
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
    if (shard.state === 'open') this.#note(`the line to ${keyOf(shard.address)} ended; ${reason}`)
    shard.line = undefined
    shard.state = 'away'
    shard.problem = reason
    shard.probeTimer?.cancel()
    shard.probe = undefined
    if (line !== undefined) this.#loseLine(line, 'connected')
    for (const subscription of this.#subscriptions.values()) {
      if (this.#shardOf(subscription) !== shard) continue
      // Whoever waited goes on without it.
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

  #loseLine(line: RedisLine, cause: GapCause): void {
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

  #followMoved(shard: Shard, line: RedisLine, name: string): void {
    if (name === shard.probe?.name) shard.probe = undefined
    const subscription = this.#subscriptions.get(name)
    if (subscription?.line === line) this.#lose(name, subscription, 'moved')
    // The one that let go knows who has it.
    this.#refreshTopology(line)
    this.#retrySoon()
  }

  #followRefused(line: RedisLine, names: readonly string[], reason: string): void {
    for (const name of names) {
      const subscription = this.#subscriptions.get(name)
      if (subscription?.line === line) this.#lose(name, subscription, 'moved')
    }
    if (!reason.startsWith('MOVED') || this.#owners === undefined) {
      this.#refusal = reason
      this.#note(`unable to subscribe; ${reason}`)
    }
    this.#refreshTopology(line)
    this.#retrySoon()
  }

  /** The same line again is not worth reading within a while. */
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

  /** Asks who has what; the line given, or any that is open. */
  #refreshTopology(asked?: RedisLine): void {
    if (this.#owners === undefined || this.#isRefreshing || this.#isClosed) return
    const open = [...this.#shards.values()].filter(({ state }) => state === 'open')
    const shard = open.find(({ line }) => line === asked) ?? open[Math.floor(Math.random() * open.length)]
    if (shard?.line === undefined) {
      // Nobody left of those that were known: begin again where the configuration says.
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
    // One Redis, no cluster; or a cluster that has not come together.
    if (masters === undefined) {
      if (reply instanceof RedisRefusal && !reply.text.includes('cluster support disabled'))
        this.#note(`unable to ask for the masters of a cluster; ${reply.text}`)
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

  /** What is published by the other road has to come back here. */
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

  #watchProbe(shard: Shard, line: RedisLine): void {
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
        // A Redis that is away is told by the other side. One that answers and refuses would be told by nobody.
        if (redis.problem() === undefined)
          shard.problem = `it cannot be probed; ${error instanceof Error ? error.message : String(error)}`
      },
    )
  }

  #loseProbe(shard: Shard): void {
    shard.problem = 'what is published does not come back'
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

/** A write before it: a primary that became a replica publishes without a word, to nobody, but refuses to write. */
async function publishProbe(redis: Redis, name: string, nonce: string): Promise<void> {
  await redis.command(name, ['SET', name, nonce, 'PX', String(subscriberBounds.probeIntervalMs)])
  await redis.command(name, ['SPUBLISH', name, nonce])
}

/** Confirmed by nobody, or published and not back. One that could not be published says nothing. */
const isLost = ({ sent }: Probe): boolean => sent === undefined || (sent.isPublished && !sent.isBack)

const keyOf = ({ host, port }: RedisAddress): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

/** Whoever waits for the confirmation waits no more. */
function release(subscription: Subscription): void {
  const waiters = [...subscription.waiters]
  subscription.waiters.clear()
  for (const resolve of waiters) resolve()
}

/** Names by the line where they stand, at most so many together, each list of one partition. */
function groupByLine(subscriptions: ReadonlyMap<string, Subscription>): Map<RedisLine, string[][]> {
  const byLine = new Map<RedisLine, Map<number, string[]>>()
  for (const [name, { line, partition }] of subscriptions) {
    if (line === undefined) continue
    const partitions = byLine.get(line) ?? new Map<number, string[]>()
    byLine.set(line, partitions)
    const names = partitions.get(partition) ?? []
    partitions.set(partition, names)
    names.push(name)
  }
  const grouped = new Map<RedisLine, string[][]>()
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

/** The answer to CLUSTER SLOTS: `[from, to, [host, port, …], replicas …]` per range. Undefined: no cluster, or none yet. */
function readMasters(reply: Reply, asked: RedisAddress): readonly Master[] | undefined {
  if (reply instanceof RedisRefusal || !Array.isArray(reply) || reply.length === 0) return undefined
  const masters: Master[] = []
  for (const range of reply as readonly Reply[]) {
    if (!Array.isArray(range)) return undefined
    const [from, to, master] = range as readonly Reply[]
    if (typeof from !== 'number' || typeof to !== 'number' || !Array.isArray(master)) return undefined
    const [host, port] = master as readonly Reply[]
    if (typeof port !== 'number') return undefined
    // A node that does not know its own address means the one by which it was reached.
    const name = textOf(host)
    masters.push({ from, to, address: { host: name === '' || name === '?' ? asked.host : name, port } })
  }
  return masters
}
