/**
 * Connection to Redis, one server or a cluster, for everything but pub/sub. Redis carries hints,
 * caches, leases and jobs; it may be unavailable at any moment, and callers must handle that. So no
 * command is queued while Redis is away, every command resolves or rejects within a time limit, and
 * a Redis that stops responding gets no commands until it answers a probe.
 *
 * Permanent problems (credentials, TLS, a version before 7, a public address without a password)
 * stop the start with one line. Problems that may pass (no server listens, no such host yet) are
 * logged in one line, and the server continues without Redis.
 */
import { createHash } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'
import {
  createClient,
  createCluster,
  type RedisClientOptions,
  type RedisClientType,
  type RedisClusterType,
} from 'redis'
import type { Clock, Timer } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import { findRedisMismatch } from './redis-mismatch.ts'
import { slotOfKey } from './redis-slot.ts'
import { parseRedisPlace, redisTlsOf } from './redis-tls.ts'
import { redactUrl } from '../support/redact-url.ts'
import { StartError } from '../support/start-error.ts'

export const redisBounds = {
  connectTimeoutMs: 2_000,
  /** Timeout after which a command without response rejects. The command may still run. */
  commandTimeoutMs: 1_000,
  /** Silence after which a connection counts as dead; pings are sent every `pingIntervalMs`. */
  silenceMaxMs: 4_000,
  pingIntervalMs: 1_000,
  /** Maximum number of unanswered commands. Further commands reject at once. */
  underWayMax: 5_000,
  /** Maximum number of bytes buffered before the kernel accepts them. */
  writtenAheadMaxBytes: 4_194_304,
  reconnectMinMs: 50,
  reconnectMaxMs: 1_000,
  probeIntervalMs: 500,
  /**
   * Extra time for a command when this process itself was stalled and has not yet read the
   * response.
   */
  stillnessGraceMs: 200,
  /** Time between two discoveries of a cluster that had an unreachable master at the start. */
  rediscoverIntervalMs: 5_000,
} as const

const oldestMajor = 7

/**
 * A Lua script, which Redis runs atomically. Every key must be in `keys`, and all keys must share
 * one hash tag.
 */
export interface RedisScript {
  readonly lua: string
}

export type RedisArgument = string | Buffer

export interface Redis {
  /**
   * Whether Redis is a cluster of several masters. False until Redis was reached for the first
   * time.
   */
  readonly isCluster: boolean
  /**
   * Returns the name of a key or channel of this installation. All names share its prefix, because
   * other installations may use the same Redis.
   */
  keyOf(name: string): string
  /** Returns why Redis is unavailable. Undefined: it is available. */
  problem(): string | undefined
  /** Runs one command; `key` selects the master in a cluster. Rejects with {@link RedisError}. */
  command(key: string, args: readonly RedisArgument[]): Promise<unknown>
  /** Runs a script by its hash. Rejects with {@link RedisError}. */
  script(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>
  /**
   * Calls the listener each time Redis becomes available, including the first time. It may then be
   * a different or an empty Redis.
   */
  onReconnect(listener: () => void): void
  close(): Promise<void>
}

/** A failed command: Redis did not run it, or did not confirm it. */
export class RedisError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'RedisError'
  }
}

export interface OpenRedisOptions {
  readonly url: string
  /** Name of the configuration variable with the URL, for messages. */
  readonly variable: string
  /**
   * Prefix of every name in Redis, so that installations can share one Redis (see
   * database/installation.ts).
   */
  readonly namespace?: string
  /** Whether Redis may have a public address without a password. */
  readonly allowInsecure: boolean
  readonly logger: Logger
  readonly clock: Clock
}

/**
 * Connects. Throws {@link StartError} for permanent problems; for temporary ones it returns without
 * a connection and keeps trying.
 */
export async function openRedis(options: OpenRedisOptions): Promise<Redis> {
  await refusePublicWithoutPassword(options)
  const link = new RedisLink(options)
  await link.start()
  return link
}

/**
 * Returns the options to connect to this URL: no queue while away, detection of dead connections,
 * reconnects with jitter.
 */
export function redisConnection(
  url: string,
  reconnectStrategy: false | ((retries: number) => number) = reconnectDelayMs,
): RedisClientOptions {
  const tls = redisTlsOf(url)
  return {
    url,
    disableOfflineQueue: true,
    commandsQueueMaxLength: redisBounds.underWayMax * 2,
    pingInterval: redisBounds.pingIntervalMs,
    socket: {
      connectTimeout: redisBounds.connectTimeoutMs,
      socketTimeout: redisBounds.silenceMaxMs,
      reconnectStrategy,
      // Option of Node's own socket. The client writes until this many bytes wait and continues at
      // the next drain, one event loop turn later. With Node's 16 kB a busy server sent a few
      // publishes per turn, and the rest timed out.
      ...{ writableHighWaterMark: redisBounds.writtenAheadMaxBytes },
      // The client applies the scheme of the URL only to the first node of a cluster.
      ...(tls !== undefined && { tls: true as const, ...tls }),
    },
  }
}

/** Returns a random delay below a limit that doubles with each retry. */
export function reconnectDelayMs(retries: number): number {
  const { reconnectMinMs, reconnectMaxMs } = redisBounds
  return (
    reconnectMinMs +
    Math.random() * (Math.min(reconnectMaxMs, reconnectMinMs * 2 ** Math.min(retries, 10)) - reconnectMinMs)
  )
}

/** Shard of a slot in node-redis; its own type omits that the master may be missing. */
interface Shard {
  readonly master?: { readonly connectPromise?: unknown }
}

/**
 * Disables the timeout of node-redis: `RedisLink` already limits every command, and a second timer
 * and abort signal per command would be wasteful.
 */
const boundedHere = { timeout: 0 } as const

class RedisLink implements Redis {
  readonly #options: OpenRedisOptions
  readonly #listeners: (() => void)[] = []
  readonly #hashes = new Map<RedisScript, string>()
  #client: RedisClientType | undefined
  #cluster: RedisClusterType | undefined
  #problem: string | undefined = 'Redis has not been reached yet'
  #underWay = 0
  #isClosed = false
  #probe: Timer | undefined
  #rediscovery: Timer | undefined
  #lastMovedAtMs = Number.NEGATIVE_INFINITY
  #lastNote = ''

  constructor(options: OpenRedisOptions) {
    this.#options = options
  }

  get isCluster(): boolean {
    return this.#cluster !== undefined
  }

  keyOf(name: string): string {
    return `${this.#options.namespace ?? 'chorus'}:${name}`
  }

  problem(): string | undefined {
    return this.#problem
  }

  onReconnect(listener: () => void): void {
    this.#listeners.push(listener)
  }

  async start(): Promise<void> {
    try {
      await this.#open()
    } catch (error) {
      if (error instanceof StartError) throw error
      this.#away(error)
      this.#options.logger.warn(
        { err: error },
        `${this.#where}; unable to reach it, continuing without it and trying again (${reasonOf(error)})`,
      )
    }
  }

  async command(key: string, args: readonly RedisArgument[]): Promise<unknown> {
    return this.#bounded(() => this.#send(key, args))
  }

  async script(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args.map(String)]
    const key = keys[0] ?? ''
    return this.#bounded(async () => {
      try {
        return await this.#send(key, ['EVALSHA', this.#hashOf(script), ...rest])
      } catch (error) {
        if (!String((error as Error).message).startsWith('NOSCRIPT')) throw error
        return this.#send(key, ['EVAL', script.lua, ...rest])
      }
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#problem = 'closed'
    this.#probe?.cancel()
    this.#rediscovery?.cancel()
    this.#client?.destroy()
    this.#cluster?.destroy()
  }

  get #where(): string {
    return `${this.#options.variable} is ${redactUrl(this.#options.url)}`
  }

  /**
   * Opens the first connection, which checks the version and finds out whether Redis is a cluster.
   */
  async #open(): Promise<void> {
    const first = createClient(redisConnection(this.#options.url, false))
    first.on('error', () => undefined)
    try {
      await first.connect()
      const info = await first.sendCommand<string>(['INFO'])
      const version = /^redis_version:(\S+)/m.exec(info)?.[1] ?? ''
      if (!(Number.parseInt(version, 10) >= oldestMajor))
        throw new StartError(`${this.#where}; expected Redis 7 or later, found ${version === '' ? 'none' : version}`)
      await this.#warnWhenOpenToAll(first)
      if (/^cluster_enabled:1/m.test(info)) await this.#openCluster()
      else await this.#openSingle()
    } catch (error) {
      if (error instanceof StartError) throw error
      const lasting = lastingReasonOf(error) ?? (await findRedisMismatch(this.#options.url))
      if (lasting !== undefined) throw new StartError(`${this.#where}; unable to use it: ${lasting}`, { cause: error })
      throw error
    } finally {
      if (first.isOpen) first.destroy()
    }
    this.#back()
  }

  async #openSingle(): Promise<void> {
    const client = createClient(redisConnection(this.#options.url)) as RedisClientType
    client.on('error', (error: unknown) => this.#away(error))
    client.on('ready', () => this.#startProbing())
    try {
      await this.#within(redisBounds.connectTimeoutMs, client.connect())
    } catch (error) {
      client.destroy()
      throw error
    }
    this.#client = client
    // After a timeout the client keeps trying, and emits `ready` once it is connected.
    if (!client.isReady) throw new RedisError('it does not answer')
  }

  async #openCluster(): Promise<void> {
    const { url: _, ...defaults } = redisConnection(this.#options.url)
    const { username, password, pathname } = new URL(this.#options.url)
    if (Number(pathname.slice(1)) !== 0) throw new StartError(`${this.#where}; a Redis Cluster has only database 0`)
    const cluster = createCluster({
      rootNodes: [{ url: this.#options.url }],
      // Extra fields are passed on to the socket: each master has its own name for TLS.
      nodeAddressMap: (place) => {
        const { host, port } = parseRedisPlace(place)
        return { host, port, ...redisTlsOf(this.#options.url, host) }
      },
      // Without this, the client waits without limit for every master before any can be used.
      minimizeConnections: true,
      defaults: {
        ...(defaults as object),
        ...(password === '' ? {} : { password: decodeURIComponent(password) }),
        ...(username === '' ? {} : { username: decodeURIComponent(username) }),
      },
    }) as unknown as RedisClusterType
    // One unavailable master does not affect the other masters: commands to it reject by
    // themselves.
    cluster.on('error', (error: unknown) =>
      this.#options.logger.debug({ err: error }, 'a node of the Redis Cluster is unavailable'),
    )
    const problems = new Map<string, string>()
    cluster.on('node-error', (error: unknown, { host, port }: { host: string; port: number }) => {
      problems.set(`${host}:${port}`, reasonOf(error))
    })
    let missing: readonly string[]
    try {
      if ((await this.#within(redisBounds.connectTimeoutMs, cluster.connect())) === 'late')
        throw new RedisError('the cluster did not return its slots in time')
      const reached = new Set<string>()
      const places = cluster.masters.map(({ address }) => address)
      const all = Promise.allSettled(
        cluster.masters.map(async (master) => {
          await cluster.nodeClient(master)
          reached.add(master.address)
        }),
      )
      await this.#within(redisBounds.connectTimeoutMs, all)
      missing = places.filter((place) => !reached.has(place))
      const reasons = missing.map((place) => `${place}: ${problems.get(place) ?? 'no answer'}`).join('; ')
      if (reached.size === 0) throw new RedisError(`no master of the cluster can be reached (${reasons})`)
      if (missing.length > 0)
        this.#note(`${this.#where}; masters of the cluster cannot be reached, continuing without them (${reasons})`)
    } catch (error) {
      if (cluster.isOpen) cluster.destroy()
      throw error
    }
    this.#cluster?.destroy()
    this.#cluster = cluster
    this.#rediscovery?.cancel()
    if (missing.length > 0 && !this.#isClosed) this.#rediscoverLater()
  }

  /**
   * Schedules a new discovery. No command goes to a master that was never reached, so no response
   * would report that another master has replaced it.
   */
  #rediscoverLater(): void {
    this.#rediscovery = this.#options.clock.setTimer(() => {
      this.#openCluster().catch((error: unknown) => {
        this.#options.logger.debug({ err: error }, 'unable to discover the cluster again')
        if (!this.#isClosed) this.#rediscoverLater()
      })
    }, redisBounds.rediscoverIntervalMs)
  }

  /** Logs a line, unless it repeats the last one. */
  #note(line: string): void {
    if (line === this.#lastNote) return
    this.#lastNote = line
    this.#options.logger.warn(line)
  }

  async #within(boundMs: number, work: Promise<unknown>): Promise<'done' | 'late'> {
    let timer: Timer | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = this.#options.clock.setTimer(() => resolve('late'), boundMs)
    })
    // A late error is ignored here, because events report it too.
    work.catch(() => undefined)
    try {
      return await Promise.race([work.then(() => 'done' as const), late])
    } finally {
      timer?.cancel()
    }
  }

  #send(key: string, args: readonly RedisArgument[]): Promise<unknown> {
    if (this.#cluster !== undefined) {
      // Reject at once while this master connects for the first time: its commands would wait
      // without limit and run late.
      const master = (this.#cluster.slots[slotOfKey(key)] as Shard | undefined)?.master
      if (master === undefined || master.connectPromise !== undefined)
        return Promise.reject(new RedisError('this part of the cluster is unavailable'))
      return this.#cluster.sendCommand(key, false, [...args], boundedHere)
    }
    if (this.#client !== undefined) return this.#client.sendCommand(args, boundedHere)
    return Promise.reject(new RedisError('Redis has not been reached yet'))
  }

  async #bounded<T>(run: () => Promise<T>): Promise<T> {
    if (this.#problem !== undefined) throw new RedisError(`unable to use Redis; ${this.#problem}`)
    if (this.#underWay >= redisBounds.underWayMax)
      throw new RedisError('unable to use Redis; too many commands are waiting')
    this.#underWay++
    const { clock } = this.#options
    const { commandTimeoutMs, stillnessGraceMs } = redisBounds
    const dueMs = clock.nowMs() + commandTimeoutMs
    let timer: Timer | undefined
    const late = new Promise<never>((_resolve, reject) => {
      const giveUp = (): void => {
        const error = new RedisError('unable to use Redis; it does not answer')
        // In a cluster, one silent master says nothing about the other masters.
        if (!this.isCluster) this.#away(error)
        reject(error)
      }
      timer = clock.setTimer(() => {
        // Timers run before sockets are read: after a stall of this process the response may
        // already be there.
        if (clock.nowMs() - dueMs < stillnessGraceMs) giveUp()
        else timer = clock.setTimer(giveUp, stillnessGraceMs)
      }, commandTimeoutMs)
    })
    try {
      return await Promise.race([run(), late])
    } catch (error) {
      this.#noteFailure(error)
      throw error instanceof RedisError
        ? error
        : new RedisError(`unable to use Redis; ${reasonOf(error)}`, { cause: error })
    } finally {
      timer?.cancel()
      this.#underWay--
    }
  }

  /**
   * Reconnects after a failover: the old primary is now a replica, and the address may lead to the
   * new primary by now.
   */
  #noteFailure(error: unknown): void {
    if (this.#client === undefined || !/^(READONLY|MASTERDOWN)/.test(reasonOf(error))) return
    const nowMs = this.#options.clock.nowMs()
    if (nowMs - this.#lastMovedAtMs < redisBounds.reconnectMaxMs) return
    this.#lastMovedAtMs = nowMs
    this.#away(error)
    const moved = this.#client
    void (async () => {
      moved.destroy()
      if (!this.#isClosed) await moved.connect()
    })().catch((problem: unknown) => this.#away(problem))
  }

  #hashOf(script: RedisScript): string {
    const known = this.#hashes.get(script)
    if (known !== undefined) return known
    const hash = createHash('sha1').update(script.lua).digest('hex')
    this.#hashes.set(script, hash)
    return hash
  }

  #away(cause: unknown): void {
    if (this.#isClosed) return
    if (this.#problem === undefined)
      this.#options.logger.warn({ err: cause }, 'Redis is unavailable; continuing without it')
    this.#problem = `Redis is unavailable (${reasonOf(cause)})`
    this.#startProbing()
  }

  #back(): void {
    if (this.#isClosed) return
    this.#probe?.cancel()
    this.#probe = undefined
    if (this.#problem === undefined) return
    this.#problem = undefined
    this.#options.logger.info('Redis is available again')
    for (const listener of this.#listeners) listener()
  }

  /** Probes regularly until Redis responds; an open connection alone does not count. */
  #startProbing(): void {
    if (this.#isClosed || this.#probe !== undefined) return
    this.#probe = this.#options.clock.setTimer(() => {
      void this.#tryAgain()
        .catch((error: unknown) => {
          if (error instanceof StartError) this.#options.logger.error(error.message)
          this.#noteFailure(error)
          this.#problem = `Redis is unavailable (${reasonOf(error)})`
        })
        .finally(() => {
          this.#probe = undefined
          if (this.#problem !== undefined) this.#startProbing()
        })
    }, redisBounds.probeIntervalMs)
  }

  async #tryAgain(): Promise<void> {
    if (this.#client === undefined && this.#cluster === undefined) return this.#open()
    const key = this.keyOf('probe')
    const asked = this.#send(key, ['SET', key, '1', 'PX', '1000'])
    if ((await this.#within(redisBounds.commandTimeoutMs, asked)) === 'late') throw new RedisError('no answer')
    this.#back()
  }

  async #warnWhenOpenToAll(client: RedisClientType): Promise<void> {
    if (new URL(this.#options.url).password !== '') return
    try {
      const answer = (await client.sendCommand(['CONFIG', 'GET', 'bind', 'protected-mode'])) as unknown
      const text = JSON.stringify(answer instanceof Map ? [...answer] : answer)
      if (/"protected-mode"[^a-z]*"no"/.test(text) && /[*]|0[.]0[.]0[.]0|"bind"[^a-z0-9:*.]*""/.test(text))
        this.#options.logger.warn(
          `${this.#where}; that Redis listens on every address without a password: anyone who can reach it can read and change the hints of the chat; set requirepass`,
        )
    } catch {
      // An account without permission to read the configuration is not an error (N97).
    }
  }
}

const privateNetworks = new BlockList()
for (const [network, prefix] of [
  ['127.0.0.0', 8],
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
] as const)
  privateNetworks.addSubnet(network, prefix, 'ipv4')
privateNetworks.addAddress('::1', 'ipv6')
privateNetworks.addSubnet('fc00::', 7, 'ipv6')
privateNetworks.addSubnet('fe80::', 10, 'ipv6')

/** Refuses a public Redis without a password: anyone who can reach it controls its data (N96). */
async function refusePublicWithoutPassword({ url, variable, allowInsecure, logger }: OpenRedisOptions): Promise<void> {
  const { hostname, password } = new URL(url)
  if (password !== '') return
  const host = hostname.replace(/^\[|\]$/g, '')
  const addresses = isIP(host)
    ? [host]
    : await lookup(host, { all: true }).then(
        (found) => found.map(({ address }) => address),
        // The host does not exist (yet); the connection attempt reports that.
        () => [],
      )
  const open = addresses.find((address) => !privateNetworks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'))
  if (open === undefined) return
  const line = `${variable} is ${redactUrl(url)}; ${open} is a public address, and there is no password`
  if (!allowInsecure)
    throw new StartError(`${line}: set one (redis://:password@host), or REDIS_INSECURE=allow if the network is closed`)
  logger.warn(`${line}; allowed by REDIS_INSECURE`)
}

/** Returns the reason of a permanent error. Undefined: the error may pass. */
function lastingReasonOf(error: unknown): string | undefined {
  const reason = reasonOf(error)
  if (/DB index is out of range/.test(reason)) return 'it has no database with that number'
  if (/^(NOAUTH|WRONGPASS|NOPERM|ERR AUTH)|without any password configured/.test(reason)) return reason
  if (/certificate|SSL|TLS|wrong version number|packet length|altname/i.test(reason)) return `TLS failed (${reason})`
  if (
    /^ERR|unknown command|protocol|Unknown RESP type|unexpected/i.test(reason) &&
    !/closed unexpectedly/i.test(reason)
  )
    return `it does not answer like Redis 7 or later (${reason})`
  return undefined
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  return error instanceof Error ? error.message : String(error)
}
