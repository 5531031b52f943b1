/**
 * Keeps one live link open: a state machine whose table the compiler forces to be complete. It reconnects with jittered
 * back-off and the newest cursor, falls back to Server-Sent Events where WebSocket does not open, and when the server asks
 * it to move opens the new link before it leaves the old one. Every link has a generation, and only the current one is
 * listened to: an old and a new link never both deliver.
 */
import {
  ChorusError,
  type CommandAck,
  type CommandRequest,
  type EventCommandName,
  type EventPayload,
  type ServerEvent,
} from '@chorus/protocol'
import type { ConnectionStatus, TransportName } from './api.ts'
import { backoffDelayMs, backoffMaxMs } from './backoff.ts'
import type { Clock } from './clock.ts'
import type { DeviceSignal, DeviceSignals } from './device-signals.ts'
import { type Cell, createCell, type Observable } from './observable.ts'
import { type LinkEnd, type Transport, type TransportLink, toLinkEnd } from './transport.ts'

/** How long a link may take to open. */
export const openTimeoutMs = 10_000
/** How long a replay may pause. */
export const replayPauseMaxMs = 30_000
/** A link that was ready for less does not count as success, so a server that closes at once is not stormed. */
export const stableAfterMs = 2_000
/** Failures to open the preferred transport before the next one is tried. */
export const failuresBeforeFallback = 3
/**
 * How long to stay on a fallback before the preferred transport is tried again (times 0.5 to 1.5): soon at first, since
 * the server may only have been restarting, then seldom.
 */
export const preferredFirstRetryMs = 3_000
export const preferredRetryMs = 300_000
/** How long the old link is kept after a move for answers that are still to come: no request waits longer. */
export const lastAnswersMs = 10_000
/** Signals to wake closer together than this are one. */
export const wakePauseMs = 5_000

type StateName = ConnectionStatus['state']

type Happening =
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

/** Where each happening leads; `stay` where it means nothing. */
export const connectionTable: { readonly [State in StateName]: { readonly [Name in Happening]: StateName | 'stay' } } =
  {
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
      // The server will close; then the resume continues elsewhere.
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
      // Some devices say that they are offline and are not.
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
  /** In order of preference; at least one. */
  readonly transports: readonly Transport[]
  readonly clock: Clock
  readonly signals: DeviceSignals
  /**
   * What has to be done before a link is opened (a first load, a look at the session); undefined when nothing has to.
   * A rejection counts like a link that was lost or refused.
   */
  readonly prepare: (isAfterFailure: boolean) => Promise<void> | undefined
  /** Everything up to here has been taken in; asked at each connect. */
  readonly cursor: () => string | undefined
  /** Events of the current link, in order, without those that are the connection's own business. */
  readonly onEvent: (event: ServerEvent) => void
  readonly onError?: (error: unknown) => void
}

interface Slot {
  readonly generation: number
  readonly transport: Transport
  readonly link: TransportLink
  isOpen: boolean
  /** May the link before it be relied on while this one opens? Not after a sleep. */
  readonly isOldTrusted: boolean
  readyAtMs: number | undefined
  closing: EventPayload<'closing'> | undefined
  /** Requests without an answer. */
  underWay: number
  cancelTimer: () => void
}

export class Connection {
  readonly #options: ConnectionOptions
  readonly #status: Cell<ConnectionStatus>
  #generation = 0
  #current: Slot | undefined
  /** The new link while moving, until it opens. */
  #next: Slot | undefined
  /** The old link after that, until the new one is ready and the old one has answered what it was asked. */
  #retired: Slot | undefined
  /** The link whose server is leaving, while it is the current one. */
  #leaving: Slot | undefined
  #moveTries = 0
  #attempt = 0
  /** Failures to open, since the preferred transport last did. */
  #openFailures = 0
  /** Tries to go back to the preferred transport, since it last opened. */
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

  /** True while commands can be asked over the link. */
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
    this.#happen('start')
  }

  stop(): void {
    this.#unwatch()
    this.#unwatch = () => undefined
    this.#happen('stop')
  }

  /** Leaves the link and connects again after a back-off, for instance when what it told cannot be used. */
  reconnect(): void {
    if (this.#current !== undefined) this.#onEnd(this.#current, { kind: 'lost' })
  }

  /** Asks a command over the current link. */
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

  #happen(happening: Happening): void {
    const from = this.#status.get().state
    const to = connectionTable[from][happening]
    if (to === 'stay') return
    this.#enter(to, from, happening)
  }

  #enter(to: StateName, from: StateName, happening: Happening): void {
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
        // The new link of a move that lost its old one is on its way already.
        if (happening !== 'old-lost') {
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
          this.#enter('offline', from, happening)
          return
        }
        const retryInMs = backoffDelayMs(this.#attempt, clock, this.#retryAfterMs)
        this.#attempt += 1
        this.#retryAfterMs = undefined
        this.#cancelRetry = clock.after(retryInMs, () => this.#happen('retry-due'))
        this.#status.set({ state: 'waiting', attempt: this.#attempt, retryInMs })
        return
      }
      case 'offline':
        this.#closeAll()
        this.#cancelRetry = clock.after(backoffMaxMs * (0.5 + clock.random()), () => this.#happen('retry-due'))
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
      this.#happen('lost')
    } else {
      this.#refusal = end
      this.#happen('refused')
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

  /** Falls back after some failures to open, and tries both in turn while neither opens. */
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
    // Handlers may be called before `connect` returns; the slot is found by its generation then.
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
      // From here on only the new link is listened to; it replays from the cursor what the old one has not covered.
      this.#closeSlot(this.#retired)
      this.#retired = this.#current
      this.#retired?.cancelTimer()
      this.#current = slot
      this.#next = undefined
    } else this.#happen('opened')
  }

  #onEvent(slot: Slot, event: ServerEvent): void {
    if (slot !== this.#current) return
    if (slot.readyAtMs === undefined) this.#arm(slot, replayPauseMaxMs)
    switch (event.name) {
      case 'moving':
        this.#leaving = slot
        this.#moveTries = 0
        // In the middle of that time, so that there is room for a second try, and those who were told the same spread out.
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
        this.#happen('ready')
        this.#planPreferred()
        // Asked while it was replaying, or while another move was under way.
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
    // A server that refuses in words has been reached.
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
        this.#happen('lost')
        return
      }
      this.#happen('move-failed')
      this.#planPreferred()
      // Perhaps the balancer led back to the server that is leaving.
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
      this.#happen('old-lost')
      return
    }
    this.#happen('lost')
  }

  /** Leaves the server that asked for it, unless that link has been left by then. */
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
    this.#happen('move')
  }

  /** On a fallback, tries the preferred transport again after a while, beside the link that works. */
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
        this.#happen('network-lost')
        return
      case 'online':
      case 'wake': {
        const nowMs = this.#options.clock.now()
        const isReady = this.#status.get().state === 'ready'
        if (isReady && nowMs - this.#wokenAtMs < wakePauseMs) return
        this.#wokenAtMs = nowMs
        this.#attempt = 0
        // The link may be dead without knowing: resume on a new one, and keep the old one only until that opens.
        if (isReady) this.#next = this.#open(this.#pickTransport(), false)
        this.#happen(signal === 'online' ? 'network-back' : 'move')
        return
      }
    }
  }
}
