/**
 * The words of a history: everything a run observed, one plain object per event. Drivers write them, the checker reads
 * them, and neither knows the other. An event says what was *seen*, never what it means: a verdict is the checker's.
 *
 * Three words beside those of the contract. *Process*: one logical client, as Jepsen uses the word (an SDK client, a raw
 * client); it may have several connections and be restarted. *Stream*: one log of changes as one consumer sees it, that
 * survives reconnections and restarts: an SDK store, or a raw client that resumes by cursor. *Observer*: one place where
 * changes arrive: for the SDK the stream itself (its callback), for a raw client one connection. A stream has one or
 * more observers, each observer one stream.
 *
 * Texts are unique within a run (they contain their clientId), so that a text's hash names one send or one edit.
 */

/** Microseconds of the machine's monotonic clock: comparable between processes of one machine, and with nothing else. */
export type Micros = number

/** What a client may ask for. A timeout is `info`: it may have happened. */
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
  /** Unique within the file while it is written, within the history once read: names the operation its outcome belongs to. */
  readonly id: number
  readonly process: string
  readonly user: string
}

/**
 * One attempt to send. The SDK retries inside of its outbox and counts as one attempt; a raw client that tries again
 * writes another invoke with the same clientId.
 */
export interface SendInvoke extends InvokeBase {
  readonly op: 'send'
  readonly conversation: string
  readonly clientId: string
  readonly hash: number
  /**
   * `outbox`: the process has one head per conversation, so all its sends keep their order (ORD2). `connection`: sent on
   * `connection` without waiting; order is promised between first attempts on one connection. `none`: nothing is promised.
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

/** A page of history, asked for by whoever is signed in as `user`. */
export interface PageInvoke extends InvokeBase {
  readonly op: 'page'
  readonly conversation: string
  /** The session it was asked with, where revocations are part of the run. */
  readonly session?: string
  /** At the end of the run, when everything was healed and quiet: `client` by one that lived through it, `fresh` by a new one. */
  readonly final?: 'client' | 'fresh'
}

export interface CreateInvoke extends InvokeBase {
  readonly op: 'create'
  /** Besides `user`. */
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
  /** Of the text as it is now; 0 when deleted. */
  readonly hash: number
}

export interface PageResult {
  /** The log's top that the page reflects. */
  readonly top: number
  readonly hasBefore: boolean
  readonly hasAfter: boolean
  /** In seq order. */
  readonly items: readonly PageItem[]
}

export interface OkEvent {
  readonly t: Micros
  readonly type: 'ok'
  readonly op: OperationName
  readonly id: number
  /** The change's seq: send, edit, delete, react, unreact, and member changes where the answer names it. */
  readonly seq?: number
  readonly isDuplicate?: boolean
  /** create: the conversation that was made. */
  readonly conversation?: string
  /** page */
  readonly page?: PageResult
}

export interface NotOkEvent {
  readonly t: Micros
  /** `fail`: certainly not done. `info`: unknown, timed out, or the process ended. */
  readonly type: 'fail' | 'info'
  readonly op: OperationName
  readonly id: number
  /** The error catalogue's code, or `timeout`, `gone`. */
  readonly code: string
}

/** A change's type by one letter, as rows and deliveries carry it. */
export const changeKinds = {
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

export type ChangeKind = (typeof changeKinds)[keyof typeof changeKinds]

/** What a change says, in the parts that a checker compares. */
export interface ChangeFacts {
  readonly conversation: string
  readonly seq: number
  readonly kind: ChangeKind
  /** Empty for `skip`. */
  readonly actor: string
  /** The message's seq for e, d, + and -; `from` for s, whose own seq is its `to`; else the change's own seq. */
  readonly target: number
  /** c, e, d: the version of the message that came with it; else the change's own seq. */
  readonly version: number
  /** c, e: of the text that came with it; 0 when deleted; + and -: of the emoji; j, l and u: of the user's id; else 0. */
  readonly hash: number
}

/** A change reached an observer: the SDK's callback, or a frame on a raw connection. The history's bulk. */
export interface DeliverEvent extends ChangeFacts {
  readonly t: Micros
  readonly op: 'deliver'
  readonly observer: string
  readonly epoch: string
}

/** Declared before its first delivery. */
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
 * The observer was told to go on after `seq` in this conversation: `limited`, (re)joined, or the first load's page. Without
 * a conversation: forget all positions (reset, or a start without a cursor). The next delivery is then any seq, or seq + 1.
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
 * The workload wants this stream to follow (`attached`), or has let go of it: stopped its client, paused its line, revoked
 * its session. Only attached streams are expected to catch up. `isClean` false at a detach: the process died without
 * writing its store, and may call back again for what the store had not kept.
 */
export interface StreamEvent {
  readonly t: Micros
  readonly op: 'stream'
  readonly stream: string
  readonly state: 'attached' | 'detached'
  readonly isClean?: boolean
}

/** A connection's life as its client sees it. */
export interface ConnectionEvent {
  readonly t: Micros
  readonly op: 'connection'
  readonly connection: string
  readonly process: string
  readonly user: string
  readonly session: string
  readonly state: 'open' | 'ready' | 'reset' | 'moving' | 'closing' | 'closed'
  /** The server's name, at `ready`. */
  readonly server?: string
  /** With `closing` and `closed`. */
  readonly code?: string
}

/** A checkpoint reached a raw connection; a resume from it must miss nothing before it. */
export interface CheckpointEvent {
  readonly t: Micros
  readonly op: 'checkpoint'
  readonly observer: string
}

/** A live value arrived. */
export interface LiveEvent {
  readonly t: Micros
  readonly op: 'live'
  readonly observer: string
  readonly conversation: string
  readonly user: string
  readonly key: string
}

/** A watcher was told a user's presence; it holds until the next, or until the watcher's connection is no longer ready. */
export interface PresenceEvent {
  readonly t: Micros
  readonly op: 'presence'
  /** The connection it was told on. */
  readonly connection: string
  readonly user: string
  readonly status: 'online' | 'away' | 'offline' | 'unknown'
}

/** A fault begins (after it took effect) or has been healed. */
export interface FaultEvent {
  readonly t: Micros
  readonly op: 'fault'
  readonly id: number
  /** `F1` … `F21` of the plan. */
  readonly kind: string
  readonly name: string
  readonly phase: 'start' | 'heal'
  readonly targets: readonly string[]
  /** What it takes away, for the bounds that depend on it. */
  readonly affects: readonly ('server' | 'redis' | 'postgres' | 'client' | 'clock')[]
  /** From heal to every attached stream caught up. */
  readonly boundMs: number
}

/** What a server's log or its process said. */
export interface ServerEvent {
  readonly t: Micros
  readonly op: 'server'
  readonly server: string
  /** `scanned`: its whole log was read, `lines` long. The others are findings; an exit that a fault caused is `expected-exit`. */
  readonly what: 'scanned' | 'unhandled-rejection' | 'uncaught-exception' | 'unexpected-exit' | 'expected-exit'
  readonly lines?: number
  readonly text?: string
}

/** What a part holds. Judged: `quiet` (after healing and quiescence) against `baseline` (after warm-up) of the same pid. */
export interface ResourcesEvent {
  readonly t: Micros
  readonly op: 'resources'
  readonly part: string
  readonly pid: number
  readonly phase: 'baseline' | 'during' | 'quiet'
  readonly rssBytes: number
  readonly fds: number
}

/** Keys of ours in Redis that will never expire, though they should: samples and how many keys were looked at. */
export interface RedisKeysEvent {
  readonly t: Micros
  readonly op: 'redis-keys'
  readonly redis: string
  readonly scanned: number
  readonly withoutExpiry: number
  readonly samples: readonly string[]
}

/** One row of the log, read by SQL when all was quiet. `hash` of a message row is of the text as it is now. */
export interface RowEvent extends ChangeFacts {
  readonly t: Micros
  readonly op: 'row'
  /** Empty where the row has none. */
  readonly clientId: string
  /** j, l, u: whom it is about; else empty. */
  readonly member: string
}

/** A conversation's counter and its members, read by SQL with the rows. */
export interface ConversationEvent {
  readonly t: Micros
  readonly op: 'conversation'
  readonly conversation: string
  readonly seq: number
  readonly members: readonly string[]
}

/**
 * The driver's own event loop came late: the machine stood still, or was taken by others. What was due meanwhile says
 * nothing about the servers. Written by the history's writer itself.
 */
export interface StallEvent {
  /** When it went on. */
  readonly t: Micros
  readonly op: 'stall'
  readonly lateMs: number
}

/** Where the run stands. `quiet`: everything healed, nothing is sent any more, every attached stream was given its time. */
export interface PhaseEvent {
  readonly t: Micros
  readonly op: 'phase'
  readonly phase: 'warm-up' | 'faults' | 'quiet' | 'end'
}

/** The run's own words, once, in the first file. */
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
