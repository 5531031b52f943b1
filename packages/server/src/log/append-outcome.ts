/**
 * Converts the rows that the database returned for a batch of appends into one result per request.
 * A request is reported as refused only if its change was certainly not stored (rule ACK2).
 */
import { ChorusError, type ConversationKind, type Id, type Member, type Role } from '@chorus/protocol'
import type { DatabaseError } from '../database/database-errors.ts'
import type { MessageColumns } from '../support/message-columns.ts'
import type { LogRow } from './append-statement.ts'

export type SendOutcome = 'stored' | 'duplicate' | 'conflict' | 'not-found' | 'invalid-reply'
export type OperationOutcome = 'stored' | 'unchanged' | 'not-found' | 'forbidden' | 'too-large' | 'conflict'

/** Outcome of an operation on a card. `stale`: the card has changed since, or a member has acted. */
export type CardOutcome = OperationOutcome | 'stale'

export type OperationDetail = Partial<MessageColumns> & {
  readonly conversation?: Id
  readonly role?: Role
  readonly joined?: boolean
  /** Membership of the user after the change. Set only for `put-member`. */
  readonly member?: Member
  /** Kind of the conversation. Set only for `rename` and `describe-subject`. */
  readonly kind?: ConversationKind
  /** Name of the conversation. Set only for `describe-subject`. */
  readonly name?: string | null
}

export interface Appended<Outcome> {
  readonly outcome: Outcome
  /** Seq of the stored change. 0 when the request was refused. */
  readonly seq: number
  readonly at: string
  readonly xid: number
  readonly detail: OperationDetail | null
}

/**
 * Row that the SQL function returned. Kinds `o` and `s` describe one operation or one single
 * message; kind `S` describes all messages of a batch.
 */
export type AppendedRow =
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
  /** Outcome of each message. Null when all messages were stored. */
  readonly outcome: readonly string[] | null
  readonly seq: readonly (number | null)[]
  /** Creation time of each message. Null when all messages have the time of the batch. */
  readonly at: readonly (string | null)[] | null
}

/** Row of a batch whose caller still waits for the result. */
export interface UnsettledRow {
  readonly row: LogRow
  readonly resolve: (appended: Appended<string>) => void
  readonly reject: (error: ChorusError) => void
}

/**
 * Resolves or rejects the promise of each row of a batch, by the rows that SQL returned.
 * `mayBeStored` is true when an earlier attempt lost its connection, so it may have stored the
 * batch.
 */
export function settle(batch: readonly UnsettledRow[], rows: readonly AppendedRow[], mayBeStored: boolean): void {
  const sends = rows.find((row) => row.kind === 'S')
  // Results for the operations of the batch, or for its only message.
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
 * row. A stored message is found by its clientId. An operation that is refused now may have been
 * stored by that attempt: the second removal of a member gives `not-found`. In that case, returns
 * undefined, and the caller answers `unknown` (rule ACK2).
 */
function outcomeAfterCut(row: LogRow, { outcome, detail }: Appended<string>): string | undefined {
  if (row.kind === 'send') return outcome === 'duplicate' ? 'stored' : outcome
  if (outcome === 'stored') return outcome
  if (outcome === 'conflict') return outcome
  // SQL looks for the clientId of a card or an act first. So a refusal means that it is not stored.
  if (row.operation.op === 'send-card' || row.operation.op === 'act') return outcome
  if (outcome !== 'unchanged') return undefined
  return row.operation.op === 'create' && detail?.conversation === row.operation.conversation ? 'stored' : outcome
}

/** Returns the error for a row that failed in a batch of its own. */
export function refusalOfRow(error: DatabaseError, mayBeStored: boolean): ChorusError {
  return error.kind === 'data'
    ? new ChorusError('invalid', 'unable to store the change; the database rejected its values', { cause: error })
    : refusal(mayBeStored ? 'unknown' : 'unavailable', error)
}

/**
 * Returns the error to answer with: `unavailable` when the row was certainly not stored, else
 * `unknown`.
 */
export function refusal(code: 'unavailable' | 'unknown', cause?: DatabaseError): ChorusError {
  const reason =
    code === 'unavailable'
      ? 'the database cannot store anything right now'
      : 'the database did not confirm whether it was stored'
  return new ChorusError(code, `unable to store the change; ${reason}`, { retryAfterMs: 1_000, cause })
}
