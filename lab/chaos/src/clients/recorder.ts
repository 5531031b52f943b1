/**
 * Converts what simulated clients see and do to events of the history, in the same form for every
 * kind of client.
 */
import type { Change } from '@chorus/protocol'
import { hashText, kindOf, nowMicros } from '../history/index.ts'
import type {
  ChangeFacts,
  ConnectionEvent,
  HistoryWriter,
  InvokeEvent,
  ObserverEvent,
  OkEvent,
  OperationName,
  PageResult,
  RebaseEvent,
} from '../history/index.ts'

/** Outcome of an operation: done, certainly not done, or unknown. */
export type Outcome =
  | { readonly type: 'ok'; readonly seq?: number; readonly isDuplicate?: boolean; readonly page?: PageResult }
  | { readonly type: 'fail'; readonly code: string; readonly isFinal: boolean; readonly retryAfterMs?: number }
  | { readonly type: 'info'; readonly code: string }

type WithoutIdentity<Event> = Event extends unknown ? Omit<Event, 't' | 'type' | 'id'> : never

export interface ConnectionIdentity {
  readonly connection: string
  readonly process: string
  readonly user: string
  readonly session: string
}

export class Recorder {
  readonly #writer: HistoryWriter
  acknowledgedSends = 0
  deliveries = 0
  infos = 0
  fails = 0

  constructor(writer: HistoryWriter) {
    this.#writer = writer
  }

  /**
   * Records the start of an operation and returns its id. A caller that records it late passes the
   * true start as `t`.
   */
  invoke(operation: WithoutIdentity<InvokeEvent>, t = nowMicros()): number {
    const id = this.#writer.nextId()
    this.#writer.write({ t, type: 'invoke', id, ...operation })
    return id
  }

  settle(op: OperationName, id: number, outcome: Outcome): void {
    const t = nowMicros()
    if (outcome.type === 'ok') {
      if (op === 'send') this.acknowledgedSends += 1
      const { seq, isDuplicate, page } = outcome
      const event: OkEvent = {
        t,
        type: 'ok',
        op,
        id,
        ...(seq !== undefined && { seq }),
        ...(isDuplicate === true && { isDuplicate }),
        ...(page !== undefined && { page }),
      }
      this.#writer.write(event)
      return
    }
    if (outcome.type === 'info') this.infos += 1
    else this.fails += 1
    this.#writer.write({ t, type: outcome.type, op, id, code: outcome.code })
  }

  observer(event: Omit<ObserverEvent, 't' | 'op'>): void {
    this.#writer.write({ t: nowMicros(), op: 'observer', ...event })
  }

  deliver(observer: string, epoch: string, conversation: string, change: Change): void {
    this.deliveries += 1
    this.#writer.write({ t: nowMicros(), op: 'deliver', observer, epoch, ...toFacts(conversation, change) })
  }

  rebase(observer: string, why: RebaseEvent['why'], conversation?: string, seq?: number): void {
    this.#writer.write({
      t: nowMicros(),
      op: 'rebase',
      observer,
      why,
      ...(conversation !== undefined && { conversation }),
      ...(seq !== undefined && { seq }),
    })
  }

  stream(stream: string, state: 'attached' | 'detached', isClean?: boolean): void {
    this.#writer.write({
      t: nowMicros(),
      op: 'stream',
      stream,
      state,
      ...(isClean !== undefined && { isClean }),
    })
  }

  connection(
    identity: ConnectionIdentity,
    state: ConnectionEvent['state'],
    more: { readonly server?: string; readonly code?: string } = {},
  ): void {
    this.#writer.write({ t: nowMicros(), op: 'connection', ...identity, state, ...more })
  }

  checkpoint(observer: string): void {
    this.#writer.write({ t: nowMicros(), op: 'checkpoint', observer })
  }

  live(observer: string, conversation: string, user: string, key: string): void {
    this.#writer.write({ t: nowMicros(), op: 'live', observer, conversation, user, key })
  }

  presence(connection: string, user: string, status: 'online' | 'away' | 'offline' | 'unknown'): void {
    this.#writer.write({ t: nowMicros(), op: 'presence', connection, user, status })
  }
}

function toFacts(conversation: string, change: Change): ChangeFacts {
  const kind = kindOf(change.type)
  const { seq } = change
  const plain = { conversation, seq, kind, target: seq, version: seq, hash: 0 }
  switch (change.type) {
    case 'skip':
      return { ...plain, actor: '', target: change.to }
    case 'message.created':
    case 'message.edited':
    case 'message.deleted': {
      const { message, actor } = change
      const hash = message.deletedAt === null ? hashText(message.text) : 0
      return { ...plain, actor, target: message.seq, version: message.version, hash }
    }
    case 'reaction.added':
    case 'reaction.removed':
      return { ...plain, actor: change.actor, target: change.target, hash: hashText(change.emoji) }
    case 'member.joined':
    case 'member.left':
    case 'member.updated':
      return { ...plain, actor: change.actor, hash: hashText(change.user) }
    default:
      return { ...plain, actor: change.actor }
  }
}
