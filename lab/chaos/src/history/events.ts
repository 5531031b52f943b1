/**
 * The events of a history: everything that a chaos run observed, one plain object per event. The
 * workload writes them and the checker reads them; neither imports the other. An event records an
 * observation and no judgement: verdicts are the checker's work.
 *
 * Three terms are used in addition to the glossary of the spec. *Process*: one simulated client, as
 * in the Jepsen tests. It may have several connections and may be restarted. *Stream*: the log as
 * one client sees it, across reconnections and restarts. It belongs to a client library's store, or
 * to a client without the library that resumes by cursor. *Observer*: a place where changes arrive.
 * For the client library it is the stream itself (its callback), for other clients each connection.
 * A stream has one or more observers; an observer belongs to one stream.
 *
 * Texts are unique within a run (they contain their clientId), so a text's hash identifies one sent
 * message or one edit.
 */

/**
 * Microseconds of the machine's monotonic clock. Times are only comparable between processes of one
 * machine.
 */
export type Micros = number

/**
 * Operations that a client can request. If one times out, its outcome is recorded as `info`: it may
 * have happened.
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
   * Number that connects an operation's start (invoke) with its outcome. It is unique within the
   * file; the reader makes it unique within the history.
   */
  readonly id: number
  readonly process: string
  readonly user: string
}

/**
 * Start of an attempt to send a message. Retries inside the client library's outbox count as one
 * attempt. A client without the library writes another invoke with the same clientId for each
 * retry.
 */
export interface SendInvoke extends InvokeBase {
  readonly op: 'send'
  readonly conversation: string
  readonly clientId: string
  readonly hash: number
  /**
   * Order that the sender may rely on. `outbox`: the client sends one message at a time per
   * conversation, so all its messages keep their order (ORD2). `connection`: the client sends on
   * `connection` without waiting for responses; only first attempts on the same connection keep
   * their order. `none`: no order is promised.
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

/** Request for a page of history, made by `user`. */
export interface PageInvoke extends InvokeBase {
  readonly op: 'page'
  readonly conversation: string
  /** Session that made the request. Set only in runs in which sessions are revoked. */
  readonly session?: string
  /**
   * Set for reads at the end of the run, after all faults are healed and all is quiet. `client`:
   * read by a client that existed during the run. `fresh`: read by a new client.
   */
  readonly final?: 'client' | 'fresh'
}

export interface CreateInvoke extends InvokeBase {
  readonly op: 'create'
  /** Initial members of the new conversation other than `user`. */
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

/** One message of a page of history. */
export interface PageItem {
  readonly seq: number
  readonly version: number
  readonly sender: string
  /** Hash of the message's current text; 0 when the message is deleted. */
  readonly hash: number
}

export interface PageResult {
  /** Sequence number (seq) of the newest change that the page reflects. */
  readonly top: number
  readonly hasBefore: boolean
  readonly hasAfter: boolean
  /** Messages of the page in the order of their sequence numbers. */
  readonly items: readonly PageItem[]
}

export interface OkEvent {
  readonly t: Micros
  readonly type: 'ok'
  readonly op: OperationName
  readonly id: number
  /**
   * Sequence number (seq) of the change. Set for send, edit, delete, react and unreact, and for
   * changes of members whose response contains it.
   */
  readonly seq?: number
  readonly isDuplicate?: boolean
  /** Id of the new conversation; set only for `create`. */
  readonly conversation?: string
  /** The received page; set only for `page`. */
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
  /** Code from the error catalogue, or `timeout`, or `gone` (the process has ended). */
  readonly code: string
}

/** One letter for each type of change, used in rows and deliveries. */
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

/** Letter for all other types of change, which the workload never produces. No rule judges them. */
const otherKind = '?'

export type ChangeKind = (typeof changeKinds)[keyof typeof changeKinds] | typeof otherKind

export function kindOf(type: string): ChangeKind {
  return Object.hasOwn(changeKinds, type) ? changeKinds[type as keyof typeof changeKinds] : otherKind
}

/** The parts of a change that the checker compares. */
export interface ChangeFacts {
  readonly conversation: string
  readonly seq: number
  readonly kind: ChangeKind
  /** User who made the change; empty for `skip`. */
  readonly actor: string
  /**
   * Sequence number (seq) that the change refers to. For kinds e, d, + and -: the seq of the
   * message. For kind s (skip): the first skipped seq; the seq of the skip itself is the last
   * skipped seq. For other kinds: the change's own seq.
   */
  readonly target: number
  /**
   * For kinds c, e and d: version of the message that came with the change. For other kinds: the
   * change's own sequence number.
   */
  readonly version: number
  /**
   * Hash of the content. For kinds c and e: of the message's text; 0 for a deleted message. For +
   * and -: of the emoji. For j, l and u: of the user's id. For other kinds: 0.
   */
  readonly hash: number
}

/**
 * A change that reached a client, through the client library's callback or over a connection of a
 * client that does not use the library. Most events of a history are deliveries.
 */
export interface DeliverEvent extends ChangeFacts {
  readonly t: Micros
  readonly op: 'deliver'
  readonly observer: string
  readonly epoch: string
}

/**
 * Declaration of an observer (a place where changes arrive). Written before the observer's first
 * delivery.
 */
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
 * Announcement that a client continues after the sequence number `seq` in this conversation: after
 * `limited`, after a join or rejoin, or after the first page. The next delivery must then be seq +
 * 1; if `seq` is missing, it may have any seq. If `conversation` is missing, the client forgets its
 * positions in all conversations (after a reset, or a start without a cursor).
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
 * Records whether a client must receive changes from now on. `attached`: it must. `detached`: the
 * workload has stopped the client, paused its connection or revoked its session, so it need not
 * catch up. If `isClean` is false at a detach, the client's process died without writing its store.
 * Its callback may then repeat changes that the store had not saved.
 */
export interface StreamEvent {
  readonly t: Micros
  readonly op: 'stream'
  readonly stream: string
  readonly state: 'attached' | 'detached'
  readonly isClean?: boolean
}

/** A new state of a connection, as its client sees it. */
export interface ConnectionEvent {
  readonly t: Micros
  readonly op: 'connection'
  readonly connection: string
  readonly process: string
  readonly user: string
  readonly session: string
  readonly state: 'open' | 'ready' | 'reset' | 'moving' | 'closing' | 'closed'
  /** Name of the server; set only at `ready`. */
  readonly server?: string
  /** Error code that came with `closing` or `closed`. */
  readonly code?: string
}

/**
 * A checkpoint (a cursor) that reached a connection of a client that does not use the Chorus client
 * library. A connection that resumes from it must receive everything after it.
 */
export interface CheckpointEvent {
  readonly t: Micros
  readonly op: 'checkpoint'
  readonly observer: string
}

/** A live value, such as typing, that arrived at a client. */
export interface LiveEvent {
  readonly t: Micros
  readonly op: 'live'
  readonly observer: string
  readonly conversation: string
  readonly user: string
  readonly key: string
}

/**
 * A user's presence, as a watching client received it. It holds until the next presence event, or
 * until the client's connection is no longer ready.
 */
export interface PresenceEvent {
  readonly t: Micros
  readonly op: 'presence'
  /** Connection that received the presence. */
  readonly connection: string
  readonly user: string
  readonly status: 'online' | 'away' | 'offline' | 'unknown'
}

/** Start of an injected fault (recorded just before it takes effect), or its healing. */
export interface FaultEvent {
  readonly t: Micros
  readonly op: 'fault'
  readonly id: number
  /** Number of the fault in the test plan: `F1` … `F21`. */
  readonly kind: string
  readonly name: string
  readonly phase: 'start' | 'heal'
  readonly targets: readonly string[]
  /**
   * Parts of the cluster that do not work during the fault. Some maximum times depend on these
   * parts.
   */
  readonly affects: readonly ('server' | 'redis' | 'postgres' | 'client' | 'clock')[]
  /** Maximum time between the healing and the moment when every running client has caught up. */
  readonly boundMs: number
}

/** A crash or error of a server, found in its log or by its exit. */
export interface ServerEvent {
  readonly t: Micros
  readonly op: 'server'
  readonly server: string
  /**
   * Kind of the finding. `scanned` reports no problem: it records that all `lines` lines of the
   * server's log were read. `expected-exit` is an exit that a fault caused on purpose.
   */
  readonly what: 'scanned' | 'unhandled-rejection' | 'uncaught-exception' | 'unexpected-exit' | 'expected-exit'
  readonly lines?: number
  readonly text?: string
}

/**
 * Memory and open files of a process. The checker compares the values of the phase `quiet` (after
 * healing, without load) with those of `baseline` (after warm-up).
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
 * Number of Chorus keys in Redis that lack an expiry though they should have one, with samples, and
 * the number of scanned keys.
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
 * One row of the log, read from the database by SQL at the end of the run. For a message row,
 * `hash` is the hash of the current text.
 */
export interface RowEvent extends ChangeFacts {
  readonly t: Micros
  readonly op: 'row'
  /** clientId of the message; empty for a row without one. */
  readonly clientId: string
  /** User that the row concerns, for kinds j, l and u; empty for other kinds. */
  readonly member: string
}

/** A conversation's counter and members, read from the database by SQL together with the rows. */
export interface ConversationEvent {
  readonly t: Micros
  readonly op: 'conversation'
  readonly conversation: string
  readonly seq: number
  readonly members: readonly string[]
}

/**
 * A pause of the event loop in a workload process: the machine paused, or other processes took the
 * processor. Delays during the pause are not the servers' fault. The history writer records it.
 */
export interface StallEvent {
  /** Time at which the event loop continued. */
  readonly t: Micros
  readonly op: 'stall'
  readonly lateMs: number
}

/**
 * Start of a phase of the run. In phase `quiet`, all faults are healed, sending has stopped, and
 * every running client has had time to catch up.
 */
export interface PhaseEvent {
  readonly t: Micros
  readonly op: 'phase'
  readonly phase: 'warm-up' | 'faults' | 'quiet' | 'end'
}

/** Settings of the run. Written once, in the first history file. */
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
