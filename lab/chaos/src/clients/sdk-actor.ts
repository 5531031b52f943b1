/**
 * A simulated client that uses the client library (SDK) like an application: with one store and one
 * callback for changes. It hands each message to the library's outbox once and never sends it
 * again. The chaos test can restart it, kill it (its store keeps what was written), copy its store
 * for a second tab, share its store with a second tab, or delete its store.
 */
import { randomUUID } from 'node:crypto'
import { ChorusError, createChatClient, createMemoryStore } from '@chorus/client'
import type { ChangeNotice, ChatClient, ChatStore, ConnectionStatus, OutboxItem, TransportName } from '@chorus/client'
import { hashText, nowMicros } from '../history/index.ts'
import { cookieName } from './person.ts'
import type { Person, SessionSeed } from './person.ts'
import type { Actor, ActorIdentity } from './actor.ts'
import { copyStore, makeCrashable } from './crashable-store.ts'
import type { CrashableStore } from './crashable-store.ts'
import { toOutcome } from './http-calls.ts'
import { makeText } from './raw-outbox.ts'
import type { ConnectionIdentity, Outcome, Recorder } from './recorder.ts'
import { StreamPosition } from './stream-position.ts'

/**
 * Maximum number of waiting messages of one client. The library's outbox would accept a thousand.
 */
const waitingMax = 60

export interface SdkActorOptions extends ActorIdentity {
  readonly url: string
  readonly recorder: Recorder
  readonly transports: readonly TransportName[]
  readonly onProblem: (problem: string) => void
  /** Client whose store is copied as the initial store of this client. */
  readonly copyOf?: SdkActor
  /**
   * Client whose store this client shares, like two tabs of a browser. Call that client's
   * `shareStore()` first.
   */
  readonly sharesStoreOf?: SdkActor
}

type Change = 'edit' | 'delete' | 'react' | 'unreact'

export class SdkActor implements Actor {
  readonly name: string
  readonly person: Person
  readonly session: SessionSeed
  readonly #options: SdkActorOptions
  /** Operation ids of the messages in the outbox whose outcome is unknown, by clientId. */
  readonly #open: Map<string, number>
  /**
   * Messages of which another attempt may still reach a server: an earlier attempt, or one of a
   * client with a copy of the store. For these messages a refusal does not prove that they are not
   * stored.
   */
  readonly #maybeArriving: Set<string>
  #kept: ChatStore
  /** Whether a second client uses, or has used, the same store. */
  #isSharing: boolean
  #store: CrashableStore | undefined
  #client: ChatClient | undefined
  #position = new StreamPosition()
  #stream = ''
  #streamCount = 0
  #connectionCount = 0
  #identity: ConnectionIdentity | undefined
  #isRunning = false
  #isDoomed = false
  #isOver = false
  /**
   * Calls of `send` that have not returned. A simulated crash waits for them, so the store never
   * contains a message that the history lacks.
   */
  readonly #handingOver = new Set<Promise<void>>()

  constructor(options: SdkActorOptions) {
    this.#options = options
    // Two tabs with the same store also have the same outbox, so either tab may send a message and
    // get its response. So both use the same lists of messages without an outcome.
    const { sharesStoreOf } = options
    this.#open = sharesStoreOf === undefined ? new Map<string, number>() : sharesStoreOf.#open
    this.#maybeArriving = sharesStoreOf === undefined ? new Set<string>() : sharesStoreOf.#maybeArriving
    this.#kept = sharesStoreOf === undefined ? createMemoryStore() : sharesStoreOf.#kept
    this.#isSharing = sharesStoreOf !== undefined
    this.name = options.name
    this.person = options.person
    this.session = options.session
  }

  get waitingCount(): number {
    return this.#open.size
  }

  get isAttached(): boolean {
    return this.#isRunning && !this.#isOver && !this.#isDoomed
  }

  get isReady(): boolean {
    return this.#client?.connection.get().state === 'ready' || this.#client?.connection.get().state === 'moving'
  }

  async start(): Promise<void> {
    const { copyOf, sharesStoreOf, person } = this.#options
    if (sharesStoreOf !== undefined) {
      // A shared store already contains the account of the first client.
    } else if (copyOf !== undefined) {
      // The client with the copied store also sends the messages that wait in it, even after this
      // client's attempt was refused. Messages may be added during the copying, so this is noted
      // before and after it.
      copyOf.#noteOtherAttempts()
      // The copy contains each write of the original client completely or not at all.
      await copyStore(copyOf.#kept, this.#kept, person.id)
      copyOf.#noteOtherAttempts()
      this.#position = new StreamPosition()
    } else await this.#writeAccount()
    this.#beginStream()
    await this.#begin()
  }

  async stop(): Promise<void> {
    if (this.#isOver) return
    await this.#close(true)
    this.#isOver = true
  }

  doom(): void {
    if (!this.isAttached) return
    this.#isDoomed = true
    this.#options.recorder.stream(this.#stream, 'detached', true)
  }

  get isSharing(): boolean {
    return this.#isSharing
  }

  /** Restarts the client in a mode in which a second client may share its store. */
  async shareStore(): Promise<void> {
    if (!this.isAttached || this.#isSharing) return
    await this.#close(true)
    this.#isSharing = true
    await this.#beginAgain()
  }

  /** Closes the client and starts it again with the same store. */
  async restart(): Promise<void> {
    if (!this.isAttached) return
    await this.#close(true)
    await this.#beginAgain()
  }

  /**
   * Simulates a crash of the client and starts it again with the data that its store had received.
   */
  async crash(): Promise<void> {
    if (!this.isAttached) return
    await Promise.all(this.#handingOver)
    this.#store?.crash()
    await this.#close(false)
    await this.#beginAgain()
  }

  /**
   * Starts the client again. With a shared store it begins a new stream in the history, because
   * another tab may have moved the store's position.
   */
  async #beginAgain(): Promise<void> {
    // Keep the client's positions: if its user is removed from a conversation, no later change will
    // set the position again, and the run would wait for it.
    if (this.#isSharing) this.#beginStream()
    else this.#options.recorder.stream(this.#stream, 'attached')
    await this.#begin()
    if (this.#isSharing) this.#settleSentElsewhere()
  }

  /**
   * Records an unknown outcome for each message that is no longer in the shared outbox. Another tab
   * has received its acknowledgement, so this client gets no callback for it.
   */
  #settleSentElsewhere(): void {
    const waiting = new Set(this.#client?.outbox.get().map(({ clientId }) => clientId))
    for (const clientId of [...this.#open.keys()])
      if (!waiting.has(clientId)) this.#settle(clientId, { type: 'info', code: 'another tab' })
  }

  /**
   * Deletes the store. A new stream begins, and the outcome of waiting messages becomes unknown.
   */
  async loseStore(): Promise<void> {
    if (!this.isAttached) return
    await Promise.all(this.#handingOver)
    this.#store?.crash()
    await this.#close(false)
    for (const [clientId, id] of this.#open) {
      this.#options.recorder.settle('send', id, { type: 'info', code: 'gone' })
      this.#open.delete(clientId)
    }
    this.#kept = createMemoryStore()
    this.#position = new StreamPosition()
    await this.#writeAccount()
    this.#beginStream()
    await this.#begin()
  }

  send(conversation: string): boolean {
    const client = this.#usable()
    if (client === undefined || this.#open.size >= waitingMax) return false
    const text = makeText(randomUUID())
    const { recorder, person, name } = this.#options
    const process = this.#stream
    const t = nowMicros()
    const handed = client
      .conversation(conversation)
      .messages.send({ text })
      .then(
        ({ clientId, acknowledged }) => {
          const id = recorder.invoke(
            {
              op: 'send',
              process,
              user: person.id,
              conversation,
              clientId,
              hash: hashText(text),
              order: 'outbox',
            },
            t,
          )
          this.#open.set(clientId, id)
          acknowledged.then(
            ({ seq }) => this.#settle(clientId, { type: 'ok', seq }),
            (error: unknown) => this.#settle(clientId, toRefusal(error)),
          )
        },
        (error: unknown) => this.#options.onProblem(`${name} could not enqueue a message: ${String(error)}`),
      )
      .finally(() => this.#handingOver.delete(handed))
    this.#handingOver.add(handed)
    return true
  }

  /**
   * Returns the sequence number (seq) of a random visible message for an edit, deletion or
   * reaction: one of the client's own messages (`isMine`) or of another user.
   */
  pickMessage(conversation: string, isMine: boolean, chance: number): number | undefined {
    const items = this.#usable()?.conversation(conversation).messages.view.get().items ?? []
    const fitting = items.flatMap((item) =>
      item.kind === 'message' && item.isMine === isMine && item.message.deletedAt === null ? [item.message.seq] : [],
    )
    return fitting[Math.floor(chance * fitting.length)]
  }

  /** Edits, deletes or reacts to the message `target`, and records the outcome. */
  async change(op: Change, conversation: string, target: number): Promise<void> {
    const client = this.#usable()
    if (client === undefined) return
    const { recorder, person } = this.#options
    const { messages } = client.conversation(conversation)
    const base = { process: this.#stream, user: person.id, conversation, target }
    const text = makeText(randomUUID())
    const id = op === 'edit' ? recorder.invoke({ op, ...base, hash: hashText(text) }) : recorder.invoke({ op, ...base })
    const run = (): Promise<void> => {
      switch (op) {
        case 'edit':
          return messages.edit(target, text)
        case 'delete':
          return messages.delete(target)
        case 'react':
          return messages.react(target, '👍')
        case 'unreact':
          return messages.unreact(target, '👍')
      }
    }
    await run().then(
      () => recorder.settle(op, id, { type: 'ok' }),
      (error: unknown) => recorder.settle(op, id, toRefusal(error)),
    )
  }

  markRead(conversation: string): void {
    this.#usable()
      ?.conversation(conversation)
      .markRead()
      .catch(() => undefined)
  }

  type(conversation: string): void {
    this.#usable()?.conversation(conversation).typing.start()
  }

  positionOf(conversation: string): number | undefined {
    const reached = this.#position.of(conversation)
    // Before the first callback, use the position from the first load or from the store.
    return reached ?? this.#client?.conversations.get().find(({ id }) => id === conversation)?.seq
  }

  describe(): string {
    const status = this.#client?.connection.get()
    const data = this.#client?.data.get() ?? 'none'
    return `${this.name} (sdk) ${this.isAttached ? 'running' : 'over'}, connection ${JSON.stringify(status)}, data ${data}, ${this.#open.size} waiting`
  }

  /** Returns the library's client while it is running and signed in; otherwise undefined. */
  #usable(): ChatClient | undefined {
    const client = this.#client
    return this.isAttached && client?.session.get().status === 'signed-in' ? client : undefined
  }

  async #writeAccount(): Promise<void> {
    const { id, handle } = this.person
    await this.#kept.writeAccount({
      user: { id, handle, name: handle, avatar: null, bot: false },
      cookies: { [cookieName]: this.session.cookieValue },
    })
  }

  /**
   * Begins a new stream in the history, with a new process name. So the checker expects no order
   * between messages sent before and after this point.
   */
  #beginStream(): void {
    const { recorder, person, session, name } = this.#options
    this.#streamCount += 1
    this.#stream = this.#streamCount === 1 ? name : `${name}/${this.#streamCount}`
    recorder.observer({
      observer: this.#stream,
      stream: this.#stream,
      kind: 'sdk',
      process: this.#stream,
      user: person.id,
      session: session.id,
    })
    recorder.rebase(this.#stream, 'start')
    recorder.stream(this.#stream, 'attached')
  }

  async #begin(): Promise<void> {
    const { url, transports, recorder, onProblem } = this.#options
    const store = makeCrashable(this.#kept, this.#isSharing)
    const client = createChatClient({
      url,
      store,
      transports,
      userAgent: `chaos ${this.name}`,
      onError: (error) => {
        // The chaos test breaks the network on purpose, so report only other errors.
        if (!(error instanceof ChorusError)) onProblem(`${this.name}: ${String(error)}`)
      },
    })
    this.#store = store
    this.#client = client
    this.#isRunning = true
    const isMine = (): boolean => this.#client === client && this.#isRunning
    client.onChange((notice) => {
      if (isMine()) this.#onChange(notice)
    })
    client.onLimited(({ conversation, seq }) => {
      if (!isMine()) return
      recorder.rebase(this.#stream, 'limited', conversation, seq)
      this.#position.reached(conversation, seq)
    })
    client.outbox.subscribe(() => {
      if (isMine()) this.#onOutbox(client.outbox.get())
    })
    client.connection.subscribe(() => {
      if (isMine()) this.#onConnection(client.connection.get())
    })
    client.session.subscribe(() => {
      const state = client.session.get()
      if (isMine() && state.status === 'signed-out' && state.reason === 'revoked') this.#onRevoked()
    })
    await client.start()
  }

  async #close(isClean: boolean): Promise<void> {
    const client = this.#client
    this.#isRunning = false
    // The client gets no response to a message that it is sending now.
    this.#noteOtherAttempts()
    this.#closeConnection('stopped')
    if (!this.#isDoomed) this.#options.recorder.stream(this.#stream, 'detached', isClean)
    this.#client = undefined
    await client?.stop()
  }

  #onChange({ epoch, conversation, change }: ChangeNotice): void {
    this.#options.recorder.deliver(this.#stream, epoch, conversation, change)
    this.#position.reached(conversation, change.type === 'skip' ? change.to : change.seq)
    // The delivery of the client's own message proves that it is stored, even if the
    // acknowledgement is lost.
    if (change.type === 'message.created' && change.message.sender === this.person.id)
      this.#settle(change.message.clientId, { type: 'ok', seq: change.message.seq })
  }

  #onOutbox(items: readonly OutboxItem[]): void {
    for (const { clientId, status } of items) {
      if (status.state === 'acknowledged') this.#settle(clientId, { type: 'ok', seq: status.seq })
      else if (status.state === 'failed') this.#settle(clientId, this.#toRefusal(clientId, status.error.code))
      else if (status.attempts > 0) this.#maybeArriving.add(clientId)
    }
  }

  /**
   * Records that the server may already have stored every waiting message. So a later refusal of a
   * message does not prove that it is not stored.
   */
  #noteOtherAttempts(): void {
    for (const clientId of this.#open.keys()) this.#maybeArriving.add(clientId)
  }

  #toRefusal(clientId: string, code: string): Outcome {
    return this.#maybeArriving.has(clientId) ? { type: 'info', code } : toOutcome(code)
  }

  #settle(clientId: string, outcome: Outcome): void {
    const id = this.#open.get(clientId)
    if (id === undefined) return
    this.#open.delete(clientId)
    this.#maybeArriving.delete(clientId)
    this.#options.recorder.settle('send', id, outcome)
  }

  #onConnection(status: ConnectionStatus): void {
    switch (status.state) {
      case 'replaying':
        this.#openConnection()
        return
      case 'ready':
        // A listener gets only the last of several states within one turn of the event loop, so the
        // state `replaying` may be missing.
        this.#options.recorder.connection(this.#openConnection(), 'ready')
        return
      case 'moving':
        if (this.#identity !== undefined) this.#options.recorder.connection(this.#identity, 'moving')
        return
      case 'idle':
      case 'connecting':
      case 'waiting':
      case 'offline':
      case 'closed':
        this.#closeConnection(status.state)
    }
  }

  #openConnection(): ConnectionIdentity {
    if (this.#identity !== undefined) return this.#identity
    this.#connectionCount += 1
    this.#identity = {
      connection: `${this.name}#${this.#connectionCount}`,
      process: this.#stream,
      user: this.person.id,
      session: this.session.id,
    }
    this.#options.recorder.connection(this.#identity, 'open')
    return this.#identity
  }

  #closeConnection(code: string): void {
    if (this.#identity === undefined) return
    this.#options.recorder.connection(this.#identity, 'closed', { code })
    this.#identity = undefined
  }

  #onRevoked(): void {
    if (!this.#isDoomed) this.#options.recorder.stream(this.#stream, 'detached', true)
    this.#isOver = true
    this.#closeConnection('revoked')
    for (const [clientId, id] of this.#open) {
      this.#options.recorder.settle('send', id, { type: 'info', code: 'gone' })
      this.#open.delete(clientId)
    }
    this.#client?.stop().catch((error: unknown) => this.#options.onProblem(String(error)))
  }
}

function toRefusal(error: unknown): Outcome {
  if (error instanceof ChorusError) return toOutcome(error.code)
  return { type: 'info', code: 'error' }
}
