/**
 * Connection to Redis, a single server or a cluster. While Redis is unavailable, no command is
 * queued. Every command resolves or rejects within a time limit. A Redis that stops responding gets
 * no commands until it answers a probe.
 *
 * Permanent problems (wrong credentials or TLS settings, a version before 7, a public address
 * without a password) prevent the start of the server, with one line. Problems that may pass (no
 * server listens, the host does not exist yet) are logged in one line, and the server continues
 * without Redis.
 */
import { createHash } from 'node:crypto'
import { createClient, type RedisClientType, type RedisClusterType } from 'redis'
import type { Clock, Timer } from '../support/clock.ts'
import { redactUrl } from '../support/redact-url.ts'
import { StartError } from '../support/start-error.ts'
import type { Redis, RedisArgument, RedisScript } from './redis.ts'
import { connectCluster, settlesWithin } from './redis-cluster.ts'
import { lastingReasonOf, RedisError, reasonOf } from './redis-errors.ts'
import { type RedisTarget, refusePublicWithoutPassword, warnWhenOpenToAll } from './redis-exposure.ts'
import { findRedisMismatch } from './redis-mismatch.ts'
import { redisConnection, redisLimits } from './redis-options.ts'
import { slotOfKey } from './redis-slot.ts'

const oldestMajor = 7

export interface OpenRedisOptions extends RedisTarget {
  /**
   * Prefix of every key and channel in Redis, so that several installations can share one Redis
   * (see database/installation.ts).
   */
  readonly namespace?: string
  readonly clock: Clock
}

/**
 * Connects to Redis. Throws {@link StartError} for permanent problems. For temporary problems,
 * returns without a connection and keeps trying.
 */
export async function openRedis(options: OpenRedisOptions): Promise<Redis> {
  await refusePublicWithoutPassword(options)
  const link = new RedisLink(options)
  await link.start()
  return link
}

/**
 * Shard of a cluster in node-redis. The type of node-redis omits that the master may be missing.
 */
interface Shard {
  readonly master?: { readonly address: string; readonly connectPromise?: unknown }
}

/**
 * Disables the command timeout of node-redis. `RedisLink` already limits every command, and a
 * second timer and abort signal per command would be wasteful.
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
  /**
   * For each Redis that does not answer at present: the time of its first unanswered command. The
   * key is the address of the master, or empty for a single Redis.
   */
  readonly #silentSinceMs = new Map<string, number>()
  #isRenewing = false
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
    return this.#bounded(key, () => this.#send(key, args))
  }

  async script(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args.map(String)]
    const key = keys[0] ?? ''
    return this.#bounded(key, async () => {
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
    this.#disconnect()
  }

  #disconnect(): void {
    if (this.#client?.isOpen === true) this.#client.destroy()
    if (this.#cluster?.isOpen === true) this.#cluster.destroy()
  }

  get #where(): string {
    return `${this.#options.variable} is ${redactUrl(this.#options.url)}`
  }

  /** Opens the first connection. Checks the version of Redis and whether it is a cluster. */
  async #open(): Promise<void> {
    const first = createClient(redisConnection(this.#options.url, false))
    first.on('error', () => undefined)
    try {
      await first.connect()
      const info = await first.sendCommand<string>(['INFO'])
      const version = /^redis_version:(\S+)/m.exec(info)?.[1] ?? ''
      if (!(Number.parseInt(version, 10) >= oldestMajor))
        throw new StartError(`${this.#where}; expected Redis 7 or later, found ${version === '' ? 'none' : version}`)
      await warnWhenOpenToAll(first, this.#options)
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
    const isReplaced = (): boolean => this.#client !== undefined && this.#client !== client
    client.on('error', (error: unknown) => isReplaced() || this.#away(error))
    client.on('ready', () => isReplaced() || this.#startProbing())
    try {
      await settlesWithin(this.#options.clock, redisLimits.connectTimeoutMs, client.connect())
    } catch (error) {
      client.destroy()
      throw error
    }
    const before = this.#client
    this.#client = client
    if (before?.isOpen === true) before.destroy()
    // Even after this error, the client keeps trying to connect, and emits `ready` when it
    // succeeds.
    if (!client.isReady) throw new RedisError('it does not answer')
  }

  async #openCluster(): Promise<void> {
    const { cluster, unreachable } = await connectCluster(this.#options)
    if (unreachable.length > 0)
      this.#note(
        `${this.#where}; masters of the cluster cannot be reached, continuing without them (${unreachable.join('; ')})`,
      )
    if (this.#cluster?.isOpen === true) this.#cluster.destroy()
    this.#cluster = cluster
    this.#rediscovery?.cancel()
    if (unreachable.length > 0 && !this.#isClosed) this.#rediscoverLater()
  }

  /**
   * Schedules a new discovery of the cluster, because a master was never reached. No command goes
   * to that master, so no response would report that another one has replaced it.
   */
  #rediscoverLater(): void {
    this.#rediscovery = this.#options.clock.setTimer(() => {
      this.#openCluster().catch((error: unknown) => {
        this.#options.logger.debug({ err: error }, 'unable to discover the cluster again')
        if (!this.#isClosed) this.#rediscoverLater()
      })
    }, redisLimits.rediscoverIntervalMs)
  }

  /** Logs a line, unless it equals the last one. */
  #note(line: string): void {
    if (line === this.#lastNote) return
    this.#lastNote = line
    this.#options.logger.warn(line)
  }

  #send(key: string, args: readonly RedisArgument[]): Promise<unknown> {
    if (this.#cluster !== undefined) {
      // Rejects at once while node-redis connects to this master for the first time. Otherwise
      // commands for this master would wait without a limit and run late.
      const master = (this.#cluster.slots[slotOfKey(key)] as Shard | undefined)?.master
      if (master === undefined || master.connectPromise !== undefined)
        return Promise.reject(new RedisError('this part of the cluster is unavailable'))
      return this.#cluster.sendCommand(key, false, [...args], boundedHere)
    }
    if (this.#client !== undefined) return this.#client.sendCommand(args, boundedHere)
    return Promise.reject(new RedisError('Redis has not been reached yet'))
  }

  async #bounded<T>(key: string, run: () => Promise<T>): Promise<T> {
    if (this.#problem !== undefined) throw new RedisError(`unable to use Redis; ${this.#problem}`)
    if (this.#underWay >= redisLimits.underWayMax)
      throw new RedisError('unable to use Redis; too many commands are waiting')
    this.#underWay++
    const { clock } = this.#options
    const { commandTimeoutMs, stillnessGraceMs } = redisLimits
    const dueMs = clock.nowMs() + commandTimeoutMs
    let timer: Timer | undefined
    const late = new Promise<never>((_resolve, reject) => {
      const giveUp = (): void => {
        const error = new RedisError('unable to use Redis; it does not answer')
        // In a cluster, the other masters may still work. So a late answer makes Redis count as
        // unavailable only if it is a single server.
        if (!this.isCluster) this.#away(error)
        this.#noteSilence(key)
        reject(error)
      }
      timer = clock.setTimer(() => {
        // After a stall of this process, timers run before sockets are read. So the response may
        // have arrived without being read yet.
        if (clock.nowMs() - dueMs < stillnessGraceMs) giveUp()
        else timer = clock.setTimer(giveUp, stillnessGraceMs)
      }, commandTimeoutMs)
    })
    try {
      const answer = await Promise.race([run(), late])
      if (this.#silentSinceMs.size > 0) this.#silentSinceMs.delete(this.#placeOf(key))
      return answer
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

  /** Returns the address of the master that holds this key, or an empty text without a cluster. */
  #placeOf(key: string): string {
    return (this.#cluster?.slots[slotOfKey(key)] as Shard | undefined)?.master?.address ?? ''
  }

  /**
   * Replaces a connection on which commands have had no answer for too long. The other side may
   * have vanished without closing it (a firewall, a moved address). The kernel would then retry for
   * 15 minutes, and the socket's own timeout never fires, because each written ping restarts it.
   */
  #noteSilence(key: string): void {
    const place = this.#placeOf(key)
    const nowMs = this.#options.clock.nowMs()
    const sinceMs = this.#silentSinceMs.get(place) ?? nowMs - redisLimits.commandTimeoutMs
    this.#silentSinceMs.set(place, sinceMs)
    if (nowMs - sinceMs < redisLimits.silenceMaxMs) return
    this.#silentSinceMs.clear()
    this.#renew()
  }

  /**
   * Replaces the current connection by a new one. If that fails, the regular probes lead to another
   * attempt.
   */
  #renew(): void {
    if (this.#isRenewing || this.#isClosed) return
    this.#isRenewing = true
    const opened = this.#cluster === undefined ? this.#openSingle() : this.#openCluster()
    opened
      .catch((error: unknown) => this.#options.logger.debug({ err: error }, 'unable to replace a silent connection'))
      .finally(() => {
        this.#isRenewing = false
        if (this.#isClosed) this.#disconnect()
      })
  }

  /**
   * Reconnects if the error shows a failover: the connected Redis is now a replica, and its address
   * may already lead to the new primary.
   */
  #noteFailure(error: unknown): void {
    if (this.#client === undefined || !/^(READONLY|MASTERDOWN)/.test(reasonOf(error))) return
    const nowMs = this.#options.clock.nowMs()
    if (nowMs - this.#lastMovedAtMs < redisLimits.reconnectMaxMs) return
    this.#lastMovedAtMs = nowMs
    this.#away(error)
    this.#renew()
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

  /** Probes regularly until Redis answers. An open connection alone does not count as available. */
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
    }, redisLimits.probeIntervalMs)
  }

  async #tryAgain(): Promise<void> {
    if (this.#client === undefined && this.#cluster === undefined) return this.#open()
    const key = this.keyOf('probe')
    const asked = this.#send(key, ['SET', key, '1', 'PX', '1000'])
    if ((await settlesWithin(this.#options.clock, redisLimits.commandTimeoutMs, asked)) === 'late') {
      this.#noteSilence(key)
      throw new RedisError('no answer')
    }
    this.#silentSinceMs.clear()
    this.#back()
  }
}
