/**
 * The events of a history: everything that a run observed, one plain object per event. Drivers
 * write them and the checker reads them; neither imports the other. An event records an observation
 * and no judgement: verdicts are the checker's work.
 *
 * Three terms extend the glossary of the spec. *Process*: one logical client in Jepsen's sense (an
 * SDK client or a raw client). It may have several connections and may be restarted. *Stream*: the
 * log as one consumer sees it, across reconnections and restarts: an SDK store, or a raw client
 * that resumes by cursor. *Observer*: a place where changes arrive. For the SDK it is the stream
 * itself (its callback), for a raw client each connection. A stream has one or more observers; an
 * observer belongs to one stream.
 *
 * Texts are unique within a run (they contain their clientId), so a text's hash identifies one send
 * or one edit.
 */

/**
 * Microseconds of the machine's monotonic clock. Only comparable between processes of one machine.
 */
export type Micros = number

/**
 * Operations that a client can request. A timeout is recorded as `info`: the operation may have
 * happened.
 */
export type OperationName =
  | 'send'
  | 'edit'
  | 'delete'
  | 'react'
  | 'unreact'
  | 'read-marker'
  | 'page'
  | 'create'
  | 'member-add'
  | 'member-remove'
  | 'revoke'

interface InvokeBase {
  readonly t: Micros
  readonly type: 'invoke'
  /**
   * Number that joins an operation's invoke to its outcome. Unique within the file; the reader
   * makes it unique within the history.
   */
  readonly id: number
  readonly process: string
  readonly user: string
}

/**
 * One attempt to send. Retries inside the SDK's outbox count as one attempt. When a raw client
 * retries, it writes another invoke with the same clientId.
 */
export interface SendInvoke extends InvokeBase {
  readonly op: 'send'
  readonly conversation: string
  readonly clientId: string
  readonly hash: number
  /**
   * Order that the sender may rely on. `outbox`: the process sends one message at a time per
   * conversation, so all its sends keep their order (ORD2). `connection`: the process sends on
   * `connection` without waiting; only first attempts on the same connection keep their order.
   * `none`: no order is promised.
   */
  readonly order: 'outbox' | 'connection' | 'none'
  readonly connection?: string
}

export interface EditInvoke extends InvokeBase {
  readonly op: 'edit'
  readonly conversation: string
  readonly target: number
  readonly hash: number
}

export interface TargetInvoke extends InvokeBase {
  readonly op: 'delete' | 'react' | 'unreact' | 'read-marker'
  readonly conversation: string
  readonly target: number
}

/** Request for a page of history, made as `user`. */
export interface PageInvoke extends InvokeBase {
  readonly op: 'page'
  readonly conversation: string
  /** Session that made the request. Set only in runs with revocations. */
  readonly session?: string
  /**
   * Set for reads at the end of the run, after all faults are healed and all is quiet. `client`:
   * read by a client that lived through the run. `fresh`: read by a new client.
   */
  readonly final?: 'client' | 'fresh'
}

export interface CreateInvoke extends InvokeBase {
  readonly op: 'create'
  /** Members other than `user`. */
  readonly members: readonly string[]
}

export interface MemberInvoke extends InvokeBase {
  readonly op: 'member-add' | 'member-remove'
  readonly conversation: string
  readonly member: string
}

export interface RevokeInvoke extends InvokeBase {
  readonly op: 'revoke'
  readonly session: string
}

export type InvokeEvent =
  | SendInvoke
  | EditInvoke
  | TargetInvoke
  | PageInvoke
  | CreateInvoke
  | MemberInvoke
  | RevokeInvoke

/** One message of a page. */
export interface PageItem {
  readonly seq: number
  readonly version: number
  readonly sender: string
  /** Hash of the message's current text; 0 when the message is deleted. */
  readonly hash: number
}

export interface PageResult {
  /** Highest seq of the log that the page reflects. */
  readonly top: number
  readonly hasBefore: boolean
  readonly hasAfter: boolean
  /** Messages in seq order. */
  readonly items: readonly PageItem[]
}

export interface OkEvent {
  readonly t: Micros
  readonly type: 'ok'
  readonly op: OperationName
  readonly id: number
  /**
   * Seq of the change. Set for send, edit, delete, react and unreact, and for member changes whose
   * response names it.
   */
  readonly seq?: number
  readonly isDuplicate?: boolean
  /** Id of the new conversation; only for `create`. */
  readonly conversation?: string
  /** The page; only for `page`. */
  readonly page?: PageResult
}

export interface NotOkEvent {
  readonly t: Micros
  /**
   * `fail`: the operation was certainly not done. `info`: its outcome is unknown, because it timed
   * out or the process ended.
   */
  readonly type: 'fail' | 'info'
  readonly op: OperationName
  readonly id: number
  /** Code from the error catalogue, or `timeout` or `gone`. */
  readonly code: string
}

/** One letter per type of change, as rows and deliveries store it. */
const changeKinds = {
  'message.created': 'c',
  'message.edited': 'e',
  'message.deleted': 'd',
  'reaction.added': '+',
  'reaction.removed': '-',
  'member.joined': 'j',
  'member.left': 'l',
  'member.updated': 'u',
  'conversation.created': 'n',
  'conversation.updated': 'o',
  skip: 's',
} as const

/** Kind of the types that no workload produces, so that no rule judges them. */
const otherKind = '?'

export type ChangeKind = (typeof changeKinds)[keyof typeof changeKinds] | typeof otherKind

export function kindOf(type: string): ChangeKind {
  return Object.hasOwn(changeKinds, type) ? changeKinds[type as keyof typeof changeKinds] : otherKind
}

/** Parts of a change that the checker compares. */
export interface ChangeFacts {
  readonly conversation: string
  readonly seq: number
  readonly kind: ChangeKind
  /** User who made the change; empty for `skip`. */
  readonly actor: string
  /**
   * Seq that the change refers to. For e, d, + and -: the message's seq. For s: `from` (its own seq
   * is its `to`). For other kinds: the change's own seq.
   */
  readonly target: number
  /**
   * For c, e and d: version of the message that came with the change. For other kinds: the change's
   * own seq.
   */
  readonly version: number
  /**
   * Hash of the content. For c and e: the message's text, 0 when deleted. For + and -: the emoji.
   * For j, l and u: the user's id. For other kinds: 0.
   */
  readonly hash: number
}

/**
 * A change that reached an observer, through the SDK's callback or a frame on a raw connection.
 * Most events of a history are deliveries.
 */
export interface DeliverEvent extends ChangeFacts {
  readonly t: Micros
  readonly op: 'deliver'
  readonly observer: string
  readonly epoch: string
}

/** Declaration of an observer. Written before the observer's first delivery. */
export interface ObserverEvent {
  readonly t: Micros
  readonly op: 'observer'
  readonly observer: string
  readonly stream: string
  readonly kind: 'sdk' | 'socket-io' | 'polling' | 'sse' | 'sync'
  readonly process: string
  readonly user: string
  readonly session: string
}

/**
 * Instruction to an observer to continue after `seq` in this conversation: after `limited`, after a
 * join or rejoin, or after the first page. Without `seq`, the next delivery may have any seq; with
 * it, the next must be seq + 1. Without a conversation, the observer forgets all positions (reset,
 * or a start without a cursor).
 */
export interface RebaseEvent {
  readonly t: Micros
  readonly op: 'rebase'
  readonly observer: string
  readonly conversation?: string
  readonly seq?: number
  readonly why: 'limited' | 'joined' | 'left' | 'reset' | 'start'
}

/**
 * Whether the workload expects this stream to receive changes. `detached` means that the workload
 * stopped its client, paused its connection or revoked its session. Only attached streams must
 * catch up. At a detach, `isClean` false means that the process died without writing its store. Its
 * callback may then repeat changes that the store had not saved.
 */
export interface StreamEvent {
  readonly t: Micros
  readonly op: 'stream'
  readonly stream: string
  readonly state: 'attached' | 'detached'
  readonly isClean?: boolean
}

/** State of a connection, as its client sees it. */
export interface ConnectionEvent {
  readonly t: Micros
  readonly op: 'connection'
  readonly connection: string
  readonly process: string
  readonly user: string
  readonly session: string
  readonly state: 'open' | 'ready' | 'reset' | 'moving' | 'closing' | 'closed'
  /** Name of the server; only at `ready`. */
  readonly server?: string
  /** Code that came with `closing` or `closed`. */
  readonly code?: string
}

/**
 * A checkpoint that reached a raw connection. A resume from it must include everything after it.
 */
export interface CheckpointEvent {
  readonly t: Micros
  readonly op: 'checkpoint'
  readonly observer: string
}

/** A live value that arrived. */
export interface LiveEvent {
  readonly t: Micros
  readonly op: 'live'
  readonly observer: string
  readonly conversation: string
  readonly user: string
  readonly key: string
}

/**
 * A user's presence, as a watcher received it. It holds until the next presence event, or until the
 * watcher's connection is no longer ready.
 */
export interface PresenceEvent {
  readonly t: Micros
  readonly op: 'presence'
  /** Connection that received the presence. */
  readonly connection: string
  readonly user: string
  readonly status: 'online' | 'away' | 'offline' | 'unknown'
}

/** Start of a fault (recorded just before it takes effect), or its healing. */
export interface FaultEvent {
  readonly t: Micros
  readonly op: 'fault'
  readonly id: number
  /** Number of the fault in the plan: `F1` … `F21`. */
  readonly kind: string
  readonly name: string
  readonly phase: 'start' | 'heal'
  readonly targets: readonly string[]
  /** Parts that the fault takes away. Some bounds in time depend on it. */
  readonly affects: readonly ('server' | 'redis' | 'postgres' | 'client' | 'clock')[]
  /** Maximum time from healing until every attached stream has caught up. */
  readonly boundMs: number
}

/** A finding in a server's log or about its process. */
export interface ServerEvent {
  readonly t: Micros
  readonly op: 'server'
  readonly server: string
  /**
   * `scanned`: the server's whole log was read, and it has `lines` lines. The other values are
   * findings; `expected-exit` is an exit that a fault caused.
   */
  readonly what: 'scanned' | 'unhandled-rejection' | 'uncaught-exception' | 'unexpected-exit' | 'expected-exit'
  readonly lines?: number
  readonly text?: string
}

/**
 * Memory and open files of a part. The checker compares `quiet` (after healing, without load) with
 * `baseline` (after warm-up) of the same pid.
 */
export interface ResourcesEvent {
  readonly t: Micros
  readonly op: 'resources'
  readonly part: string
  readonly pid: number
  readonly phase: 'baseline' | 'during' | 'quiet'
  readonly rssBytes: number
  readonly fds: number
}

/**
 * Number of our Redis keys that lack an expiry though they should have one, with samples, and how
 * many keys were scanned.
 */
export interface RedisKeysEvent {
  readonly t: Micros
  readonly op: 'redis-keys'
  readonly redis: string
  readonly scanned: number
  readonly withoutExpiry: number
  readonly samples: readonly string[]
}

/**
 * One row of the log, read by SQL after the run went quiet. For a message row, `hash` is of the
 * current text.
 */
export interface RowEvent extends ChangeFacts {
  readonly t: Micros
  readonly op: 'row'
  /** Empty if the row has no clientId. */
  readonly clientId: string
  /** For j, l and u: the user that the row concerns. Otherwise empty. */
  readonly member: string
}

/** A conversation's counter and members, read by SQL together with the rows. */
export interface ConversationEvent {
  readonly t: Micros
  readonly op: 'conversation'
  readonly conversation: string
  readonly seq: number
  readonly members: readonly string[]
}

/**
 * A pause of the driver's own event loop: the machine paused, or other processes took the CPU.
 * Delays during the pause are not the servers' fault. The history writer records it.
 */
export interface StallEvent {
  /** Time at which the event loop resumed. */
  readonly t: Micros
  readonly op: 'stall'
  readonly lateMs: number
}

/**
 * Start of a phase of the run. `quiet`: all faults are healed, sending has stopped, and every
 * attached stream had its time to catch up.
 */
export interface PhaseEvent {
  readonly t: Micros
  readonly op: 'phase'
  readonly phase: 'warm-up' | 'faults' | 'quiet' | 'end'
}

/** Settings of the run. Written once, in the first file. */
export interface RunEvent {
  readonly t: Micros
  readonly op: 'run'
  readonly name: string
  readonly seed: number
  readonly commit: string
  readonly machine: string
  readonly startedAt: string
  readonly settings: { readonly [name: string]: string | number | boolean }
}

export type HistoryEvent =
  | InvokeEvent
  | OkEvent
  | NotOkEvent
  | DeliverEvent
  | ObserverEvent
  | RebaseEvent
  | StreamEvent
  | ConnectionEvent
  | CheckpointEvent
  | LiveEvent
  | PresenceEvent
  | FaultEvent
  | ServerEvent
  | ResourcesEvent
  | RedisKeysEvent
  | RowEvent
  | ConversationEvent
  | StallEvent
  | PhaseEvent
  | RunEvent
