/**
 * The whole history of a run in memory, indexed for the checker's rules: sent messages by identity,
 * log rows by conversation, deliveries as columns. Built in one pass over the events, in any order
 * of the files. Nothing is judged here.
 */
import {
  type ChangeFacts,
  type CheckpointEvent,
  type ConnectionEvent,
  type ConversationEvent,
  type DeliverEvent,
  type FaultEvent,
  type HistoryEvent,
  type InvokeEvent,
  type LiveEvent,
  type Micros,
  type NotOkEvent,
  type ObserverEvent,
  type OkEvent,
  type PageInvoke,
  type PageResult,
  type PhaseEvent,
  type PresenceEvent,
  readHistory,
  type RebaseEvent,
  type RedisKeysEvent,
  type ResourcesEvent,
  type RunEvent,
  type SendInvoke,
  type ServerEvent,
  type StallEvent,
  type StreamEvent,
} from '../history/index.ts'
import { Deliveries, Names } from './columns.ts'

export type Placed<Event> = Event & { readonly file: number; readonly line: number }

/** Recorded outcome of an operation. An operation without one has undefined instead. */
export interface Outcome {
  readonly type: 'ok' | 'fail' | 'info'
  readonly t: Micros
  readonly seq: number | undefined
  readonly isDuplicate: boolean
  readonly code: string
}

export interface Attempt {
  readonly t: Micros
  readonly process: string
  readonly order: SendInvoke['order']
  readonly connection: string | undefined
  readonly file: number
  readonly line: number
  outcome: Outcome | undefined
}

/** One message that a client wanted to send, with all its attempts. */
export interface LogicalSend {
  readonly clientId: string
  readonly user: string
  readonly conversation: string
  readonly hash: number
  /** Attempts to send the message, in the order of the history. */
  readonly attempts: Attempt[]
  row: Row | undefined
}

/** Any operation other than sending a message. */
export interface Operation {
  readonly invoke: Placed<Exclude<InvokeEvent, SendInvoke>>
  outcome: Outcome | undefined
  /** Id of the created conversation; set only for `create`. */
  conversation: string | undefined
}

/** A page of messages that a client received. */
export interface Page {
  readonly invoke: Placed<PageInvoke>
  readonly t: Micros
  readonly page: PageResult
  readonly file: number
  readonly line: number
}

export interface Row extends ChangeFacts {
  readonly clientId: string
  readonly member: string
  readonly file: number
  readonly line: number
}

/**
 * A client's announced jump to another position (rebase), or its start or stop. Contains the number
 * of deliveries that were read before it.
 */
export interface StreamMark {
  readonly event: Placed<RebaseEvent> | Placed<StreamEvent>
  readonly deliveriesBefore: number
}

export class History {
  readonly names = new Names()
  readonly deliveries = new Deliveries()
  /** Sent messages, by the key that {@link sendKey} returns. */
  readonly sends = new Map<string, LogicalSend>()
  readonly operations: Operation[] = []
  readonly pages: Page[] = []
  /** Log rows by conversation, in the order in which they were read from the database. */
  readonly rows = new Map<string, Row[]>()
  rowCount = 0
  readonly conversations = new Map<string, Placed<ConversationEvent>>()
  readonly observers = new Map<string, Placed<ObserverEvent>>()
  readonly marks: StreamMark[] = []
  readonly connections: Placed<ConnectionEvent>[] = []
  readonly checkpoints: Placed<CheckpointEvent>[] = []
  readonly lives: Placed<LiveEvent>[] = []
  readonly presences: Placed<PresenceEvent>[] = []
  readonly faults: Placed<FaultEvent>[] = []
  readonly servers: Placed<ServerEvent>[] = []
  readonly resources: Placed<ResourcesEvent>[] = []
  readonly redisKeys: Placed<RedisKeysEvent>[] = []
  readonly phases: Placed<PhaseEvent>[] = []
  readonly stalls: Placed<StallEvent>[] = []
  run: RunEvent | undefined
  events = 0
  firstT = Number.POSITIVE_INFINITY
  lastT = 0
  files: readonly string[] = []
  readonly #pending = new Map<number, Attempt | Operation>()

  /** Adds one event. The caller must call `finish` after the last event. */
  add(event: HistoryEvent, file: number, line: number): void {
    this.events += 1
    // Skip the run's settings and the final rows: their times do not belong to the run.
    if (event.op !== 'run' && event.op !== 'row' && event.op !== 'conversation') {
      if (event.t < this.firstT) this.firstT = event.t
      if (event.t > this.lastT) this.lastT = event.t
    }
    if ('type' in event) {
      if (event.type === 'invoke') this.#addInvoke(event, file, line)
      else this.#addOutcome(event, file, line)
      return
    }
    const place = { file, line }
    switch (event.op) {
      case 'deliver':
        this.#addDelivery(event, file, line)
        return
      case 'row': {
        const rows = this.rows.get(event.conversation)
        const row: Row = { ...event, ...place }
        if (rows === undefined) this.rows.set(event.conversation, [row])
        else rows.push(row)
        this.rowCount += 1
        return
      }
      case 'conversation':
        this.conversations.set(event.conversation, { ...event, ...place })
        return
      case 'observer':
        // The client library's store declares itself again after each restart, so keep only the
        // first declaration.
        if (!this.observers.has(event.observer)) this.observers.set(event.observer, { ...event, ...place })
        return
      case 'rebase':
      case 'stream':
        this.marks.push({ event: { ...event, ...place }, deliveriesBefore: this.deliveries.length })
        return
      case 'connection':
        this.connections.push({ ...event, ...place })
        return
      case 'checkpoint':
        this.checkpoints.push({ ...event, ...place })
        return
      case 'live':
        this.lives.push({ ...event, ...place })
        return
      case 'presence':
        this.presences.push({ ...event, ...place })
        return
      case 'fault':
        this.faults.push({ ...event, ...place })
        return
      case 'server':
        this.servers.push({ ...event, ...place })
        return
      case 'resources':
        this.resources.push({ ...event, ...place })
        return
      case 'redis-keys':
        this.redisKeys.push({ ...event, ...place })
        return
      case 'stall':
        this.stalls.push({ ...event, ...place })
        return
      case 'phase':
        this.phases.push({ ...event, ...place })
        return
      case 'run':
        this.run = event
        return
    }
  }

  /** Joins data of different files: assigns log rows to sent messages, and sorts lists by time. */
  finish(files: readonly string[]): void {
    this.files = files
    this.#pending.clear()
    for (const rows of this.rows.values()) {
      rows.sort((left, right) => left.seq - right.seq)
      for (const row of rows) {
        if (row.kind !== 'c' || row.clientId === '') continue
        const send = this.sends.get(sendKey(row.actor, row.conversation, row.clientId))
        // The first row is the message. Rule A4 reports a second row with the same identity.
        if (send !== undefined) send.row ??= row
      }
    }
    const byTime = (left: { readonly t: Micros }, right: { readonly t: Micros }) => left.t - right.t
    for (const list of [this.connections, this.presences, this.faults, this.phases]) list.sort(byTime)
  }

  /** Time at which the `quiet` phase began; without such a phase, the end of the history. */
  get quietT(): Micros {
    return this.phases.find(({ phase }) => phase === 'quiet')?.t ?? this.lastT
  }

  placeOf({ file, line }: { readonly file: number; readonly line: number }): string {
    return `${this.files[file] ?? '?'}:${line}`
  }

  secondsOf(t: Micros): number {
    return Math.round((t - this.firstT) / 1_000) / 1_000
  }

  #addDelivery(event: DeliverEvent, file: number, line: number): void {
    this.deliveries.push({
      t: event.t,
      observer: this.names.idOf(event.observer),
      epoch: this.names.idOf(event.epoch),
      conversation: this.names.idOf(event.conversation),
      seq: event.seq,
      kind: event.kind,
      actor: this.names.idOf(event.actor),
      target: event.target,
      version: event.version,
      hash: event.hash,
      file,
      line,
    })
  }

  #addInvoke(event: InvokeEvent, file: number, line: number): void {
    if (event.op !== 'send') {
      const operation: Operation = { invoke: { ...event, file, line }, outcome: undefined, conversation: undefined }
      // Page requests are so many that they are kept only if a response arrived.
      if (event.op !== 'page') this.operations.push(operation)
      this.#pending.set(event.id, operation)
      return
    }
    const attempt: Attempt = {
      t: event.t,
      process: event.process,
      order: event.order,
      connection: event.connection,
      file,
      line,
      outcome: undefined,
    }
    this.#pending.set(event.id, attempt)
    const key = sendKey(event.user, event.conversation, event.clientId)
    const known = this.sends.get(key)
    if (known !== undefined) known.attempts.push(attempt)
    else {
      const { clientId, user, conversation, hash } = event
      this.sends.set(key, { clientId, user, conversation, hash, attempts: [attempt], row: undefined })
    }
  }

  #addOutcome(event: OkEvent | NotOkEvent, file: number, line: number): void {
    const pending = this.#pending.get(event.id)
    if (pending === undefined) return
    this.#pending.delete(event.id)
    const isOk = event.type === 'ok'
    pending.outcome = {
      type: event.type,
      t: event.t,
      seq: isOk ? event.seq : undefined,
      isDuplicate: isOk && event.isDuplicate === true,
      code: isOk ? '' : event.code,
    }
    if (!isOk || !('invoke' in pending)) return
    pending.conversation = event.conversation
    if (event.page !== undefined && pending.invoke.op === 'page') {
      this.pages.push({ invoke: pending.invoke, t: event.t, page: event.page, file, line })
    }
  }
}

/**
 * Returns the key of a sent message. It has the same parts as the unique key in the database
 * (IDEM1).
 */
export function sendKey(user: string, conversation: string, clientId: string): string {
  return `${clientId} ${user} ${conversation}`
}

/** Loads the history of a run from its folder. */
export function loadHistory(folder: string): History {
  const history = new History()
  const { files } = readHistory(folder, (event, file, line) => history.add(event, file, line))
  history.finish(files)
  return history
}

/** Builds a history from a list of events, as if they came from one file. */
export function toHistory(events: readonly HistoryEvent[]): History {
  const history = new History()
  events.forEach((event, index) => history.add(event, 0, index + 1))
  history.finish(['events'])
  return history
}
