/**
 * The network between two parts, as a fault run wants it: each direction late, slow or silent, connections cut, reset,
 * half-open or refused, replies lost. It listens on one port for as long as it lives, so that a part behind it may be
 * killed, started again or replaced by another (`retarget`) without anybody being told another address.
 */
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { Flow } from './flow.ts'
import type { FlowRule } from './flow.ts'

/** `forward`: from who connects to the target. `back`: the other way. */
export type Direction = 'forward' | 'back'

/** Looks at, and may change, what passes on one connection. */
export interface Tap {
  forward?(data: Buffer): Buffer | undefined
  back?(data: Buffer): Buffer | undefined
  closed?(): void
}

export interface FaultProxyOptions {
  readonly targetPort: number
  /** For jitter; a run gives its seeded one. */
  readonly random?: () => number
  /** Made for each connection. */
  readonly tap?: (target: { readonly port: number }) => Tap
}

/** Most connections at a time; one more is reset at once. */
const connectionsMax = 10_000

interface Pair {
  readonly near: Socket
  readonly far: Socket
  readonly forward: Flow
  readonly back: Flow
  /** Half-open: its ends are not told of each other any more. */
  isSevered: boolean
  /** One end closed while nothing passed, so the other has not heard of it. */
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

  /** Connections accepted so far. */
  get acceptedCount(): number {
    return this.#acceptedCount
  }

  /** Replies lost so far by {@link cutReplies}. */
  get cutReplyCount(): number {
    return this.#cutReplyCount
  }

  /** Bytes held by all connections. */
  get heldBytes(): number {
    let bytes = 0
    for (const { forward, back } of this.#pairs) bytes += forward.heldBytes + back.heldBytes
    return bytes
  }

  /** New connections go to another port from now on. */
  retarget(port: number): void {
    this.#targetPort = port
  }

  /** Sets what happens to each direction from now on; a direction that is left out becomes free. */
  shape(rules: { readonly [Name in Direction]?: FlowRule }): void {
    this.#rules = { forward: rules.forward ?? free, back: rules.back ?? free }
    this.#kick()
  }

  /** Everything passes again; connections that were severed stay dead, as they would. */
  heal(): void {
    this.#isRefusing = false
    this.#cut = undefined
    this.shape({})
  }

  /** New connections are reset at once. */
  refuse(isRefusing = true): void {
    this.#isRefusing = isRefusing
  }

  /** Resets connections: all, or the given share of them, chosen by the proxy's chance. Returns how many. */
  reset(share = 1): number {
    let count = 0
    for (const pair of [...this.#pairs]) {
      if (share < 1 && this.#random() >= share) continue
      count += 1
      this.#resetPair(pair)
    }
    return count
  }

  /** Every connection of now goes silent for good, and neither end is told: no FIN, no RST. New ones are not touched. */
  sever(): number {
    for (const pair of this.#pairs) {
      pair.isSevered = true
      pair.forward.die()
      pair.back.die()
    }
    return this.#pairs.size
  }

  /**
   * From now on, `times` requests that contain `marker` reach the target, and both ends are cut when the first byte of the
   * reply has come back: the work is done, the answer lost.
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
      // The network is back, and what the other end says next is answered by a host that knows nothing of it.
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

  /** One end is gone: the other is told at once, unless nothing passes from here to there. */
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
