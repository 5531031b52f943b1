/**
 * Keeps one live link to a server open. It is a state machine whose table the compiler checks for
 * completeness.
 *
 * It reconnects with jittered back-off and the newest cursor. It falls back to Server-Sent Events
 * where WebSocket does not open. When the server asks it to move, it opens the new link before it
 * closes the old one. Guarantee: events of an old and a new link are never mixed, because each link
 * has a generation and only the current one is read.
 */
import {
  ChorusError,
  type CommandAck,
  type CommandRequest,
  type EventCommandName,
  type EventPayload,
  type ServerEvent,
} from '@chorus/protocol'
import type { ConnectionStatus, TransportName } from '../model/api.ts'
import { backoffDelayMs, backoffMaxMs } from '../support/backoff.ts'
import type { Clock } from '../support/clock.ts'
import type { DeviceSignal, DeviceSignals } from './device-signals.ts'
import { type Cell, createCell, type Observable } from '../support/observable.ts'
import { type LinkEnd, type Transport, type TransportLink, toLinkEnd } from './transport.ts'

/** Maximum time for a link to open. */
export const openTimeoutMs = 10_000
/** Maximum time without data during a replay. */
export const replayPauseMaxMs = 30_000
/**
 * Minimum time a link must be ready before it resets the back-off. A server that closes each link
 * at once is therefore not flooded.
 */
export const stableAfterMs = 2_000
/** Number of failed attempts to open the preferred transport before the next one is tried. */
export const failuresBeforeFallback = 3
/**
 * Time to stay on a fallback before the preferred transport is tried again, multiplied by 0.5 to
 * 1.5. The first retry is soon, because the server may only have been restarting. Later retries are
 * rare.
 */
export const preferredFirstRetryMs = 3_000
export const preferredRetryMs = 300_000
/**
 * Maximum time the old link is kept after a move, for responses that are still missing. No request
 * waits longer.
 */
export const lastAnswersMs = 10_000
/** Minimum time between two signals to wake. Signals that are closer together count as one. */
export const wakePauseMs = 5_000

type StateName = ConnectionStatus['state']

type ConnectionEvent =
  | 'start'
  | 'stop'
  | 'opened'
  | 'ready'
  | 'lost'
  | 'refused'
  | 'retry-due'
  | 'move'
  | 'move-failed'
  /** The old link ended while the new one was still opening. */
  | 'old-lost'
  | 'network-lost'
  | 'network-back'

/** Next state for each event in each state. `stay` means that the event has no effect. */
export const connectionTable: {
  readonly [State in StateName]: { readonly [Name in ConnectionEvent]: StateName | 'stay' }
} = {
  idle: {
    start: 'connecting',
    stop: 'stay',
    opened: 'stay',
    ready: 'stay',
    lost: 'stay',
    refused: 'stay',
    'retry-due': 'stay',
    move: 'stay',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'stay',
    'network-back': 'stay',
  },
  connecting: {
    start: 'stay',
    stop: 'idle',
    opened: 'replaying',
    ready: 'stay',
    lost: 'waiting',
    refused: 'closed',
    'retry-due': 'stay',
    move: 'stay',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'offline',
    'network-back': 'stay',
  },
  replaying: {
    start: 'stay',
    stop: 'idle',
    opened: 'stay',
    ready: 'ready',
    lost: 'waiting',
    refused: 'closed',
    'retry-due': 'stay',
    // The server will close the link. The resume then continues on another server.
    move: 'stay',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'offline',
    'network-back': 'stay',
  },
  ready: {
    start: 'stay',
    stop: 'idle',
    opened: 'stay',
    ready: 'stay',
    lost: 'waiting',
    refused: 'closed',
    'retry-due': 'stay',
    move: 'moving',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'offline',
    'network-back': 'moving',
  },
  moving: {
    start: 'stay',
    stop: 'idle',
    opened: 'stay',
    ready: 'ready',
    lost: 'waiting',
    refused: 'closed',
    'retry-due': 'stay',
    move: 'stay',
    'move-failed': 'ready',
    'old-lost': 'connecting',
    'network-lost': 'offline',
    'network-back': 'stay',
  },
  waiting: {
    start: 'connecting',
    stop: 'idle',
    opened: 'stay',
    ready: 'stay',
    lost: 'stay',
    refused: 'closed',
    'retry-due': 'connecting',
    move: 'connecting',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'offline',
    'network-back': 'connecting',
  },
  offline: {
    start: 'connecting',
    stop: 'idle',
    opened: 'stay',
    ready: 'stay',
    lost: 'stay',
    refused: 'closed',
    // Some devices wrongly report that they are offline.
    'retry-due': 'connecting',
    move: 'connecting',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'stay',
    'network-back': 'connecting',
  },
  closed: {
    start: 'connecting',
    stop: 'idle',
    opened: 'stay',
    ready: 'stay',
    lost: 'stay',
    refused: 'stay',
    'retry-due': 'stay',
    move: 'stay',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'stay',
    'network-back': 'stay',
  },
}

export interface ConnectionOptions {
  /** Transports in order of preference. At least one. */
  readonly transports: readonly Transport[]
  readonly clock: Clock
  readonly signals: DeviceSignals
  /**
   * Work before a link is opened: a first load, or a check of the session. Returns undefined when
   * there is none. A rejection counts like a lost or refused link.
   */
  readonly prepare: (isAfterFailure: boolean) => Promise<void> | undefined
  /** Returns the cursor up to which everything was applied. Called for each new link. */
  readonly cursor: () => string | undefined
  /**
   * Called with the events of the current link, in order, except those that only concern the
   * connection itself.
   */
  readonly onEvent: (event: ServerEvent) => void
  readonly onError?: (error: unknown) => void
}

interface Slot {
  readonly generation: number
  readonly transport: Transport
  readonly link: TransportLink
  isOpen: boolean
  /** True when the previous link can be trusted while this one opens. False after a sleep. */
  readonly isOldTrusted: boolean
  readyAtMs: number | undefined
  closing: EventPayload<'closing'> | undefined
  /** Number of requests without a response. */
  underWay: number
  cancelTimer: () => void
}

export class Connection {
  readonly #options: ConnectionOptions
  readonly #status: Cell<ConnectionStatus>
  #generation = 0
  #current: Slot | undefined
  /** The new link during a move, until it opens. */
  #next: Slot | undefined
  /**
   * The old link after the new one opened. It is kept until the new link is ready and the old one
   * has no open requests.
   */
  #retired: Slot | undefined
  /** The link whose server asked the client to move, while it is the current link. */
  #leaving: Slot | undefined
  #moveTries = 0
  #attempt = 0
  /** Number of failures to open since the preferred transport last opened. */
  #openFailures = 0
  /** Number of attempts to return to the preferred transport since it last opened. */
  #preferredTries = 0
  #retryAfterMs: number | undefined
  #refusal: Extract<LinkEnd, { kind: 'revoked' | 'refused' }> | undefined
  #wokenAtMs = Number.NEGATIVE_INFINITY
  #cancelRetry: () => void = () => undefined
  #cancelMove: () => void = () => undefined
  #cancelPreferred: () => void = () => undefined
  #unwatch: () => void = () => undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#status = createCell<ConnectionStatus>({ state: 'idle' }, { onError: options.onError })
  }

  get status(): Observable<ConnectionStatus> {
    return this.#status
  }

  /** True while commands can be sent over the link. */
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
    if (this.#current !== undefined) this.#onEnd(this.#current, { kind: 'lost' })
  }

  /** Sends a command over the current link. */
  async request<Name extends EventCommandName>(name: Name, request: CommandRequest<Name>): Promise<CommandAck<Name>> {
    const slot = this.#current
    if (slot?.isOpen !== true) throw new ChorusError('unavailable', `unable to ${name}; there is no connection`)
    slot.underWay += 1
    try {
      return await slot.link.request(name, request)
    } finally {
      slot.underWay -= 1
      if (slot === this.#retired) this.#leaveRetired()
    }
  }

  #dispatch(event: ConnectionEvent): void {
    const from = this.#status.get().state
    const to = connectionTable[from][event]
    if (to === 'stay') return
    this.#enter(to, from, event)
  }

  #enter(to: StateName, from: StateName, event: ConnectionEvent): void {
    const { clock } = this.#options
    this.#cancelRetry()
    switch (to) {
      case 'idle':
        this.#closeAll()
        this.#generation += 1
        this.#attempt = 0
        this.#status.set({ state: 'idle' })
        return
      case 'connecting':
        // A move that lost its old link already has a new link on the way.
        if (event !== 'old-lost') {
          this.#closeAll()
          this.#prepare()
        }
        this.#status.set({ state: 'connecting', attempt: this.#attempt })
        return
      case 'replaying':
        this.#status.set({ state: 'replaying', transport: this.#currentName() })
        return
      case 'ready':
        this.#status.set({ state: 'ready', transport: this.#currentName() })
        return
      case 'moving':
        this.#status.set({ state: 'moving', transport: this.#currentName() })
        return
      case 'waiting': {
        this.#closeAll()
        if (!this.#options.signals.isOnline()) {
          this.#enter('offline', from, event)
          return
        }
        const retryInMs = backoffDelayMs(this.#attempt, clock, this.#retryAfterMs)
        this.#attempt += 1
        this.#retryAfterMs = undefined
        this.#cancelRetry = clock.after(retryInMs, () => this.#dispatch('retry-due'))
        this.#status.set({ state: 'waiting', attempt: this.#attempt, retryInMs })
        return
      }
      case 'offline':
        this.#closeAll()
        this.#cancelRetry = clock.after(backoffMaxMs * (0.5 + clock.random()), () => this.#dispatch('retry-due'))
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
    const preparing = this.#options.prepare(this.#openFailures > 0)
    if (preparing === undefined) {
      this.#current = this.#open(this.#pickTransport(), true)
      return
    }
    this.#generation += 1
    const generation = this.#generation
    const isMine = (): boolean => generation === this.#generation && this.#status.get().state === 'connecting'
    preparing.then(
      () => {
        if (isMine()) this.#current = this.#open(this.#pickTransport(), true)
      },
      (error: unknown) => {
        if (!isMine()) return
        const end: LinkEnd = error instanceof ChorusError ? toLinkEnd(error) : { kind: 'lost' }
        this.#onLost(end)
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

  #currentName(): TransportName {
    return this.#current?.transport.name ?? 'socket-io'
  }

  #closeAll(): void {
    this.#cancelMove()
    this.#cancelPreferred()
    for (const slot of [this.#current, this.#next, this.#retired]) this.#closeSlot(slot)
    this.#current = undefined
    this.#next = undefined
    this.#retired = undefined
    this.#leaving = undefined
  }

  #closeSlot(slot: Slot | undefined): void {
    slot?.cancelTimer()
    slot?.link.close()
  }

  /**
   * Returns the transport to try next. After repeated failures to open, it alternates between all
   * transports.
   */
  #pickTransport(): Transport {
    const { transports } = this.#options
    const [preferred, ...others] = transports
    if (preferred === undefined) throw new ChorusError('invalid', 'unable to connect; no transport is given')
    const beyond = this.#openFailures - failuresBeforeFallback
    if (beyond < 0 || others.length === 0) return preferred
    return transports[(beyond + 1) % transports.length] ?? preferred
  }

  #open(transport: Transport, isOldTrusted: boolean): Slot {
    this.#generation += 1
    const generation = this.#generation
    // Handlers may be called before `connect` returns. Then the link is not registered yet and the
    // call has no effect.
    const bySlot = (run: (slot: Slot) => void): void => {
      const slot = [this.#current, this.#next, this.#retired].find((one) => one?.generation === generation)
      if (slot !== undefined) run(slot)
    }
    const link = transport.connect(this.#options.cursor(), {
      onOpen: () => bySlot((slot) => this.#onOpen(slot)),
      onEvent: (event) => bySlot((slot) => this.#onEvent(slot, event)),
      onProgress: () =>
        bySlot((slot) => {
          if (slot.isOpen && slot.readyAtMs === undefined) this.#arm(slot, replayPauseMaxMs)
        }),
      onEnd: (end) => bySlot((slot) => this.#onEnd(slot, end)),
    })
    const slot: Slot = {
      generation,
      transport,
      link,
      isOpen: false,
      isOldTrusted,
      readyAtMs: undefined,
      closing: undefined,
      underWay: 0,
      cancelTimer: () => undefined,
    }
    this.#arm(slot, openTimeoutMs)
    return slot
  }

  #arm(slot: Slot, timeoutMs: number): void {
    slot.cancelTimer()
    slot.cancelTimer = this.#options.clock.after(timeoutMs, () => this.#onEnd(slot, { kind: 'lost' }))
  }

  #onOpen(slot: Slot): void {
    slot.isOpen = true
    this.#arm(slot, replayPauseMaxMs)
    if (slot.transport === this.#options.transports[0]) {
      this.#openFailures = 0
      this.#preferredTries = 0
    }
    if (slot === this.#next) {
      // From here on only the new link is read. It replays from the cursor everything that the old
      // link has not covered.
      this.#closeSlot(this.#retired)
      this.#retired = this.#current
      this.#retired?.cancelTimer()
      this.#current = slot
      this.#next = undefined
    } else this.#dispatch('opened')
  }

  #onEvent(slot: Slot, event: ServerEvent): void {
    if (slot !== this.#current) return
    if (slot.readyAtMs === undefined) this.#arm(slot, replayPauseMaxMs)
    switch (event.name) {
      case 'moving':
        this.#leaving = slot
        this.#moveTries = 0
        // Move in the middle of the given time. This leaves time for a second attempt, and clients
        // of one server spread out.
        this.#planMove(event.payload.inMs * (0.25 + this.#options.clock.random() / 2))
        return
      case 'closing':
        slot.closing = event.payload
        return
      case 'ready':
        slot.cancelTimer()
        slot.readyAtMs = this.#options.clock.now()
        if (this.#retired !== undefined) this.#arm(this.#retired, lastAnswersMs)
        this.#leaveRetired()
        this.#options.onEvent(event)
        this.#dispatch('ready')
        this.#planPreferred()
        // The server asked for the move during the replay or during another move.
        if (slot === this.#leaving) this.#planMove(backoffDelayMs(0, this.#options.clock))
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

  #onEnd(slot: Slot, reported: LinkEnd): void {
    const end = slot.closing === undefined ? reported : toLinkEnd(slot.closing)
    this.#closeSlot(slot)
    // A server that refuses with an error or a delay was reached, so this is not a failure to open.
    if (!slot.isOpen && (end.kind !== 'lost' || end.retryAfterMs === undefined)) this.#openFailures += 1
    if (slot === this.#retired) {
      this.#retired = undefined
      return
    }
    if (end.kind !== 'lost') {
      this.#onLost(end)
      return
    }
    if (slot === this.#next) {
      this.#next = undefined
      if (!slot.isOldTrusted) {
        if (end.retryAfterMs !== undefined) this.#retryAfterMs = end.retryAfterMs
        this.#dispatch('lost')
        return
      }
      this.#dispatch('move-failed')
      this.#planPreferred()
      // The load balancer may have led back to the server that is shutting down.
      if (this.#leaving === this.#current && this.#leaving !== undefined) {
        this.#planMove(backoffDelayMs(this.#moveTries, this.#options.clock, end.retryAfterMs))
        this.#moveTries += 1
      }
      return
    }
    if (slot !== this.#current) return
    if (end.retryAfterMs !== undefined) this.#retryAfterMs = end.retryAfterMs
    if (slot.readyAtMs !== undefined && this.#options.clock.now() - slot.readyAtMs >= stableAfterMs) this.#attempt = 0
    if (this.#next !== undefined) {
      this.#current = this.#next
      this.#next = undefined
      this.#dispatch('old-lost')
      return
    }
    this.#dispatch('lost')
  }

  /**
   * Schedules a move away from a server that asked for it. Does nothing if that link has been
   * closed by then.
   */
  #planMove(delayMs: number): void {
    this.#cancelMove()
    this.#cancelMove = this.#options.clock.after(delayMs, () => {
      if (this.#leaving !== undefined && this.#leaving === this.#current) this.#move(this.#pickTransport(), true)
    })
  }

  #leaveRetired(): void {
    if (this.#retired === undefined || this.#retired.underWay > 0 || this.#current?.readyAtMs === undefined) return
    this.#closeSlot(this.#retired)
    this.#retired = undefined
  }

  #move(transport: Transport, isOldTrusted: boolean): void {
    const { state } = this.#status.get()
    if (state === 'ready') this.#next = this.#open(transport, isOldTrusted)
    this.#dispatch('move')
  }

  /**
   * While on a fallback, schedules an attempt with the preferred transport. The working link stays
   * open during it.
   */
  #planPreferred(): void {
    const { clock, transports } = this.#options
    this.#cancelPreferred()
    const [preferred] = transports
    if (preferred === undefined || this.#current === undefined || this.#current.transport === preferred) return
    const delayMs = Math.min(preferredRetryMs, preferredFirstRetryMs * 10 ** this.#preferredTries)
    this.#cancelPreferred = clock.after(delayMs * (0.5 + clock.random()), () => {
      this.#preferredTries = Math.min(this.#preferredTries + 1, 8)
      this.#move(preferred, true)
    })
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
        // The link may be dead without noticing. Resume on a new link, and keep the old one only
        // until the new one opens.
        if (isReady) this.#next = this.#open(this.#pickTransport(), false)
        this.#dispatch(signal === 'online' ? 'network-back' : 'move')
        return
      }
    }
  }
}
