/**
 * Builds the SQL statement of a batch: one call of `append_changes`, or of `append_send` for a
 * single message. Every value is a parameter. Operations include their access rules, because SQL
 * checks them while it holds the lock of the conversation.
 */
import { hash } from 'node:crypto'
import { type Id, type Json, limits } from '@chorus/protocol'
import { bigintArray, byteaArray, plainArray, textArray } from '../database/array-literal.ts'
import type { Statement } from '../database/database.ts'
import { type Creation, type LogOperation, operationRules } from './operations.ts'
import { hashRequest, type RequestParts } from './same-request.ts'

/** Message to append to the log. */
export interface SendRow {
  readonly conversation: Id
  readonly actor: Id
  readonly clientId: Id
  readonly text: string
  readonly replyTo: number | null
  readonly data: Json
  /**
   * Request of the client, if the pre-send hook has replaced its text or data. Its hash is stored, so
   * that a retry is recognised (rule IDEM1).
   */
  readonly original?: RequestParts
}

/** Row of a batch: a message, an operation or a creation. */
export type LogRow =
  | { readonly kind: 'send'; readonly send: SendRow }
  | { readonly kind: 'operation'; readonly operation: LogOperation }

const appendText =
  'select * from append_changes($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::text[], $6::json[], $7::text[], $8::bigint[], $9::jsonb)'

/** Builds the SQL statement that stores all rows of a batch. */
export function toStatement(batch: readonly { readonly row: LogRow }[]): Statement {
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
      byteaArray(sends.map((send) => hashRequest(send.original ?? send))),
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

/** Builds the SQL statement for a batch with a single message, the usual case on an idle server. */
function toSendStatement(send: SendRow): Statement {
  const { conversation, actor, clientId, text, data, replyTo } = send
  const dataText = data === null ? null : JSON.stringify(data)
  return {
    name: 'append_send',
    text: appendSendText,
    values: [conversation, actor, clientId, `\\x${hashRequest(send.original ?? send)}`, text, dataText, replyTo],
  }
}

/**
 * Hashes the request to create a conversation, so that a retry is recognised (rule IDEM2). The
 * order of the members does not matter. Returns hex.
 */
function hashCreation({ kind, name, members }: Creation): string {
  return hash('sha256', JSON.stringify([kind, name, [...members].sort()]))
}

/** Returns an operation with its access rules, which SQL checks. */
function toSqlOperation(operation: LogOperation): object {
  if (operation.op !== 'create') return { ...operation, ...operationRules[operation.op] }
  return {
    ...operation,
    hash: operation.clientId === undefined ? null : hashCreation(operation),
    conversationsMax: limits.conversationsPerUserMax,
  }
}
