/**
 * One live link of a session, whatever its wire: Socket.IO and Server-Sent Events give it a transport and share the rest.
 *
 * opening: its missed changes are being sent; ready: everything is handed to it as it happens; closed: nothing leaves any
 * more.
 */
import type { ClosingCode, Id, Presence } from '@chorus/protocol'
import { RareMap, RareSet } from '../support/rare-set.ts'
import { type Answer, type Frame, frameOf, type Outgoing } from './frame.ts'
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
  /** When its session ends, on the server's clock. */
  readonly expiresAtMs: number
  readonly onClosed: (connection: Connection) => void
}

/** How long a closing connection has to read its last words before the wire is cut. */
export const closingGraceMs = 3_000

/** Conversations whose removal a connection remembers; the oldest are forgotten and may be told once more. */
const removalsToldMax = 1_000

const opening: ConnectionState = { kind: 'opening' }
const ready: ConnectionState = { kind: 'ready' }

export class Connection {
  readonly id: number
  readonly user: Id
  readonly session: Id
  readonly expiresAtMs: number
  readonly #transport: Transport
  readonly #outbound: Outbound
  readonly #onClosed: (connection: Connection) => void
  #state: ConnectionState = opening
  #commandsUnderWay = 0
  #lastCommandAtMs = Number.NEGATIVE_INFINITY

  /** Whose feeds it is subscribed to; kept by the feeds. */
  readonly conversations = new Set<Id>()
  /** Joins of single conversations under way; no checkpoint leaves before they end (rule CP1). */
  joinsInProgress = 0
  /** Conversations to look at again once it is ready: something happened there while it was opening. */
  readonly afterReady = new RareSet<Id>()
  /** Read markers it is to be told: being read, moved again meanwhile, or to be read after the next sweep; no checkpoint leaves before. */
  readonly owedMarkers = new RareMap<Id, 'asked' | 'moved' | 'failed'>()
  /** Seq of the last removal that it was sent, of conversations it is not subscribed to. A seq is never sent twice (NODE1). */
  readonly removalsTold = new RareMap<Id, number>()
  /** Position of the cursor in its `ready`: what happened before was told by then, or is no news. */
  readyPosition = 0
  /** Was anything sent that no checkpoint covers yet? */
  owesCheckpoint = false
  /** Had all of that been sent when the sweep under way began? */
  isCoveredBySweep = false
  /** Whose presence it follows, with what it was last told. */
  readonly watched = new RareMap<Id, Presence['status']>()
  /** Conversations with live values it was too slow to be told. */
  readonly staleLive = new RareSet<Id>()
  status: 'online' | 'away' = 'online'
  /** On the server's clock. */
  openedAtMs = 0

  constructor({ id, user, session, transport, budget, expiresAtMs, onClosed }: ConnectionOptions) {
    this.id = id
    this.user = user
    this.session = session
    this.expiresAtMs = expiresAtMs
    this.#transport = transport
    this.#onClosed = onClosed
    this.#outbound = new Outbound(transport, budget, () =>
      this.close('slow', 'unable to keep the connection; it does not read what it is sent', 'later'),
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

  /** Nothing it asked is unanswered, and it has asked nothing since `sinceMs`. */
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

  /** Queues an acknowledgement behind everything sent before, within the same budget (rule SLOW1). */
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
      // A wire that throws is broken; the others who are sent this frame are not.
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

  /** Says why, then ends the link. */
  close(code: ClosingCode, message: string, retry: 'never' | 'later'): void {
    if (this.#state.kind === 'closed') return
    this.#state = { kind: 'closed', code }
    this.#outbound.close()
    this.#transport.write(frameOf('closing', { code, message, retry }))
    this.#transport.close(retry === 'later' ? 'again' : 'final')
    setTimeout(() => this.#transport.close('hard'), closingGraceMs).unref()
    this.#onClosed(this)
  }

  /** The wire is gone; nobody is left to be told. */
  lost(): void {
    if (this.#state.kind === 'closed') return
    this.#state = { kind: 'closed', code: 'gone' }
    this.#outbound.close()
    this.#onClosed(this)
  }
}
