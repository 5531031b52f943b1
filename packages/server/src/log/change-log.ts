/**
 * Appends changes to conversations. All writes to the log go through this class (rules ACK1, ACK2,
 * IDEM1, ORD1, ORD2, BAD1).
 *
 * Group commit. Rows that arrive during a commit are collected for the next batch. So batches grow
 * with the load, and an idle server commits a single message at once. A batch is one round trip:
 * one call of `append_changes` (or of `append_send` for a single message) in autocommit.
 *
 * Each queue has one lane (a connection) and at most one batch in flight. Conversations are assigned
 * to queues by hash. So the rows of a conversation are stored in the order of arrival, and a busy
 * conversation cannot starve conversations in other queues. Creations have a separate queue with
 * small batches: one creation writes as many rows as two hundred messages. Clients cannot send to a
 * conversation before its creation is acknowledged, so the separate queue breaks no order.
 *
 * Within a batch, each conversation has sends first, then other operations, then at most one change
 * of membership or role. Rows that do not fit this order wait for the next batch (rule ACL1).
 *
 * Errors. A batch that fails on data is run again, one row at a time. Temporary faults are retried
 * until the deadline of each row. After a lost connection the batch may have been stored. The
 * server finds out by a retry, because the unique key returns the first row. At the deadline a row
 * is refused: `unavailable` if it was certainly not stored, `unknown` otherwise.
 */
import { hash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import {
  ChorusError,
  type ConversationKind,
  type Id,
  type Json,
  limits,
  type Member,
  type Message,
  type Role,
} from '@chorus/protocol'
import { bigintArray, byteaArray, plainArray, textArray } from '../database/array-literal.ts'
import type { Database, Lane, Statement } from '../database/database.ts'
import { changesMembers, type Creation, type LogOperation, operationRules } from './operations.ts'
import { findSameRequest, hashRequest } from './same-request.ts'
import { DatabaseError, classifyDatabaseError } from '../database/database-errors.ts'
import type { MessageColumns } from '../support/message-columns.ts'

/** Message to store. */
export interface SendRow {
  readonly conversation: Id
  readonly actor: Id
  readonly clientId: Id
  readonly text: string
  readonly replyTo: number | null
  readonly data: Json
}

export type SendOutcome = 'stored' | 'duplicate' | 'conflict' | 'not-found' | 'invalid-reply'
export type OperationOutcome = 'stored' | 'unchanged' | 'not-found' | 'forbidden' | 'too-large' | 'conflict'

/**
 * Result row of SQL: one per operation or for a single send, or one for all sends of the batch
 * (`S`).
 */
type AppendedRow =
  | {
      readonly kind: 'o' | 's'
      readonly idx: number
      readonly outcome: string
      readonly seq: number | null
      readonly at: string | null
      readonly xid: string
      readonly detail: OperationDetail | null
    }
  | { readonly kind: 'S'; readonly at: string; readonly xid: string; readonly detail: AppendedSends }

interface AppendedSends {
  /** Outcome of each send. Null when all were stored. */
  readonly outcome: readonly string[] | null
  readonly seq: readonly (number | null)[]
  /** Creation time of each send. Null when all sends have the time of the batch. */
  readonly at: readonly (string | null)[] | null
}

export type OperationDetail = Partial<MessageColumns> & {
  readonly conversation?: Id
  readonly role?: Role
  readonly joined?: boolean
  /** Membership after the change. Only for `put-member`. */
  readonly member?: Member
  /** Kind of the conversation. Only for `rename`. */
  readonly kind?: ConversationKind
}

export interface Appended<Outcome> {
  readonly outcome: Outcome
  /** Seq of the stored change. 0 when the row was refused. */
  readonly seq: number
  readonly at: string
  readonly xid: number
  readonly detail: OperationDetail | null
}

/** Observer that measures committed and failed batches. */
export interface ChangeLogObserver {
  batchCommitted(rows: number, durationMs: number): void
  batchFailed(error: DatabaseError): void
}

export const changeLogBounds = {
  /** Maximum number of rows in one batch. */
  batchRowsMax: 500,
  /** Maximum characters of text and data in one batch. */
  batchCharsMax: 2_000_000,
  /**
   * Maximum members in one batch of creations. The creation that passes this limit is the last of
   * its batch.
   */
  batchMembersMax: 100,
  /** Maximum rows waiting in one queue. Beyond it a send is refused as `unavailable`. */
  waitingRowsMax: 20_000,
  /** Maximum members in waiting creations. Beyond it a creation is refused as `unavailable`. */
  waitingMembersMax: 10_000,
  /** Maximum time from a row's arrival to its answer. */
  deadlineMs: 1_900,
  /** Time between two attempts after a temporary fault. */
  retryPauseMs: 50,
} as const

type Row =
  | { readonly kind: 'send'; readonly send: SendRow }
  | { readonly kind: 'operation'; readonly operation: LogOperation }

interface Waiting {
  readonly row: Row
  readonly conversation: Id
  /** Size of the row for the batch limit: members for creations, characters otherwise. */
  readonly weight: number
  readonly deadlineAtMs: number
  readonly resolve: (appended: Appended<string>) => void
  readonly reject: (error: ChorusError) => void
}

/** Size limits of one queue, in members for creations and in characters otherwise. */
interface WeightLimits {
  readonly batchWeightMax: number
  readonly waitingWeightMax: number
}

const messageWeights: WeightLimits = {
  batchWeightMax: changeLogBounds.batchCharsMax,
  waitingWeightMax: Number.POSITIVE_INFINITY,
}
const creationWeights: WeightLimits = {
  batchWeightMax: changeLogBounds.batchMembersMax,
  waitingWeightMax: changeLogBounds.waitingMembersMax,
}
/** Size that an operation without text counts as in the batch limit, in characters. */
const operationChars = 200

export class ChangeLog {
  readonly #database: Database
  readonly #queues: AppendQueue[]
  readonly #creations: AppendQueue

  constructor(database: Database, observer: ChangeLogObserver, nowMs: () => number) {
    this.#database = database
    this.#queues = Array.from(
      { length: database.laneCount },
      (_, index) => new AppendQueue(database.lane(index), observer, nowMs, messageWeights),
    )
    this.#creations = new AppendQueue(database.laneApart(), observer, nowMs, creationWeights)
  }

  /**
   * Stores a message once. Rejects within two seconds: with `unavailable` (certainly not stored) or
   * `unknown`.
   */
  append(send: SendRow): Promise<Appended<SendOutcome>> {
    const appending = this.#queueOf(send.conversation).add({ kind: 'send', send }, send.conversation, send.text.length)
    return appending.then((appended) => this.#compareValues(send, appended as Appended<SendOutcome>))
  }

  /**
   * Applies any other operation. SQL checks it against the policy under the conversation's lock.
   */
  apply(operation: LogOperation): Promise<Appended<OperationOutcome>> {
    const row: Row = { kind: 'operation', operation }
    const appended =
      operation.op === 'create'
        ? this.#creations.add(row, operation.conversation, operation.members.length)
        : this.#queueOf(operation.conversation).add(row, operation.conversation, weightOf(operation))
    return appended as Promise<Appended<OperationOutcome>>
  }

  /** Number of rows waiting in all queues. */
  get waitingRows(): number {
    return this.#queues.reduce((sum, queue) => sum + queue.waitingRows, this.#creations.waitingRows)
  }

  /** Resolves when no row is waiting or in flight. */
  async drain(): Promise<void> {
    await Promise.all([...this.#queues, this.#creations].map((queue) => queue.drain()))
  }

  /**
   * Turns a conflict into a duplicate when only the order of keys in `data` differs. The log
   * compares bytes, so it reports that as a conflict.
   */
  async #compareValues(send: SendRow, appended: Appended<SendOutcome>): Promise<Appended<SendOutcome>> {
    if (appended.outcome !== 'conflict' || send.data === null) return appended
    try {
      const first = await findSameRequest(this.#database, send)
      return first === undefined ? appended : { ...appended, ...first, outcome: 'duplicate' }
    } catch (error) {
      throw refusal('unknown', classifyDatabaseError(error, true))
    }
  }

  #queueOf(conversation: Id): AppendQueue {
    // Choose the queue by the last characters: in a UUIDv7 they are random.
    return this.#queues[Number.parseInt(conversation.slice(-4), 16) % this.#queues.length] as AppendQueue
  }
}

/**
 * Returns the size of an operation for the batch limit, in characters. An edit stores as much text
 * as a message.
 */
function weightOf(operation: LogOperation): number {
  return operationChars + ('text' in operation ? operation.text.length : 0)
}

type Phase = 'sends' | 'operations' | 'closed'

class AppendQueue {
  readonly #lane: Lane
  readonly #observer: ChangeLogObserver
  readonly #nowMs: () => number
  readonly #weights: WeightLimits
  #waiting: Waiting[] = []
  #waitingWeight = 0
  #running: Promise<void> | undefined

  constructor(lane: Lane, observer: ChangeLogObserver, nowMs: () => number, weights: WeightLimits) {
    this.#lane = lane
    this.#observer = observer
    this.#nowMs = nowMs
    this.#weights = weights
  }

  get waitingRows(): number {
    return this.#waiting.length
  }

  add(row: Row, conversation: Id, weight: number): Promise<Appended<string>> {
    if (
      this.#waiting.length >= changeLogBounds.waitingRowsMax ||
      this.#waitingWeight >= this.#weights.waitingWeightMax
    ) {
      return Promise.reject(
        new ChorusError('unavailable', 'unable to store the change; too many changes are waiting for the database', {
          retryAfterMs: 1_000,
        }),
      )
    }
    return new Promise((resolve, reject) => {
      const deadlineAtMs = this.#nowMs() + changeLogBounds.deadlineMs
      this.#waiting.push({ row, conversation, weight, deadlineAtMs, resolve, reject })
      this.#waitingWeight += weight
      this.#running ??= this.#run()
    })
  }

  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  async #run(): Promise<void> {
    // Waits one microtask, so that rows of the same event loop turn join the first batch.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      await this.#commit(this.#gather(), false)
    }
    this.#running = undefined
  }

  /** Takes the rows from the front that fit one batch. The remaining rows keep their order. */
  #gather(): Waiting[] {
    const nowMs = this.#nowMs()
    const phases = new Map<Id, Phase>()
    const clientIds = new Set<Id>()
    const batch: Waiting[] = []
    const rest: Waiting[] = []
    let weight = 0
    let index = 0
    for (
      ;
      index < this.#waiting.length &&
      batch.length < changeLogBounds.batchRowsMax &&
      weight < this.#weights.batchWeightMax;
      index++
    ) {
      const waiting = this.#waiting[index] as Waiting
      if (waiting.deadlineAtMs <= nowMs) {
        this.#waitingWeight -= waiting.weight
        waiting.reject(refusal('unavailable'))
        continue
      }
      const { row } = waiting
      const next = nextPhase(phases.get(waiting.conversation) ?? 'sends', row)
      // A batch contains each clientId once: a repeated send must find the stored row of the first.
      const isRepeated = row.kind === 'send' && clientIds.has(row.send.clientId)
      if (next === undefined || isRepeated) {
        phases.set(waiting.conversation, 'closed')
        rest.push(waiting)
      } else {
        phases.set(waiting.conversation, next)
        if (row.kind === 'send') clientIds.add(row.send.clientId)
        batch.push(waiting)
        weight += waiting.weight
        this.#waitingWeight -= waiting.weight
      }
    }
    this.#waiting = rest.length === 0 && index === this.#waiting.length ? [] : rest.concat(this.#waiting.slice(index))
    return batch
  }

  /**
   * Stores these rows, or rejects each by its deadline. `mayBeStored`: an earlier attempt lost its
   * connection.
   */
  async #commit(batch: readonly Waiting[], mayBeStored: boolean): Promise<void> {
    let rows = batch
    for (;;) {
      rows = this.#answerExpired(rows, mayBeStored ? 'unknown' : 'unavailable')
      if (rows.length === 0) return
      const startedAtMs = this.#nowMs()
      const lastDeadlineAtMs = Math.max(...rows.map((waiting) => waiting.deadlineAtMs))
      const expiry = this.#answerInFlight(rows)
      let error: DatabaseError
      try {
        const appended = await this.#lane.run<AppendedRow>(
          this.#statementOf(rows),
          Math.max(1, lastDeadlineAtMs - startedAtMs),
        )
        this.#observer.batchCommitted(rows.length, this.#nowMs() - startedAtMs)
        settle(rows, appended, mayBeStored)
        return
      } catch (thrown) {
        error = classifyDatabaseError(thrown, true)
      } finally {
        clearTimeout(expiry.timer)
      }
      this.#observer.batchFailed(error)
      switch (error.kind) {
        case 'data':
        case 'bug':
          if (rows.length > 1) {
            // Retries row by row, so that one bad row never fails its neighbours (rule BAD1).
            for (const waiting of rows) await this.#commit([waiting], mayBeStored)
            return
          }
          for (const waiting of rows) waiting.reject(refusalOfRow(error, mayBeStored))
          return
        case 'lost':
          mayBeStored = true
          break
        case 'retryable':
        case 'refused':
          break
      }
      if (this.#nowMs() + changeLogBounds.retryPauseMs >= lastDeadlineAtMs) {
        for (const waiting of rows) waiting.reject(refusal(mayBeStored ? 'unknown' : 'unavailable', error))
        return
      }
      await pause(changeLogBounds.retryPauseMs)
    }
  }

  #statementOf(rows: readonly Waiting[]): Statement {
    try {
      return toStatement(rows)
    } catch (thrown) {
      // The statement was not sent, so this must not count as a lost connection.
      throw new DatabaseError('bug', thrown)
    }
  }

  /** Rejects expired rows and returns the rows with time left. */
  #answerExpired(rows: readonly Waiting[], code: 'unavailable' | 'unknown'): readonly Waiting[] {
    const nowMs = this.#nowMs()
    const expired = rows.filter(({ deadlineAtMs }) => deadlineAtMs <= nowMs)
    if (expired.length === 0) return rows
    for (const waiting of expired) waiting.reject(refusal(code))
    return rows.filter(({ deadlineAtMs }) => deadlineAtMs > nowMs)
  }

  /**
   * Rejects rows at their deadlines while their statement runs. So a row never waits for later rows
   * of its batch.
   */
  #answerInFlight(rows: readonly Waiting[]): { timer: NodeJS.Timeout | undefined } {
    const expiry: { timer: NodeJS.Timeout | undefined } = { timer: undefined }
    const arm = (inFlight: readonly Waiting[]): void => {
      if (inFlight.length === 0) return
      const nextAtMs = Math.min(...inFlight.map(({ deadlineAtMs }) => deadlineAtMs))
      expiry.timer = setTimeout(
        () => arm(this.#answerExpired(inFlight, 'unknown')),
        Math.max(1, nextAtMs - this.#nowMs()),
      )
    }
    arm(rows)
    return expiry
  }
}

function refusalOfRow(error: DatabaseError, mayBeStored: boolean): ChorusError {
  return error.kind === 'data'
    ? new ChorusError('invalid', 'unable to store the change; the database rejected its values', { cause: error })
    : refusal(mayBeStored ? 'unknown' : 'unavailable', error)
}

function refusal(code: 'unavailable' | 'unknown', cause?: DatabaseError): ChorusError {
  const reason =
    code === 'unavailable'
      ? 'the database cannot store anything right now'
      : 'the database did not confirm whether it was stored'
  return new ChorusError(code, `unable to store the change; ${reason}`, { retryAfterMs: 1_000, cause })
}

/**
 * Returns the batch phase after this row: sends first, then operations, then one change of
 * membership. Returns undefined if the row must wait for the next batch.
 */
function nextPhase(phase: Phase, row: Row): Phase | undefined {
  switch (phase) {
    case 'closed':
      return undefined
    case 'operations':
      if (row.kind === 'send') return undefined
      return changesMembers(row.operation) ? 'closed' : 'operations'
    case 'sends':
      if (row.kind === 'send') return 'sends'
      return changesMembers(row.operation) ? 'closed' : 'operations'
  }
}

const appendText =
  'select * from append_changes($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::text[], $6::json[], $7::text[], $8::bigint[], $9::jsonb)'

function toStatement(batch: readonly Waiting[]): Statement {
  const sends: SendRow[] = []
  const operations: object[] = []
  for (const { row } of batch) {
    if (row.kind === 'send') sends.push(row.send)
    else operations.push(toSqlOperation(row.operation))
  }
  const [only] = sends
  if (only !== undefined && batch.length === 1) return toSendStatement(only)
  const none = sends.map(() => null)
  return {
    name: 'append_changes',
    text: appendText,
    values: [
      plainArray(sends.map((send) => send.conversation)),
      plainArray(sends.map((send) => send.actor)),
      plainArray(sends.map((send) => send.clientId)),
      byteaArray(sends.map(hashRequest)),
      textArray(sends.map((send) => send.text)),
      textArray(sends.map((send) => (send.data === null ? null : JSON.stringify(send.data)))),
      textArray(none),
      bigintArray(sends.map((send) => send.replyTo)),
      JSON.stringify(operations),
    ],
  }
}

const appendSendText =
  'select * from append_send($1::uuid, $2::uuid, $3::uuid, $4::bytea, $5::text, $6::json, $7::bigint)'

/** Builds the statement for a batch of a single message, the usual case on an idle server. */
function toSendStatement(send: SendRow): Statement {
  const { conversation, actor, clientId, text, data, replyTo } = send
  const dataText = data === null ? null : JSON.stringify(data)
  return {
    name: 'append_send',
    text: appendSendText,
    values: [conversation, actor, clientId, `\\x${hashRequest(send)}`, text, dataText, replyTo],
  }
}

/**
 * Hashes a creation to recognise the same request (rule IDEM2). The order of the members does not
 * count. Returns hex.
 */
function hashCreation({ kind, name, members }: Creation): string {
  return hash('sha256', JSON.stringify([kind, name, [...members].sort()]))
}

/** Adds the rules of an operation, which SQL checks. */
function toSqlOperation(operation: LogOperation): object {
  if (operation.op !== 'create') return { ...operation, ...operationRules[operation.op] }
  return {
    ...operation,
    hash: operation.clientId === undefined ? null : hashCreation(operation),
    conversationsMax: limits.conversationsPerUserMax,
  }
}

function settle(batch: readonly Waiting[], rows: readonly AppendedRow[], mayBeStored: boolean): void {
  const sends = rows.find((row) => row.kind === 'S')
  // Results of the operations, or of a single send.
  const single: Appended<string>[] = []
  for (const row of rows)
    if (row.kind !== 'S')
      single[row.idx] = {
        outcome: row.outcome,
        seq: row.seq ?? 0,
        at: row.at ?? '',
        xid: Number(row.xid),
        detail: row.detail,
      }
  const xid = Number(sends?.xid)
  let send = 0
  let index = 0
  for (const { row, resolve, reject } of batch) {
    const appended =
      row.kind === 'send' && sends !== undefined ? toAppendedSend(sends.detail, send++, sends.at, xid) : single[++index]
    if (appended === undefined) {
      reject(refusal('unknown'))
      continue
    }
    if (!mayBeStored) {
      resolve(appended)
      continue
    }
    const outcome = outcomeAfterCut(row, appended)
    if (outcome === undefined) reject(refusal('unknown'))
    else resolve({ ...appended, outcome })
  }
}

function toAppendedSend(sends: AppendedSends, index: number, batchAt: string, xid: number): Appended<string> {
  const at = sends.at === null ? batchAt : toIso(sends.at[index] ?? '')
  return { outcome: sends.outcome?.[index] ?? 'stored', seq: sends.seq[index] ?? 0, at, xid, detail: null }
}

function toIso(time: string): string {
  return time === '' ? '' : new Date(time).toISOString()
}

/**
 * Returns the outcome to report when an earlier attempt lost its connection and may have stored the
 * row. A message is recognised by its clientId. A refused operation may have been stored by that
 * attempt: removing a member who is already removed gives `not-found`. The function then returns
 * undefined, and the caller answers `unknown` (rule ACK2).
 */
function outcomeAfterCut(row: Row, { outcome, detail }: Appended<string>): string | undefined {
  if (row.kind === 'send') return outcome === 'duplicate' ? 'stored' : outcome
  if (outcome === 'stored') return outcome
  if (outcome === 'conflict') return outcome
  if (outcome !== 'unchanged') return undefined
  return row.operation.op === 'create' && detail?.conversation === row.operation.conversation ? 'stored' : outcome
}

/** Builds the message that a stored send created. */
export function toStoredMessage(send: SendRow, seq: number, at: string): Message {
  return {
    conversation: send.conversation,
    seq,
    version: seq,
    clientId: send.clientId,
    sender: send.actor,
    text: send.text,
    replyTo: send.replyTo,
    attachments: [],
    data: send.data,
    createdAt: at,
    editedAt: null,
    deletedAt: null,
  }
}
