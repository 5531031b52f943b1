/**
 * A TCP proxy that simulates a bad network between two processes. Each direction can be late, slow
 * or silent. Connections can be cut, reset, half-open (dead without notice) or refused, and replies
 * can be lost.
 *
 * The proxy listens on one port for its whole life. So the process behind it can be killed,
 * restarted or replaced (`retarget`) without a new address for its callers.
 */
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { Flow } from './flow.ts'
import type { FlowRule } from './flow.ts'

/**
 * Direction of data. `forward`: from the connecting side to the target. `back`: the opposite
 * direction.
 */
export type Direction = 'forward' | 'back'

/** Inspects, and may change, the data that passes on one connection of the proxy. */
export interface Tap {
  forward?(data: Buffer): Buffer | undefined
  back?(data: Buffer): Buffer | undefined
  closed?(): void
}

export interface FaultProxyOptions {
  readonly targetPort: number
  /** Source of random numbers for delays. A chaos run passes a source that depends on its seed. */
  readonly random?: () => number
  /** Creates the tap of a new connection, which inspects the data that passes. */
  readonly tap?: (target: { readonly port: number }) => Tap
}

/** Maximum number of simultaneous connections. The proxy resets any further connection. */
const connectionsMax = 10_000

interface Pair {
  readonly near: Socket
  readonly far: Socket
  readonly forward: Flow
  readonly back: Flow
  /**
   * Whether the connection is half-open: the proxy no longer passes a close of one end to the other
   * end.
   */
  isSevered: boolean
  /**
   * True if one end closed while its direction was stalled, so that the other end does not know of
   * it.
   */
  isOrphaned: boolean
  isReplyDoomed: boolean
}

const free: FlowRule = {}

export class FaultProxy {
  readonly #server: Server
  readonly #pairs = new Set<Pair>()
  readonly #random: () => number
  readonly #tap: FaultProxyOptions['tap']
  #targetPort: number
  #rules: { readonly [Name in Direction]: FlowRule } = { forward: free, back: free }
  #isRefusing = false
  #cut: { readonly marker: string; left: number } | undefined
  #cutReplyCount = 0
  #acceptedCount = 0

  private constructor(options: FaultProxyOptions) {
    this.#targetPort = options.targetPort
    this.#random = options.random ?? Math.random
    this.#tap = options.tap
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (near) => this.#accept(near))
    this.#server.on('error', () => undefined)
  }

  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject)
      proxy.#server.listen(0, '127.0.0.1', 4_096, () => resolve())
    })
    return proxy
  }

  get port(): number {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('unable to name the port; the proxy has ended')
    return address.port
  }

  get connectionCount(): number {
    return this.#pairs.size
  }

  /** Number of connections accepted so far. */
  get acceptedCount(): number {
    return this.#acceptedCount
  }

  /** Number of replies lost so far by {@link cutReplies}. */
  get cutReplyCount(): number {
    return this.#cutReplyCount
  }

  /** Number of bytes that the proxy currently holds for all connections. */
  get heldBytes(): number {
    let bytes = 0
    for (const { forward, back } of this.#pairs) bytes += forward.heldBytes + back.heldBytes
    return bytes
  }

  /** Connects new callers to another target port from now on. */
  retarget(port: number): void {
    this.#targetPort = port
  }

  /**
   * Sets how data passes in each direction from now on, such as delayed or stalled. A direction
   * without a rule passes data immediately.
   */
  shape(rules: { readonly [Name in Direction]?: FlowRule }): void {
    this.#rules = { forward: rules.forward ?? free, back: rules.back ?? free }
    this.#kick()
  }

  /** Ends all faults. Half-open connections stay dead, as in a real network. */
  heal(): void {
    this.#isRefusing = false
    this.#cut = undefined
    this.shape({})
  }

  /** Resets each new connection immediately, or stops doing so. */
  refuse(isRefusing = true): void {
    this.#isRefusing = isRefusing
  }

  /** Resets all connections, or a random share of them. Returns the number of reset connections. */
  reset(share = 1): number {
    let count = 0
    for (const pair of [...this.#pairs]) {
      if (share < 1 && this.#random() >= share) continue
      count += 1
      this.#resetPair(pair)
    }
    return count
  }

  /**
   * Makes all current connections half-open: permanently silent, without FIN or RST for either end.
   * New connections are not affected. Returns the number of current connections.
   */
  sever(): number {
    for (const pair of this.#pairs) {
      pair.isSevered = true
      pair.forward.die()
      pair.back.die()
    }
    return this.#pairs.size
  }

  /**
   * Loses the replies to the next `times` requests that contain `marker`. Passes each such request
   * to the target, then resets both ends at the first byte of the reply. So the work is done but
   * the reply is lost.
   */
  cutReplies(marker: string, times: number): void {
    this.#cut = { marker, left: times }
  }

  async close(): Promise<void> {
    this.#isRefusing = true
    this.reset()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #kick(): void {
    for (const pair of [...this.#pairs]) {
      pair.forward.kick()
      pair.back.kick()
      // The stall is over, and one end is gone. On a real network, the next packet of the other end
      // would now get a reset from a host that does not know the connection.
      if (pair.isOrphaned && !pair.forward.isStalled && !pair.back.isStalled) this.#resetPair(pair)
    }
  }

  #accept(near: Socket): void {
    near.on('error', () => undefined)
    if (this.#isRefusing || this.#pairs.size >= connectionsMax) {
      near.resetAndDestroy()
      return
    }
    this.#acceptedCount += 1
    const far = connect({ port: this.#targetPort, host: '127.0.0.1', allowHalfOpen: true })
    const tap = this.#tap?.({ port: this.#targetPort })
    const isCutting = (): boolean => this.#cut !== undefined && this.#cut.left > 0
    const pair: Pair = {
      near,
      far,
      isSevered: false,
      isOrphaned: false,
      isReplyDoomed: false,
      forward: new Flow({
        source: near,
        sink: far,
        rule: () => this.#rules.forward,
        random: this.#random,
        onCut: () => this.#resetPair(pair),
        onData: (data) => {
          if (isCutting() && this.#cut !== undefined && data.includes(this.#cut.marker)) {
            this.#cut.left -= 1
            pair.isReplyDoomed = true
          }
          return tap?.forward === undefined ? data : tap.forward(data)
        },
      }),
      back: new Flow({
        source: far,
        sink: near,
        rule: () => this.#rules.back,
        random: this.#random,
        onCut: () => this.#resetPair(pair),
        onData: (data) => {
          if (pair.isReplyDoomed) {
            this.#cutReplyCount += 1
            this.#resetPair(pair)
            return undefined
          }
          return tap?.back === undefined ? data : tap.back(data)
        },
      }),
    }
    this.#pairs.add(pair)
    near.setNoDelay(true)
    far.setNoDelay(true)
    near.once('close', () => {
      tap?.closed?.()
      this.#ended(pair, near, far)
    })
    far.once('close', () => this.#ended(pair, far, near))
    far.on('error', () => undefined)
  }

  /**
   * Handles the close of one end of a connection. Closes the other end too, unless the direction to
   * it is stalled or the connection is half-open.
   */
  #ended(pair: Pair, gone: Socket, other: Socket): void {
    const isStalled = gone === pair.near ? pair.forward.isStalled : pair.back.isStalled
    if (isStalled) pair.isOrphaned = true
    if ((pair.isSevered || isStalled) && !other.destroyed) return
    pair.forward.stop()
    pair.back.stop()
    this.#pairs.delete(pair)
    if (other.destroyed) return
    if (gone.errored !== null) other.resetAndDestroy()
    else other.destroy()
  }

  #resetPair(pair: Pair): void {
    this.#pairs.delete(pair)
    pair.forward.stop()
    pair.back.stop()
    pair.near.resetAndDestroy()
    pair.far.resetAndDestroy()
  }
}
