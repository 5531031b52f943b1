/**
 * The log: the only road by which a conversation's changes are stored (rules ACK1, ACK2, IDEM1, ORD1, ORD2, BAD1).
 *
 * Group commit. Rows that arrive while a batch is being committed gather for the next one, so batches tune themselves to
 * the load and an idle server commits a single message at once. A batch is one round trip: one call of `append_changes` (of
 * `append_send` when it is one message) in autocommit. Conversations are spread over lanes by hash, each lane with one connection and one batch in flight, so
 * that a conversation's rows are stored in the order in which they arrived and no hot conversation starves the others.
 * Creations have a lane of their own, in small batches: one of them writes as many rows as two hundred messages, and nobody
 * can send to a conversation before its creation is answered.
 *
 * Within a batch a conversation has sends, then other operations, then at most one change of membership or role; what
 * does not fit that order waits for the next batch (rule ACL1).
 *
 * What an error means. A batch that fails on data runs again one row at a time. A passing fault is tried again until the
 * rows' deadlines, each its own. After a cut connection the batch may have been stored: trying again is how the server finds out,
 * because the unique key answers with the first row. At the deadline a row is refused: `unavailable` when it certainly
 * was not stored, `unknown` otherwise.
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
import { bigintArray, byteaArray, plainArray, textArray } from './array-literal.ts'
import type { Database, Lane, Statement } from './database.ts'
import { findSameRequest, hashRequest } from './same-request.ts'
import { DatabaseError, classifyDatabaseError } from './database-errors.ts'
import type { MessageColumns } from '../support/logged-change.ts'

/** A message to store. */
export interface SendRow {
  readonly conversation: Id
  readonly actor: Id
  readonly clientId: Id
  readonly text: string
  readonly replyTo: number | null
  readonly data: Json
}

/** Anything else that changes a conversation. */
export type LogOperation =
  | {
      readonly op: 'create'
      readonly conversation: Id
      readonly actor: Id
      readonly kind: ConversationKind
      readonly name: string | null
      readonly directKey: string | null
      /** The creator first. */
      readonly members: readonly Id[]
      /** The creator's id for this request (rule IDEM2). */
      readonly clientId?: Id
    }
  | {
      readonly op: 'edit'
      readonly conversation: Id
      readonly actor: Id
      readonly target: number
      readonly text: string
    }
  | { readonly op: 'delete'; readonly conversation: Id; readonly actor: Id; readonly target: number }
  | {
      readonly op: 'react' | 'unreact'
      readonly conversation: Id
      readonly actor: Id
      readonly target: number
      readonly emoji: string
    }
  | { readonly op: 'rename'; readonly conversation: Id; readonly actor: Id; readonly name: string }
  | {
      readonly op: 'put-member'
      readonly conversation: Id
      readonly actor: Id
      readonly user: Id
      readonly role: Role | null
    }
  | { readonly op: 'remove-member'; readonly conversation: Id; readonly actor: Id; readonly user: Id }

export type SendOutcome = 'stored' | 'duplicate' | 'conflict' | 'not-found' | 'invalid-reply'
export type OperationOutcome = 'stored' | 'unchanged' | 'not-found' | 'forbidden' | 'too-large' | 'conflict'

/** What became of one operation, of the only send, or of all sends of the batch. */
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
  /** Of each send; null when all were stored. */
  readonly outcome: readonly string[] | null
  readonly seq: readonly (number | null)[]
  /** Null when all have the time of the batch. */
  readonly at: readonly (string | null)[] | null
}

export type OperationDetail = Partial<MessageColumns> & {
  readonly conversation?: Id
  readonly role?: Role
  readonly joined?: boolean
  /** Of put-member, as of the change. */
  readonly member?: Member
  /** Of rename. */
  readonly kind?: ConversationKind
}

export interface Appended<Outcome> {
  readonly outcome: Outcome
  /** 0 when refused. */
  readonly seq: number
  readonly at: string
  readonly xid: number
  readonly detail: OperationDetail | null
}

/** Who may do what: the facts that the log checks under the conversation's lock (access/policy.ts). */
export interface LogPolicy {
  requirementOf(
    action: 'edit-message' | 'delete-message' | 'react' | 'rename' | 'add-member' | 'change-role' | 'remove-member',
  ): {
    readonly roles: readonly Role[]
    readonly own: boolean
    readonly kinds: readonly ConversationKind[]
  }
  readonly removableBy: { readonly [R in Role]: readonly Role[] }
}

/** What the log tells whoever measures it. */
export interface ChangeLogObserver {
  batchCommitted(rows: number, durationMs: number): void
  batchFailed(error: DatabaseError): void
}

export const changeLogBounds = {
  /** Rows in one batch. */
  batchRowsMax: 500,
  /** Characters of text and data in one batch. */
  batchCharsMax: 2_000_000,
  /** Members joined by one batch of creations; the one that passes it is the last. */
  batchMembersMax: 100,
  /** Rows that wait in one lane; beyond it a send is refused as `unavailable`. */
  waitingRowsMax: 20_000,
  /** Members that wait to be joined by creations; beyond it a creation is refused as `unavailable`. */
  waitingMembersMax: 10_000,
  /** How long a row may take from arrival to answer. */
  deadlineMs: 1_900,
  /** Between two attempts after a passing fault. */
  retryPauseMs: 50,
} as const

type Row =
  | { readonly kind: 'send'; readonly send: SendRow }
  | { readonly kind: 'operation'; readonly operation: LogOperation }

interface Waiting {
  readonly row: Row
  readonly conversation: Id
  /** What it takes of a batch: characters, or members where its lane counts those. */
  readonly weight: number
  readonly deadlineAtMs: number
  readonly resolve: (appended: Appended<string>) => void
  readonly reject: (error: ChorusError) => void
}

/** How much one lane takes at once. */
interface LaneBounds {
  readonly batchWeightMax: number
  readonly waitingWeightMax: number
}

const messageLane: LaneBounds = {
  batchWeightMax: changeLogBounds.batchCharsMax,
  waitingWeightMax: Number.POSITIVE_INFINITY,
}
const creationLane: LaneBounds = {
  batchWeightMax: changeLogBounds.batchMembersMax,
  waitingWeightMax: changeLogBounds.waitingMembersMax,
}
/** Characters that an operation counts as: its row, without a text. */
const operationChars = 200

export class ChangeLog {
  readonly #database: Database
  readonly #lanes: LogLane[]
  readonly #creations: LogLane

  constructor(database: Database, policy: LogPolicy, observer: ChangeLogObserver, nowMs: () => number) {
    this.#database = database
    this.#lanes = Array.from(
      { length: database.laneCount },
      (_, index) => new LogLane(database.lane(index), policy, observer, nowMs, messageLane),
    )
    this.#creations = new LogLane(database.laneApart(), policy, observer, nowMs, creationLane)
  }

  /** Stores a message once. Rejects with `unavailable` (certainly not stored) or `unknown` within two seconds. */
  append(send: SendRow): Promise<Appended<SendOutcome>> {
    const appending = this.#laneOf(send.conversation).add({ kind: 'send', send }, send.conversation, send.text.length)
    return appending.then((appended) => this.#compareValues(send, appended as Appended<SendOutcome>))
  }

  /** Applies any other operation, checked against the policy under the conversation's lock. */
  apply(operation: LogOperation): Promise<Appended<OperationOutcome>> {
    const row: Row = { kind: 'operation', operation }
    const appended =
      operation.op === 'create'
        ? this.#creations.add(row, operation.conversation, operation.members.length)
        : this.#laneOf(operation.conversation).add(row, operation.conversation, weightOf(operation))
    return appended as Promise<Appended<OperationOutcome>>
  }

  /** Rows waiting in all lanes. */
  get waitingRows(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.waitingRows, this.#creations.waitingRows)
  }

  /** Resolves when nothing waits and nothing is in flight. */
  async drain(): Promise<void> {
    await Promise.all([...this.#lanes, this.#creations].map((lane) => lane.drain()))
  }

  /** The log compares bytes; the same `data` with its keys in another order is the same request. */
  async #compareValues(send: SendRow, appended: Appended<SendOutcome>): Promise<Appended<SendOutcome>> {
    if (appended.outcome !== 'conflict' || send.data === null) return appended
    try {
      const first = await findSameRequest(this.#database, send)
      return first === undefined ? appended : { ...appended, ...first, outcome: 'duplicate' }
    } catch (error) {
      throw refusal('unknown', classifyDatabaseError(error, true))
    }
  }

  #laneOf(conversation: Id): LogLane {
    // The last characters of a UUIDv7 are random.
    return this.#lanes[Number.parseInt(conversation.slice(-4), 16) % this.#lanes.length] as LogLane
  }
}

/** Characters: an edit stores as much text as a message. */
function weightOf(operation: LogOperation): number {
  return operation.op === 'edit' ? operationChars + operation.text.length : operationChars
}

type Phase = 'sends' | 'operations' | 'closed'

class LogLane {
  readonly #lane: Lane
  readonly #policy: LogPolicy
  readonly #observer: ChangeLogObserver
  readonly #nowMs: () => number
  readonly #bounds: LaneBounds
  #waiting: Waiting[] = []
  #waitingWeight = 0
  #running: Promise<void> | undefined

  constructor(lane: Lane, policy: LogPolicy, observer: ChangeLogObserver, nowMs: () => number, bounds: LaneBounds) {
    this.#lane = lane
    this.#policy = policy
    this.#observer = observer
    this.#nowMs = nowMs
    this.#bounds = bounds
  }

  get waitingRows(): number {
    return this.#waiting.length
  }

  add(row: Row, conversation: Id, weight: number): Promise<Appended<string>> {
    if (
      this.#waiting.length >= changeLogBounds.waitingRowsMax ||
      this.#waitingWeight >= this.#bounds.waitingWeightMax
    ) {
      return Promise.reject(
        new ChorusError('unavailable', 'unable to store the change; too many are waiting for the database', {
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
    // Whatever arrives in the same turn of the event loop joins the first batch.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      await this.#commit(this.#gather(), false)
    }
    this.#running = undefined
  }

  /** Takes from the front what fits one batch; the rest keeps its order. */
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
      weight < this.#bounds.batchWeightMax;
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
      // A batch names each clientId once: the next one finds what the first has become.
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

  /** Stores these rows or answers each by its deadline. `mayBeStored`: an earlier attempt was cut. */
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
            // BAD1: one bad row never fails its neighbours.
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
      return toStatement(rows, this.#policy)
    } catch (thrown) {
      // Nothing was sent: not to be taken for a cut connection.
      throw new DatabaseError('bug', thrown)
    }
  }

  /** Those with time left. */
  #answerExpired(rows: readonly Waiting[], code: 'unavailable' | 'unknown'): readonly Waiting[] {
    const nowMs = this.#nowMs()
    const expired = rows.filter(({ deadlineAtMs }) => deadlineAtMs <= nowMs)
    if (expired.length === 0) return rows
    for (const waiting of expired) waiting.reject(refusal(code))
    return rows.filter(({ deadlineAtMs }) => deadlineAtMs > nowMs)
  }

  /** While their statement is under way: a row is not kept waiting for the younger ones of its batch. */
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
    ? new ChorusError('invalid', 'unable to store the change; the database refuses its values', { cause: error })
    : refusal(mayBeStored ? 'unknown' : 'unavailable', error)
}

function refusal(code: 'unavailable' | 'unknown', cause?: DatabaseError): ChorusError {
  const reason =
    code === 'unavailable'
      ? 'the database cannot store anything right now'
      : 'the database did not say whether it was stored'
  return new ChorusError(code, `unable to store the change; ${reason}`, { retryAfterMs: 1_000, cause })
}

/** Sends, then operations, then one change of membership; undefined: not in this batch. */
function nextPhase(phase: Phase, row: Row): Phase | undefined {
  switch (phase) {
    case 'closed':
      return undefined
    case 'operations':
      if (row.kind === 'send') return undefined
      return endsBatch(row.operation) ? 'closed' : 'operations'
    case 'sends':
      if (row.kind === 'send') return 'sends'
      return endsBatch(row.operation) ? 'closed' : 'operations'
  }
}

function endsBatch(operation: LogOperation): boolean {
  switch (operation.op) {
    case 'create':
    case 'put-member':
    case 'remove-member':
      return true
    case 'edit':
    case 'delete':
    case 'react':
    case 'unreact':
    case 'rename':
      return false
  }
}

const appendText =
  'select * from append_changes($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::text[], $6::json[], $7::text[], $8::bigint[], $9::jsonb)'

function toStatement(batch: readonly Waiting[], policy: LogPolicy): Statement {
  const sends: SendRow[] = []
  const operations: object[] = []
  for (const { row } of batch) {
    if (row.kind === 'send') sends.push(row.send)
    else operations.push(toSqlOperation(row.operation, policy))
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

/** A batch of one, what an idle server mostly has. */
function toSendStatement(send: SendRow): Statement {
  const { conversation, actor, clientId, text, data, replyTo } = send
  const dataText = data === null ? null : JSON.stringify(data)
  return {
    name: 'append_send',
    text: appendSendText,
    values: [conversation, actor, clientId, `\\x${hashRequest(send)}`, text, dataText, replyTo],
  }
}

/** What "the same request" means of a creation (IDEM2): the order in which members are named does not count. As hex. */
function hashCreation({ kind, name, members }: LogOperation & { readonly op: 'create' }): string {
  return hash('sha256', JSON.stringify([kind, name, [...members].sort()]))
}

/** Adds to an operation what the policy asks of its actor. */
function toSqlOperation(operation: LogOperation, { requirementOf, removableBy }: LogPolicy): object {
  switch (operation.op) {
    case 'create':
      return {
        ...operation,
        hash: operation.clientId === undefined ? null : hashCreation(operation),
        conversationsMax: limits.conversationsPerUserMax,
      }
    case 'edit':
      return { ...operation, ...requirementOf('edit-message') }
    case 'delete':
      return { ...operation, ...requirementOf('delete-message') }
    case 'react':
    case 'unreact':
      return { ...operation, ...requirementOf('react'), kindsMax: limits.reactionKindsMax }
    case 'rename':
      return { ...operation, ...requirementOf('rename') }
    case 'put-member':
      return {
        ...operation,
        ...requirementOf('add-member'),
        changeRoles: requirementOf('change-role').roles,
        conversationsMax: limits.conversationsPerUserMax,
      }
    case 'remove-member':
      return { ...operation, ...requirementOf('remove-member'), removes: removableBy }
  }
}

function settle(batch: readonly Waiting[], rows: readonly AppendedRow[], mayBeStored: boolean): void {
  const sends = rows.find((row) => row.kind === 'S')
  // Of each operation, or of the only send.
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
 * What an answer means when an earlier attempt was cut: an earlier row may be this request's own. A message is told by
 * its clientId. Of another operation a refusal may be its own doing (a member already removed is not found), so it is
 * undefined: unknown (rule ACK2).
 */
function outcomeAfterCut(row: Row, { outcome, detail }: Appended<string>): string | undefined {
  if (row.kind === 'send') return outcome === 'duplicate' ? 'stored' : outcome
  if (outcome === 'stored') return outcome
  if (outcome === 'conflict') return outcome
  if (outcome !== 'unchanged') return undefined
  return row.operation.op === 'create' && detail?.conversation === row.operation.conversation ? 'stored' : outcome
}

/** The message a stored send made. */
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
