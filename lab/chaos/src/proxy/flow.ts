/**
 * One direction of one connection through the fault proxy. Takes data from the source, holds it as
 * the rule says (late, slowly or not at all), and passes it to the sink in order.
 *
 * Guarantee: data is never changed or reordered by a rule. The amount of held data is limited. When
 * the limit is reached, the proxy stops reading from the source, so the sender notices a slow
 * connection as on a real network.
 */
import type { Socket } from 'node:net'

/** Rule for the bytes of one direction. With no field set, bytes pass immediately. */
export interface FlowRule {
  /** Delay of each piece of data. */
  readonly latencyMs?: number
  /** Maximum of the random time that is added to the delay. The order is kept. */
  readonly jitterMs?: number
  readonly bytesPerSecond?: number
  /**
   * If true, no data passes until another rule is set. The source's kernel buffer fills up, as when
   * the network is down.
   */
  readonly isStalled?: boolean
  /** Number of bytes that may still pass. Then both ends are reset. */
  readonly cutAfterBytes?: number
}

/**
 * Maximum number of bytes that one direction of a connection holds. Then the proxy stops reading
 * from the source.
 */
export const heldBytesMax = 262_144
/** Time between two pieces of data at a limited rate. */
const rateSliceMs = 20

interface Held {
  readonly data: Buffer
  readonly dueAtMs: number
}

export interface FlowOptions {
  readonly source: Socket
  readonly sink: Socket
  readonly rule: () => FlowRule
  /**
   * Called with each piece of data as it arrives. Returns its replacement, or undefined to drop it.
   */
  readonly onData?: ((data: Buffer) => Buffer | undefined) | undefined
  readonly random: () => number
  /** Called when `cutAfterBytes` bytes have passed. Must reset both ends. */
  readonly onCut: () => void
}

export class Flow {
  readonly #options: FlowOptions
  #held: Held[] = []
  #heldBytes = 0
  #passedBytes = 0
  #isEnded = false
  #isSinkFull = false
  #timer: NodeJS.Timeout | undefined
  #cutAtBytes: number | undefined
  #seenRule: FlowRule | undefined
  #isDead = false

  constructor(options: FlowOptions) {
    this.#options = options
    const { source, sink } = options
    source.on('data', (data) => this.#take(data))
    source.on('end', () => {
      this.#isEnded = true
      if (this.#isDead) source.destroy()
      else this.#pump()
    })
    sink.on('drain', () => {
      this.#isSinkFull = false
      this.#pump()
    })
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Applies the current rule after it has changed. */
  kick(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#pump()
  }

  /**
   * Stops passing data permanently, without closing the sink. Still reads from the source, so that
   * a close of the source is noticed.
   */
  die(): void {
    this.stop()
    this.#options.source.resume()
  }

  get isStalled(): boolean {
    return !this.#isDead && this.#options.rule().isStalled === true
  }

  stop(): void {
    this.#isDead = true
    clearTimeout(this.#timer)
    this.#held = []
    this.#heldBytes = 0
  }

  #take(arrived: Buffer): void {
    if (this.#isDead) return
    const data = this.#options.onData === undefined ? arrived : this.#options.onData(arrived)
    if (data === undefined || data.length === 0) return
    const { latencyMs = 0, jitterMs = 0 } = this.#options.rule()
    const lateMs = latencyMs + (jitterMs > 0 ? this.#options.random() * jitterMs : 0)
    const dueAtMs = Math.max(performance.now() + lateMs, this.#held.at(-1)?.dueAtMs ?? 0)
    this.#held.push({ data, dueAtMs })
    this.#heldBytes += data.length
    if (this.#heldBytes >= heldBytesMax) this.#options.source.pause()
    this.#pump()
  }

  #pump(): void {
    if (this.#isDead || this.#timer !== undefined) return
    const { source, sink } = this.#options
    const rule = this.#currentRule()
    if (rule.isStalled === true) return
    while (this.#held.length > 0 && !this.#isSinkFull) {
      const head = this.#held[0]
      if (head === undefined) break
      const waitMs = head.dueAtMs - performance.now()
      if (waitMs > 0.5) {
        this.#pumpIn(waitMs)
        return
      }
      const { bytesPerSecond } = rule
      const sliceBytes =
        bytesPerSecond === undefined
          ? head.data.length
          : Math.max(1, Math.floor((bytesPerSecond * rateSliceMs) / 1_000))
      let piece = head.data.subarray(0, sliceBytes)
      const rest = head.data.subarray(piece.length)
      const isCut = this.#cutAtBytes !== undefined && this.#passedBytes + piece.length >= this.#cutAtBytes
      if (isCut) piece = piece.subarray(0, (this.#cutAtBytes ?? 0) - this.#passedBytes)
      if (rest.length === 0) this.#held.shift()
      else this.#held[0] = { data: rest, dueAtMs: head.dueAtMs }
      this.#heldBytes -= piece.length
      this.#passedBytes += piece.length
      if (piece.length > 0 && !sink.destroyed) this.#isSinkFull = !sink.write(piece)
      if (isCut) {
        this.#options.onCut()
        return
      }
      if (this.#heldBytes < heldBytesMax / 2 && source.isPaused()) source.resume()
      if (bytesPerSecond !== undefined) {
        this.#pumpIn((piece.length / bytesPerSecond) * 1_000)
        return
      }
    }
    if (this.#isEnded && this.#held.length === 0 && !sink.destroyed) sink.end()
  }

  #currentRule(): FlowRule {
    const rule = this.#options.rule()
    if (rule !== this.#seenRule) {
      this.#seenRule = rule
      this.#cutAtBytes = rule.cutAfterBytes === undefined ? undefined : this.#passedBytes + rule.cutAfterBytes
    }
    return rule
  }

  #pumpIn(delayMs: number): void {
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.#pump()
      },
      Math.max(1, delayMs),
    )
  }
}
