/**
 * Keeps one live link to a server open. A state machine (`connection-table.ts`) defines the next
 * state for each event; this file opens and closes links accordingly.
 *
 * It reconnects with jittered back-off and the newest cursor. It falls back to Server-Sent Events
 * where WebSocket does not open. When the server asks it to move, it opens the new link before it
 * closes the old one. Guarantee: events of an old and a new link are never mixed, because only the
 * events of the current link are read.
 */
import {
  ChorusError,
  type CommandAck,
  type CommandRequest,
  type EventCommandName,
  type ServerEvent,
} from '@chorus/protocol'
import type { ConnectionStatus, TransportName } from '../model/api.ts'
import { backoffDelayMs, backoffMaxMs } from '../support/backoff.ts'
import type { Clock } from '../support/clock.ts'
import { type Cell, createCell, type Observable } from '../support/observable.ts'
import { type ConnectionEvent, connectionTable, type StateName } from './connection-table.ts'
import type { DeviceSignal, DeviceSignals } from './device-signals.ts'
import { Link, type LinkHandlers } from './link.ts'
import { type LinkEnd, notConnected, type Transport, toLinkEnd } from './transport.ts'
import { TransportChoice } from './transport-choice.ts'

/**
 * Minimum time a link must be ready before it resets the back-off. So the delays keep growing if a
 * server closes each link immediately after the replay.
 */
export const stableAfterMs = 2_000
/**
 * Maximum time the old link is kept after a move, so that open requests can still receive their
 * responses.
 */
export const lastAnswersMs = 10_000
/**
 * Minimum time between two wake signals of the device. On a ready connection, a wake signal that
 * follows sooner is ignored.
 */
export const wakePauseMs = 5_000

export interface ConnectionOptions {
  /** Transports in order of preference. At least one. */
  readonly transports: readonly Transport[]
  readonly clock: Clock
  readonly signals: DeviceSignals
  /**
   * Called before a link opens: runs a first load or checks the session. Returns undefined when
   * neither is needed. A rejection is handled like a lost or refused link.
   */
  readonly prepare: (isAfterFailure: boolean) => Promise<void> | undefined
  /** Returns whether another user token may be tried after the server refused one. */
  readonly mayRenew?: () => boolean
  /** Returns the cursor up to which all changes were applied. Called for each new link. */
  readonly cursor: () => string | undefined
  /**
   * Called with the events of the current link, in order, except those that only concern the
   * connection itself.
   */
  readonly onEvent: (event: ServerEvent) => void
  readonly onError?: (error: unknown) => void
}

export class Connection {
  readonly #options: ConnectionOptions
  readonly #status: Cell<ConnectionStatus>
  readonly #choice: TransportChoice
  readonly #handlers: LinkHandlers
  /**
   * Number of links and preparations so far. The result of a preparation is ignored when another
   * preparation or link has started since.
   */
  #generation = 0
  #current: Link | undefined
  /** The new link during a move, until it opens. */
  #next: Link | undefined
  /**
   * True while the current link is known to work during a move. False after a sleep of the device,
   * because the link may be dead.
   */
  #isCurrentTrusted = true
  /**
   * The old link after a move has opened the new link. It is closed when the new link is ready and
   * the old link has no open requests.
   */
  #retired: Link | undefined
  /**
   * The link whose server asked the client to move. A move starts only while this link is the
   * current one.
   */
  #leaving: Link | undefined
  #moveTries = 0
  #attempt = 0
  #retryAfterMs: number | undefined
  #refusal: Extract<LinkEnd, { kind: 'revoked' | 'refused' }> | undefined
  #wokenAtMs = Number.NEGATIVE_INFINITY
  #cancelRetry: () => void = () => undefined
  #cancelMove: () => void = () => undefined
  #unwatch: () => void = () => undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#status = createCell<ConnectionStatus>({ state: 'idle' }, { onError: options.onError })
    this.#choice = new TransportChoice(options.transports, options.clock)
    this.#handlers = {
      onOpen: (link) => this.#onOpen(link),
      onEvent: (link, event) => this.#onEvent(link, event),
      onResponse: (link) => {
        if (link === this.#retired) this.#leaveRetired()
      },
      onEnd: (link, end) => this.#onEnd(link, end),
    }
  }

  get status(): Observable<ConnectionStatus> {
    return this.#status
  }

  /** True while commands can be sent over the current link. */
  get isUsable(): boolean {
    const { state } = this.#status.get()
    return state === 'ready' || state === 'moving'
  }

  get transportName(): TransportName | undefined {
    return this.#current?.transport.name
  }

  start(): void {
    const { state } = this.#status.get()
    if (state === 'idle' || state === 'closed') {
      this.#unwatch()
      this.#unwatch = this.#options.signals.watch((signal) => this.#onSignal(signal))
    }
    this.#dispatch('start')
  }

  stop(): void {
    this.#unwatch()
    this.#unwatch = () => undefined
    this.#dispatch('stop')
  }

  /**
   * Closes the link and reconnects after a back-off, for instance when the received data cannot be
   * used.
   */
  reconnect(): void {
    this.#current?.end({ kind: 'lost' })
  }

  /** Sends a command over the current link. */
  request<Name extends EventCommandName>(name: Name, request: CommandRequest<Name>): Promise<CommandAck<Name>> {
    return this.#current?.request(name, request) ?? Promise.reject(notConnected(name))
  }

  #dispatch(event: ConnectionEvent): void {
    const from = this.#status.get().state
    const to = connectionTable[from][event]
    if (to === 'stay') return
    this.#enter(to, from, event)
  }

  #enter(to: StateName, from: StateName, event: ConnectionEvent): void {
    this.#cancelRetry()
    switch (to) {
      case 'idle':
        this.#closeAll()
        this.#generation += 1
        this.#attempt = 0
        this.#status.set({ state: 'idle' })
        return
      case 'connecting':
        // If the old link is lost during a move, do not open another link: the new link is already
        // opening.
        if (event !== 'old-lost') {
          this.#closeAll()
          this.#prepare()
        }
        this.#status.set({ state: 'connecting', attempt: this.#attempt })
        return
      case 'replaying':
      case 'ready':
      case 'moving':
        this.#status.set({ state: to, transport: this.transportName ?? 'socket-io' })
        return
      case 'waiting': {
        this.#closeAll()
        if (!this.#options.signals.isOnline()) {
          this.#enter('offline', from, event)
          return
        }
        const retryInMs = backoffDelayMs(this.#attempt, this.#options.clock, this.#retryAfterMs)
        this.#attempt += 1
        this.#retryAfterMs = undefined
        this.#cancelRetry = this.#options.clock.after(retryInMs, () => this.#dispatch('retry-due'))
        this.#status.set({ state: 'waiting', attempt: this.#attempt, retryInMs })
        return
      }
      case 'offline':
        this.#closeAll()
        this.#cancelRetry = this.#options.clock.after(backoffMaxMs * (0.5 + this.#options.clock.random()), () =>
          this.#dispatch('retry-due'),
        )
        this.#status.set({ state: 'offline' })
        return
      case 'closed': {
        this.#closeAll()
        const { kind = 'refused', message = 'the server refused the connection' } = this.#refusal ?? {}
        this.#status.set({ state: 'closed', reason: kind, message })
        return
      }
    }
  }

  #prepare(): void {
    const preparing = this.#options.prepare(this.#choice.hasFailed)
    if (preparing === undefined) {
      this.#current = this.#open(this.#choice.next())
      return
    }
    this.#generation += 1
    const generation = this.#generation
    const isMine = (): boolean => generation === this.#generation && this.#status.get().state === 'connecting'
    preparing.then(
      () => {
        if (isMine()) this.#current = this.#open(this.#choice.next())
      },
      (error: unknown) => {
        if (!isMine()) return
        this.#onLost(this.#judge(error instanceof ChorusError ? toLinkEnd(error) : { kind: 'lost' }))
      },
    )
  }

  #onLost(end: LinkEnd): void {
    if (end.kind === 'lost') {
      if (end.retryAfterMs !== undefined) this.#retryAfterMs = end.retryAfterMs
      this.#dispatch('lost')
    } else {
      this.#refusal = end
      this.#dispatch('refused')
    }
  }

  #closeAll(): void {
    this.#cancelMove()
    for (const link of [this.#current, this.#next, this.#retired]) link?.close()
    this.#current = undefined
    this.#next = undefined
    this.#retired = undefined
    this.#leaving = undefined
    this.#planReturn()
  }

  #open(transport: Transport): Link {
    this.#generation += 1
    return new Link(transport, this.#options.cursor(), this.#options.clock, this.#handlers)
  }

  #openNext(transport: Transport, isCurrentTrusted: boolean): void {
    this.#next = this.#open(transport)
    this.#isCurrentTrusted = isCurrentTrusted
  }

  #onOpen(link: Link): void {
    this.#choice.opened(link.transport)
    if (link === this.#next) {
      // From here on only events of the new link are read. The new link replays all changes after
      // the cursor, so no change of the old link is lost.
      this.#retired?.close()
      this.#retired = this.#current
      this.#retired?.keep()
      this.#current = link
      this.#next = undefined
    } else this.#dispatch('opened')
  }

  #onEvent(link: Link, event: ServerEvent): void {
    if (link !== this.#current) return
    switch (event.name) {
      case 'moving':
        this.#leaving = link
        this.#moveTries = 0
        // Move after a random 25 % to 75 % of the given time. This leaves time for a second
        // attempt, and the clients of one server do not move at once.
        this.#planMove(event.payload.inMs * (0.25 + this.#options.clock.random() / 2))
        return
      case 'closing':
        return
      case 'ready':
        this.#retired?.endAfter(lastAnswersMs)
        this.#leaveRetired()
        this.#options.onEvent(event)
        this.#dispatch('ready')
        this.#planReturn()
        // The server of this link asked for a move during the replay or during another move, when a
        // move could not start. Plan it now.
        if (link === this.#leaving) this.#planMove(backoffDelayMs(0, this.#options.clock))
        return
      case 'changes':
      case 'conversation':
      case 'live':
      case 'presence':
      case 'checkpoint':
      case 'reset':
        this.#options.onEvent(event)
        return
    }
  }

  /** Converts the refusal of a user token to a loss, while another token may be accepted. */
  #judge(end: LinkEnd): LinkEnd {
    const isLoss = end.kind === 'revoked' && end.mayRenew === true && this.#options.mayRenew?.() === true
    return isLoss ? { kind: 'lost' } : end
  }

  #onEnd(link: Link, reported: LinkEnd): void {
    const end = this.#judge(reported)
    // A link that ends with a retry delay has reached a server, so it does not count as a transport
    // that failed to open.
    if (!link.isOpen && (end.kind !== 'lost' || end.retryAfterMs === undefined)) this.#choice.failed()
    if (link === this.#retired) this.#retired = undefined
    else if (end.kind !== 'lost') this.#onLost(end)
    else if (link === this.#next) this.#onNextLost(end)
    else if (link === this.#current) this.#onCurrentLost(link, end)
  }

  #onNextLost(end: Extract<LinkEnd, { kind: 'lost' }>): void {
    this.#next = undefined
    if (!this.#isCurrentTrusted) {
      this.#onLost(end)
      return
    }
    this.#dispatch('move-failed')
    this.#planReturn()
    // The load balancer may have routed the new link to the server that is shutting down.
    if (this.#leaving === this.#current && this.#leaving !== undefined) {
      this.#planMove(backoffDelayMs(this.#moveTries, this.#options.clock, end.retryAfterMs))
      this.#moveTries += 1
    }
  }

  #onCurrentLost(link: Link, end: Extract<LinkEnd, { kind: 'lost' }>): void {
    if (link.readyAtMs !== undefined && this.#options.clock.now() - link.readyAtMs >= stableAfterMs) this.#attempt = 0
    if (this.#next === undefined) {
      this.#onLost(end)
      return
    }
    if (end.retryAfterMs !== undefined) this.#retryAfterMs = end.retryAfterMs
    this.#current = this.#next
    this.#next = undefined
    this.#dispatch('old-lost')
  }

  /**
   * Schedules a move away from a server that asked for it. Does nothing if the link to that server
   * has been closed by then.
   */
  #planMove(delayMs: number): void {
    this.#cancelMove()
    this.#cancelMove = this.#options.clock.after(delayMs, () => {
      if (this.#leaving !== undefined && this.#leaving === this.#current) this.#move(this.#choice.next())
    })
  }

  #leaveRetired(): void {
    if (this.#retired === undefined || this.#retired.hasOpenRequests || this.#current?.readyAtMs === undefined) return
    this.#retired.close()
    this.#retired = undefined
  }

  #move(transport: Transport): void {
    if (this.#status.get().state === 'ready') this.#openNext(transport, true)
    this.#dispatch('move')
  }

  #planReturn(): void {
    this.#choice.planReturn(this.#current?.transport, (preferred) => this.#move(preferred))
  }

  #onSignal(signal: DeviceSignal): void {
    switch (signal) {
      case 'offline':
        this.#dispatch('network-lost')
        return
      case 'online':
      case 'wake': {
        const nowMs = this.#options.clock.now()
        const isReady = this.#status.get().state === 'ready'
        if (isReady && nowMs - this.#wokenAtMs < wakePauseMs) return
        this.#wokenAtMs = nowMs
        this.#attempt = 0
        // After a wake, the link may be dead although it reports no error. Resume on a new link,
        // and keep the old link only until the new link opens.
        if (isReady) this.#openNext(this.#choice.next(), false)
        this.#dispatch(signal === 'online' ? 'network-back' : 'move')
        return
      }
    }
  }
}
