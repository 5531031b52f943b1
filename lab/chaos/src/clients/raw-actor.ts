/**
 * A simulated client that does not use the Chorus client library. It keeps a cursor, reconnects
 * after a short random pause, resumes from the cursor, and sends with its own outbox. Its transport
 * is a `Wire`: Socket.IO over WebSocket or polling, or Server-Sent Events with POST.
 */
import type { EventPayload, ServerEvent } from '@chorus/protocol'
import { HttpUser } from '@chorus/testkit'
import type { Person, SessionSeed } from './person.ts'
import { cookieHeader } from './person.ts'
import type { Actor, ActorIdentity } from './actor.ts'
import { EventIntake } from './event-intake.ts'
import { readStart } from './http-calls.ts'
import { RawOutbox } from './raw-outbox.ts'
import type { OutgoingMessage } from './raw-outbox.ts'
import type { ConnectionIdentity, Outcome, Recorder } from './recorder.ts'
import { StreamPosition } from './stream-position.ts'

const retryMinMs = 100
const retryMaxMs = 800
/** Maximum time until a connection is ready. Then the client leaves it and reconnects. */
const readyTimeoutMs = 10_000

export interface WireHandlers {
  readonly onOpen: () => void
  readonly onEvent: (event: ServerEvent) => void
  /** Called exactly once when the connection ends, except when this client has closed it. */
  readonly onEnd: (why: string) => void
}

/** One connection to a server, over one kind of transport. */
export interface WireLink {
  send(message: OutgoingMessage): Promise<Outcome>
  watch?(users: readonly string[]): Promise<readonly { readonly user: string; readonly status: PresenceStatus }[]>
  /** Pauses or resumes reading from the connection. */
  pause(isPaused: boolean): void
  close(): void
}

type PresenceStatus = 'online' | 'away' | 'offline' | 'unknown'

export interface Wire {
  readonly kind: 'socket-io' | 'polling' | 'sse'
  connect(options: { readonly cookie: string; readonly cursor: string }, handlers: WireHandlers): WireLink
  /** Whether messages can be sent without an open connection. */
  readonly canSendWithoutLink: boolean
}

export interface RawActorOptions extends ActorIdentity {
  readonly url: string
  readonly recorder: Recorder
  readonly wire: Wire
  /** Ids of the users whose presence the client watches. */
  readonly watched?: readonly string[]
  /** Number of characters added to each message text. */
  readonly padChars?: number
}

export class RawActor implements Actor {
  readonly name: string
  readonly person: Person
  readonly session: SessionSeed
  readonly #options: RawActorOptions
  readonly #http: HttpUser
  readonly #outbox: RawOutbox
  readonly #position = new StreamPosition()
  #cursor: string | undefined
  #epoch = ''
  #link: WireLink | undefined
  #identity: ConnectionIdentity | undefined
  #generation = 0
  #isReady = false
  #isPaused = false
  /**
   * State of the client. `doomed` means that its session is being revoked: it keeps running until
   * the server or the workload closes it.
   */
  #state: 'new' | 'running' | 'doomed' | 'stopped' = 'new'
  #timer: NodeJS.Timeout | undefined
  #lastEnd = 'never connected'

  constructor(options: RawActorOptions) {
    this.#options = options
    this.name = options.name
    this.person = options.person
    this.session = options.session
    this.#http = HttpUser.stranger(options.url)
    this.#http.cookie = cookieHeader(options.session)
    this.#outbox = new RawOutbox({
      recorder: options.recorder,
      process: options.name,
      user: options.person.id,
      padChars: options.padChars ?? 0,
      attempt: (message) => this.#attempt(message),
    })
  }

  get waitingCount(): number {
    return this.#outbox.waitingCount
  }

  get isAttached(): boolean {
    return this.#state === 'running' && !this.#isPaused
  }

  get isReady(): boolean {
    return this.#isReady
  }

  async start(): Promise<void> {
    this.#state = 'running'
    this.#options.recorder.stream(this.name, 'attached')
    this.#connectLater(0)
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    if (this.isAttached) this.#options.recorder.stream(this.name, 'detached', true)
    this.#state = 'stopped'
    clearTimeout(this.#timer)
    this.#outbox.stop()
    this.#leave('stopped')
  }

  doom(): void {
    if (this.#state !== 'running') return
    if (this.isAttached) this.#options.recorder.stream(this.name, 'detached', true)
    this.#state = 'doomed'
  }

  send(conversation: string): boolean {
    return this.#state === 'running' && this.#outbox.add(conversation)
  }

  positionOf(conversation: string): number | undefined {
    return this.#position.of(conversation)
  }

  /**
   * Pauses or resumes reading. While reading is paused, the server may close the connection; the
   * client then resumes later.
   */
  pause(isPaused: boolean): void {
    if (this.#state !== 'running' || this.#isPaused === isPaused) return
    this.#isPaused = isPaused
    this.#options.recorder.stream(this.name, isPaused ? 'detached' : 'attached', ...(isPaused ? [true] : []))
    this.#link?.pause(isPaused)
    if (!isPaused && this.#link === undefined) this.#connectLater(0)
  }

  describe(): string {
    return `${this.name} (${this.#options.wire.kind}) ${this.#state}${this.#isReady ? ', ready' : `, not ready: ${this.#lastEnd}`}`
  }

  #connectLater(delayMs: number): void {
    clearTimeout(this.#timer)
    if (this.#state === 'new' || this.#state === 'stopped' || this.#isPaused) return
    this.#timer = setTimeout(() => {
      this.#connect().catch((error: unknown) => {
        this.#lastEnd = error instanceof Error ? error.message : String(error)
        this.#connectLater(retryDelayMs())
      })
    }, delayMs)
  }

  async #connect(): Promise<void> {
    const { recorder, wire, person, session } = this.#options
    let isFresh = false
    if (this.#cursor === undefined) {
      const start = await readStart(this.#http)
      this.#cursor = start.cursor
      this.#epoch = start.epoch
      for (const [conversation, seq] of start.tops) this.#position.reached(conversation, seq)
      isFresh = true
    }
    if (this.#state === 'stopped' || this.#isPaused) return
    this.#generation += 1
    const generation = this.#generation
    const isMine = (): boolean => generation === this.#generation
    const identity: ConnectionIdentity = {
      connection: `${this.name}#${generation}`,
      process: this.name,
      user: person.id,
      session: session.id,
    }
    this.#identity = identity
    recorder.observer({
      observer: identity.connection,
      stream: this.name,
      kind: wire.kind,
      process: this.name,
      user: person.id,
      session: session.id,
    })
    if (isFresh) recorder.rebase(identity.connection, 'start')
    const intake = new EventIntake(
      {
        recorder,
        position: this.#position,
        identity,
        onReady: () => this.#onReady(),
        onCursor: (cursor) => {
          this.#cursor = cursor
        },
        onReset: () => {
          this.#cursor = undefined
          this.#reconnect('reset')
        },
        onMoving: (inMs) => {
          setTimeout(() => {
            if (isMine()) this.#reconnect('moving', 0)
          }, Math.random() * inMs)
        },
        onClosing: (closing) => this.#onClosing(closing),
      },
      this.#epoch,
    )
    this.#timer = setTimeout(() => {
      if (isMine() && !this.#isReady) this.#reconnect('not ready in time')
    }, readyTimeoutMs)
    this.#link = wire.connect(
      { cookie: cookieHeader(session), cursor: this.#cursor },
      {
        onOpen: () => {
          if (isMine()) recorder.connection(identity, 'open')
        },
        onEvent: (event) => {
          if (!isMine()) return
          intake.take(event)
          this.#epoch = intake.epoch
        },
        onEnd: (why) => {
          if (isMine()) this.#reconnect(why)
        },
      },
    )
  }

  #onReady(): void {
    this.#isReady = true
    clearTimeout(this.#timer)
    this.#lastEnd = 'ready before'
    const { watched = [], recorder } = this.#options
    const connection = this.#identity?.connection
    if (watched.length === 0 || connection === undefined) return
    this.#link?.watch?.(watched).then(
      (presence) => {
        if (this.#identity?.connection !== connection) return
        for (const { user, status } of presence) recorder.presence(connection, user, status)
      },
      () => undefined,
    )
  }

  #onClosing({ code, retry }: EventPayload<'closing'>): void {
    this.#lastEnd = `closing ${code}`
    // A client with a revoked session cannot reconnect. The workload replaces it by another client.
    if (retry === 'never') void this.stop()
  }

  #reconnect(why: string, delayMs = retryDelayMs()): void {
    this.#leave(why)
    this.#connectLater(delayMs)
  }

  #leave(why: string): void {
    const link = this.#link
    this.#generation += 1
    this.#link = undefined
    this.#isReady = false
    this.#lastEnd = why
    if (this.#identity !== undefined) this.#options.recorder.connection(this.#identity, 'closed', { code: why })
    this.#identity = undefined
    link?.close()
  }

  async #attempt(message: OutgoingMessage): Promise<Outcome> {
    const link = this.#link
    if (link === undefined || (!this.#isReady && !this.#options.wire.canSendWithoutLink)) {
      return { type: 'fail', code: 'unavailable', isFinal: false }
    }
    return link.send(message)
  }
}

function retryDelayMs(): number {
  return retryMinMs + Math.random() * (retryMaxMs - retryMinMs)
}
