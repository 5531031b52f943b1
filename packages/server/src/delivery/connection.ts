/**
 * One live connection of a session. Socket.IO and Server-Sent Events share this code; each of them
 * only adds its transport.
 *
 * States: while `opening`, the changes that the client missed are being sent. While `ready`, events
 * are sent as they happen. When `closed`, nothing is sent any more.
 */
import type { ClosingCode, Id, Presence } from '@chorus/protocol'
import type { Credential } from '../support/credential.ts'
import { LazyMap, LazySet } from '../support/lazy-set.ts'
import { type Answer, type Frame, frameOf, type Outgoing } from '../frames/frame.ts'
import { Outbound, type OutboundBudget, type Transport, type TransportKind } from './outbound.ts'

export type ConnectionState =
  | { readonly kind: 'opening' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'closed'; readonly code: ClosingCode | 'gone' }

export interface ConnectionOptions {
  readonly id: number
  readonly user: Id
  readonly session: Id
  readonly transport: Transport
  readonly budget: OutboundBudget
  /** Default: `cookie`. */
  readonly credential?: Credential | undefined
  /** Time when the session or the token of the connection ends, on the server's clock. */
  readonly expiresAtMs: number
  readonly onClosed: (connection: Connection) => void
}

/** Time that a client has to read the `closing` event before its connection is cut. */
export const closingGraceMs = 3_000

/**
 * Maximum number of sent removals that a connection remembers. The oldest are evicted, so such a
 * removal may be sent twice.
 */
const removalsToldMax = 1_000

const opening: ConnectionState = { kind: 'opening' }
const ready: ConnectionState = { kind: 'ready' }

export class Connection {
  readonly id: number
  readonly user: Id
  readonly session: Id
  readonly credential: Credential
  /** A new token moves it. */
  expiresAtMs: number
  readonly #transport: Transport
  readonly #outbound: Outbound
  readonly #onClosed: (connection: Connection) => void
  #state: ConnectionState = opening
  #commandsUnderWay = 0
  #lastCommandAtMs = Number.NEGATIVE_INFINITY

  /** Conversations that the connection is subscribed to; maintained by the feeds. */
  readonly conversations = new Set<Id>()
  /**
   * Number of conversations that the connection is joining after it opened. No checkpoint is sent
   * before these joins end (rule CP1).
   */
  joinsInProgress = 0
  /**
   * Conversations to check again once the connection is ready, because a join, a removal or a moved
   * read marker was noticed while it was opening.
   */
  readonly afterReady = new LazySet<Id>()
  /**
   * Read markers still to be sent. `asked`: the marker is being read; `moved`: the marker moved
   * again during the read; `failed`: the read failed and is repeated after the next sweep. No
   * checkpoint is sent before these markers.
   */
  readonly owedMarkers = new LazyMap<Id, 'asked' | 'moved' | 'failed'>()
  /**
   * Seq of the last removal sent to the connection, for conversations that it is not subscribed to.
   * The same removal is never sent twice (rule NODE1).
   */
  readonly removalsTold = new LazyMap<Id, number>()
  /**
   * Position of the cursor in the connection's `ready` event. The client has everything before this
   * position.
   */
  readyPosition = 0
  /** Whether an event was sent that no checkpoint covers yet. */
  owesCheckpoint = false
  /** Whether every event so far was sent before the current sweep began. */
  isCoveredBySweep = false
  /** Users whose presence the connection watches, with the last status sent for each. */
  readonly watched = new LazyMap<Id, Presence['status']>()
  /** Conversations whose live values were not sent because the client read too slowly. */
  readonly staleLive = new LazySet<Id>()
  status: 'online' | 'away' = 'online'
  /** Time when the connection was opened, on the server's clock. */
  openedAtMs = 0

  constructor(options: ConnectionOptions) {
    const { id, user, session, credential = 'cookie', transport, budget, expiresAtMs, onClosed } = options
    this.id = id
    this.user = user
    this.session = session
    this.credential = credential
    this.expiresAtMs = expiresAtMs
    this.#transport = transport
    this.#onClosed = onClosed
    this.#outbound = new Outbound(transport, budget, () =>
      this.close('slow', 'unable to keep the connection; the client does not read what it is sent', 'later'),
    )
  }

  get state(): ConnectionState {
    return this.#state
  }

  get isOpen(): boolean {
    return this.#state.kind !== 'closed'
  }

  get isBehind(): boolean {
    return this.#outbound.isBehind
  }

  get transportKind(): TransportKind {
    return this.#transport.kind
  }

  get unreadBytes(): number {
    return this.#outbound.unreadBytes
  }

  commandBegan(nowMs: number): void {
    this.#commandsUnderWay++
    this.#lastCommandAtMs = nowMs
  }

  commandEnded(): void {
    this.#commandsUnderWay--
  }

  /** Whether every command has been answered and none has arrived since `sinceMs`. */
  isQuietSince(sinceMs: number): boolean {
    return this.#commandsUnderWay === 0 && this.#lastCommandAtMs < sinceMs
  }

  /** Queues a frame behind everything sent before. */
  send(frame: Frame): void {
    if (this.#state.kind === 'closed') return
    if (frame.event === 'changes' || frame.event === 'conversation') {
      this.owesCheckpoint = true
      this.isCoveredBySweep = false
    }
    this.#hand(frame)
  }

  /**
   * Queues an acknowledgement behind everything sent before, within the same limits (rule SLOW1).
   */
  answer(answer: Answer): void {
    if (this.#state.kind !== 'closed') this.#hand(answer)
  }

  whenDrained(): Promise<void> {
    return this.#outbound.whenDrained()
  }

  #hand(item: Outgoing): void {
    try {
      this.#outbound.send(item)
    } catch {
      // If writing throws, this connection is broken. Catch the error here, so that other
      // connections still get the frame.
      this.#transport.close('hard')
      this.lost()
    }
  }

  becomeReady(position = 0): void {
    if (this.#state.kind !== 'opening') return
    this.readyPosition = position
    this.#state = ready
  }

  noteRemoval(conversation: Id, seq: number): void {
    this.removalsTold.delete(conversation)
    this.removalsTold.set(conversation, seq)
    const [oldest] = this.removalsTold.keys()
    if (this.removalsTold.size > removalsToldMax && oldest !== undefined) this.removalsTold.delete(oldest)
  }

  /** Sends the reason, then closes the connection. */
  close(code: ClosingCode, message: string, retry: 'never' | 'later'): void {
    if (this.#state.kind === 'closed') return
    this.#state = { kind: 'closed', code }
    this.#outbound.close()
    this.#transport.write(frameOf('closing', { code, message, retry }))
    this.#transport.close(retry === 'later' ? 'again' : 'final')
    setTimeout(() => this.#transport.close('hard'), closingGraceMs).unref()
    this.#onClosed(this)
  }

  /**
   * Marks the connection as closed after the network connection has ended. Nothing can be sent any
   * more.
   */
  lost(): void {
    if (this.#state.kind === 'closed') return
    this.#state = { kind: 'closed', code: 'gone' }
    this.#outbound.close()
    this.#onClosed(this)
  }
}
