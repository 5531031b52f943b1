/**
 * One connection to one Redis over which this server subscribes. It reports confirmed, refused and
 * ended subscriptions and received messages. It closes at the first reply that makes no sense; its
 * owner then opens a new connection. It never reconnects by itself, so a caller cannot mistake a
 * new connection, which missed messages, for the old one.
 *
 * Why not node-redis: when a slot of a cluster moves, Redis pushes a SUNSUBSCRIBE. While a command
 * is pending, node-redis takes that push for the reply to the command, and the channel receives
 * nothing from then on. See docs/decisions.
 */
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Clock, Timer } from '../support/clock.ts'
import type { RedisTls } from '../redis/redis-tls.ts'
import { encodeCommand, RedisRefusal, type Reply, ReplyReader, textOf } from './bus-redis-replies.ts'

export const connectionLimits = {
  connectTimeoutMs: 2_000,
  pingIntervalMs: 1_000,
  /**
   * Time without any received byte after which a connection counts as dead, whatever TCP reports.
   */
  silenceMaxMs: 4_000,
  /**
   * Maximum number of sent bytes that Redis has not accepted yet. Beyond it the connection counts
   * as dead.
   */
  unsentMaxBytes: 16_777_216,
} as const

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

export interface RedisAccess {
  /**
   * Returns the TLS options for the Redis at this host, or undefined for a connection without TLS.
   */
  readonly tlsOf: (host: string) => RedisTls | undefined
  readonly username: string
  readonly password: string
}

export interface ConnectionEvents {
  readonly onMessage: (name: string, payload: Buffer) => void
  /**
   * Called when Redis confirms a subscription. `request` is the number that {@link
   * RedisBusConnection.subscribe} returned.
   */
  readonly onConfirmed: (name: string, request: number) => void
  /**
   * Called when Redis ends a subscription without a request, because its slot has moved to another
   * master.
   */
  readonly onMoved: (name: string) => void
  readonly onRefused: (names: readonly string[], reason: string) => void
  /**
   * Called exactly once, when the connection ends, even if it never opened. No other event follows.
   */
  readonly onClosed: (reason: string) => void
}

type Expected =
  | { readonly kind: 'subscribe' | 'unsubscribe'; readonly names: Set<string>; readonly request: number }
  | { readonly kind: 'answer'; readonly resolve: (reply: Reply) => void; readonly reject: (error: Error) => void }

export class RedisBusConnection {
  readonly #events: ConnectionEvents
  readonly #clock: Clock
  readonly #socket: Socket
  readonly #reader = new ReplyReader()
  readonly #expected: Expected[] = []
  #lastHeardAtMs: number
  #lastLookAtMs: number
  #timer: Timer
  #isClosed = false
  #requests = 0

  /** Starts connecting. Call `open` next: it resolves when the connection is ready for use. */
  constructor(address: RedisAddress, access: RedisAccess, clock: Clock, events: ConnectionEvents) {
    this.#events = events
    this.#clock = clock
    this.#lastHeardAtMs = clock.nowMs()
    this.#lastLookAtMs = this.#lastHeardAtMs
    const tls = access.tlsOf(address.host)
    this.#socket = tls === undefined ? connectTcp(address) : connectTls({ ...address, ...tls })
    this.#socket.setNoDelay(true)
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', (error) => this.#end(error.message))
    this.#socket.on('close', () => this.#end('the connection was closed'))
    this.#timer = clock.setTimer(() => this.#end('no connection in time'), connectionLimits.connectTimeoutMs)
    this.#socket.once(tls === undefined ? 'connect' : 'secureConnect', () => this.#watch())
  }

  /** Whether the connection has ended. */
  get isOver(): boolean {
    return this.#isClosed
  }

  /**
   * Authenticates at Redis. Rejects when the connection ends first or Redis refuses the
   * credentials.
   */
  async open({ username, password }: RedisAccess): Promise<void> {
    const credentials = password === '' ? [] : ['AUTH', username === '' ? 'default' : username, password]
    const reply = await this.request(['HELLO', '3', ...credentials])
    if (reply instanceof RedisRefusal) throw this.close(reply.text)
  }

  /** Sends a command and returns its single reply. Rejects only when the connection ends first. */
  request(args: readonly string[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(new Error('the connection is closed'))
        return
      }
      this.#expected.push({ kind: 'answer', resolve, reject })
      this.#write(args)
    })
  }

  /**
   * Subscribes to channels and returns the number of this request. In a cluster, all names must
   * belong to one hash slot.
   */
  subscribe(names: readonly string[]): number {
    return this.#tell('subscribe', 'SSUBSCRIBE', names)
  }

  unsubscribe(names: readonly string[]): void {
    this.#tell('unsubscribe', 'SUNSUBSCRIBE', names)
  }

  /** Closes the connection and returns an error with the reason. */
  close(reason: string): Error {
    this.#end(reason)
    return new Error(reason)
  }

  #tell(kind: 'subscribe' | 'unsubscribe', verb: string, names: readonly string[]): number {
    const request = ++this.#requests
    if (this.#isClosed || names.length === 0) return request
    this.#expected.push({ kind, names: new Set(names), request })
    this.#write([verb, ...names])
    return request
  }

  #write(args: readonly string[]): void {
    this.#socket.write(encodeCommand(args))
    if (this.#socket.writableLength > connectionLimits.unsentMaxBytes) this.#end('the peer does not read')
  }

  #read(chunk: Buffer): void {
    if (this.#isClosed) return
    this.#lastHeardAtMs = this.#clock.nowMs()
    try {
      for (const { isPush, reply } of this.#reader.read(chunk)) {
        if (this.isOver) return
        if (isPush) this.#takePush(reply)
        else this.#takeAnswer(reply)
      }
    } catch (error) {
      this.#end(error instanceof Error ? error.message : String(error))
    }
  }

  #takePush(reply: Reply): void {
    if (!Array.isArray(reply)) return
    const [verb, name, payload] = (reply as readonly Reply[]).slice(0, 3)
    switch (textOf(verb)) {
      case 'smessage':
        if (Buffer.isBuffer(payload)) this.#events.onMessage(textOf(name), payload)
        return
      case 'ssubscribe': {
        const request = this.#strike('subscribe', textOf(name))
        if (request !== undefined) this.#events.onConfirmed(textOf(name), request)
        return
      }
      case 'sunsubscribe':
        if (this.#strike('unsubscribe', textOf(name)) === undefined) this.#events.onMoved(textOf(name))
        return
    }
  }

  /**
   * Returns the number of the request that this push confirms, and removes that request from the
   * pending ones. It is always the oldest pending request. Returns undefined when the push answers
   * no request.
   */
  #strike(kind: 'subscribe' | 'unsubscribe', name: string): number | undefined {
    const [head] = this.#expected
    if (head?.kind !== kind || !head.names.delete(name)) return undefined
    if (head.names.size === 0) this.#expected.shift()
    return head.request
  }

  #takeAnswer(reply: Reply): void {
    const head = this.#expected.shift()
    if (head === undefined) this.#end('it sent a reply without a request')
    else if (head.kind === 'answer') head.resolve(reply)
    else if (!(reply instanceof RedisRefusal)) this.#end('its reply does not match the request')
    else if (head.kind === 'subscribe') this.#events.onRefused([...head.names], reply.text)
  }

  /**
   * Sends pings, and closes the connection when nothing arrives: a peer that vanished sends no
   * notice.
   */
  #watch(): void {
    this.#timer.cancel()
    const look = (): void => {
      const nowMs = this.#clock.nowMs()
      // This process itself was paused, so bytes may have arrived that it has not read yet.
      if (nowMs - this.#lastLookAtMs > 2 * connectionLimits.pingIntervalMs) this.#lastHeardAtMs = nowMs
      this.#lastLookAtMs = nowMs
      if (nowMs - this.#lastHeardAtMs > connectionLimits.silenceMaxMs) {
        this.#end('nothing was received for too long')
        return
      }
      this.request(['PING']).catch(() => undefined)
      this.#timer = this.#clock.setTimer(look, connectionLimits.pingIntervalMs)
    }
    this.#lastLookAtMs = this.#clock.nowMs()
    this.#timer = this.#clock.setTimer(look, connectionLimits.pingIntervalMs)
  }

  #end(reason: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#timer.cancel()
    this.#socket.destroy()
    for (const expected of this.#expected.splice(0)) if (expected.kind === 'answer') expected.reject(new Error(reason))
    this.#events.onClosed(reason)
  }
}
