/**
 * One live link over a transport. It limits the time for opening and for silence during the replay,
 * and counts the requests that have no response yet.
 *
 * Guarantee: a link that does not open within 10 s, or receives no data for 30 s during its replay,
 * ends as lost. No handler is called before the constructor returns or after `close`.
 */
import type { CommandAck, CommandRequest, EventCommandName, EventPayload, ServerEvent } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import { type LinkEnd, notConnected, type Transport, type TransportLink, toLinkEnd } from './transport.ts'

/** Maximum time for a link to open. */
export const openTimeoutMs = 10_000
/** Maximum time without data during a replay. */
export const replayPauseMaxMs = 30_000

export interface LinkHandlers {
  readonly onOpen: (link: Link) => void
  readonly onEvent: (link: Link, event: ServerEvent) => void
  /** Called when a request has received its response or has failed. */
  readonly onResponse: (link: Link) => void
  /** Called once, after the link was closed. */
  readonly onEnd: (link: Link, end: LinkEnd) => void
}

export class Link {
  readonly transport: Transport
  readonly #clock: Clock
  readonly #handlers: LinkHandlers
  readonly #link: TransportLink | undefined
  #isOpen = false
  #isClosed = false
  #readyAtMs: number | undefined
  /** The server's reason for closing the link. Undefined until the server has sent it. */
  #closing: EventPayload<'closing'> | undefined
  #openRequests = 0
  #cancelTimer: () => void = () => undefined

  constructor(transport: Transport, cursor: string | undefined, clock: Clock, handlers: LinkHandlers) {
    this.transport = transport
    this.#clock = clock
    this.#handlers = handlers
    // A transport may call a handler before `connect` returns. Such a call is ignored, because the
    // owner does not have the link yet.
    const isLive = (): boolean => this.#link !== undefined && !this.#isClosed
    this.#link = transport.connect(cursor, {
      onOpen: () => isLive() && this.#onOpen(),
      onEvent: (event) => isLive() && this.#onEvent(event),
      onProgress: () => isLive() && this.#onProgress(),
      onEnd: (end) => isLive() && this.end(end),
    })
    this.endAfter(openTimeoutMs)
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Time at which the replay of missed changes was complete. Undefined until then. */
  get readyAtMs(): number | undefined {
    return this.#readyAtMs
  }

  get hasOpenRequests(): boolean {
    return this.#openRequests > 0
  }

  /** Sends a command. Rejects with `unavailable` until the link is open. */
  async request<Name extends EventCommandName>(name: Name, request: CommandRequest<Name>): Promise<CommandAck<Name>> {
    if (this.#link === undefined || !this.#isOpen) throw notConnected(name)
    this.#openRequests += 1
    try {
      return await this.#link.request(name, request)
    } finally {
      this.#openRequests -= 1
      this.#handlers.onResponse(this)
    }
  }

  /** Ends the link as lost after this time. Replaces an earlier limit. */
  endAfter(timeoutMs: number): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#clock.after(timeoutMs, () => this.end({ kind: 'lost' }))
  }

  /** Removes the time limit set by `endAfter`. */
  keep(): void {
    this.#cancelTimer()
  }

  /** Closes the link and reports its end, with the server's reason if it sent one. */
  end(reported: LinkEnd): void {
    this.close()
    this.#handlers.onEnd(this, this.#closing === undefined ? reported : toLinkEnd(this.#closing))
  }

  close(): void {
    this.#isClosed = true
    this.#cancelTimer()
    this.#link?.close()
  }

  #onOpen(): void {
    this.#isOpen = true
    this.#onProgress()
    this.#handlers.onOpen(this)
  }

  #onProgress(): void {
    if (this.#isOpen && this.#readyAtMs === undefined) this.endAfter(replayPauseMaxMs)
  }

  #onEvent(event: ServerEvent): void {
    this.#onProgress()
    if (event.name === 'closing') this.#closing = event.payload
    if (event.name === 'ready') {
      this.keep()
      this.#readyAtMs = this.#clock.now()
    }
    this.#handlers.onEvent(this, event)
  }
}
