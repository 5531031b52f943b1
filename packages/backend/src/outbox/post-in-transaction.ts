/**
 * Writes a message for Chorus into the integrator's own transaction.
 *
 * Guarantee: the message is posted if the transaction commits, exactly once, and not at all if it
 * rolls back (rule OUT1). A mistake in the arguments is thrown before a statement is sent, so it
 * does not abort the transaction by itself.
 */
import { randomUUID } from 'node:crypto'
import { externalIdSchema } from '@chorus/protocol'
import type { CardContent, Subject } from '../model/objects.ts'
import type { StatementClient } from './database.ts'

interface OutboxContent {
  /** UUID of the message. A repeated id is posted once. Default: a new one. */
  readonly id?: string
  /** External id of the sender. Absent: the bot user of the key. */
  readonly as?: string
  readonly text?: string
  readonly card?: CardContent
}

/** A message for a conversation, given by its id or by the subject that it is about. */
export type OutboxMessage = OutboxContent &
  (
    | { readonly conversation: string; readonly subject?: undefined }
    | { readonly subject: Subject; readonly conversation?: undefined }
  )

const uuid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i

/**
 * Stores the message with the work of the transaction that `client` runs, and returns its id, which
 * becomes the message's `clientId`. Pass the client of the transaction, not the pool.
 */
export async function postInTransaction(client: StatementClient, message: OutboxMessage): Promise<{ id: string }> {
  const { id = randomUUID(), conversation, subject, as, text, card } = message
  if (!uuid.test(id)) throw refused('id must be a UUID')
  if ((conversation === undefined) === (subject === undefined))
    throw refused('give either the conversation or the subject')
  if (conversation !== undefined && !uuid.test(conversation)) throw refused('conversation must be a UUID')
  if (
    subject !== undefined &&
    (!/^[a-z0-9-]{1,32}$/.test(subject.type) || !isText(subject.id, 128) || /^[.]{1,2}$/.test(subject.id))
  )
    throw refused(
      'the subject needs a type of a to z, 0 to 9 and "-", and an id of 1 to 128 characters that is not . or ..',
    )
  if (as !== undefined && !externalIdSchema.safeParse(as).success) throw refused('as must be an external id')
  if ((text === undefined || text === '') && card === undefined) throw refused('the message needs a text or a card')
  // Postgres cannot store NUL: the statement would fail, and the whole transaction with it.
  if (text?.includes('\u0000') === true || text?.isWellFormed() === false)
    throw refused('text must not contain NUL or half a character')
  const cardJson = card === undefined ? null : JSON.stringify(card)
  await client.query(
    `insert into chorus_outbox (id, conversation, subject_type, subject_id, sender, text, card)
     values ($1::text::uuid, $2::text::uuid, $3::text, $4::text, $5::text, $6::text, $7::text::json)
     on conflict (id) do nothing`,
    [id, conversation ?? null, subject?.type ?? null, subject?.id ?? null, as ?? null, text ?? null, cardJson],
  )
  return { id: id.toLowerCase() }
}

function isText(value: unknown, maxChars: number): boolean {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= maxChars &&
    value.isWellFormed() &&
    !value.includes('\u0000')
  )
}

function refused(why: string): TypeError {
  return new TypeError(`unable to post in transaction; ${why}`)
}
