/**
 * Change as the server handles it: encoded as JSON once, together with the few facts that delivery
 * needs. So no step on the way to a client has to parse it again.
 */
import {
  type Change,
  type ChangeField,
  changeFields,
  type Id,
  isChangeType,
  type Message,
  type OtherChange,
  type Role,
  type Subject,
} from '@chorus/protocol'
import { type MessageColumns, toMessage } from './message-columns.ts'

/** Effect of a change on the members who may see later changes (rule ACL1). */
export type MembershipEffect =
  | { readonly kind: 'joined'; readonly user: Id }
  | { readonly kind: 'left'; readonly user: Id }
  | { readonly kind: 'updated'; readonly user: Id; readonly role: Role }

export interface LoggedChange {
  readonly conversation: Id
  readonly seq: number
  /** Id of the transaction that wrote the change. Always below 2^53. */
  readonly xid: number
  /** JSON of the change, as clients receive it. */
  readonly json: string
  readonly effect: MembershipEffect | undefined
}

/** Row of `changes`, joined with the message that the change is about. */
export interface ChangeRow {
  readonly conversation: Id
  readonly seq: number
  readonly xid: string
  readonly at: string
  /**
   * Type of the change. Usually one of {@link Change}, but a server of a later version may have
   * written an unknown one.
   */
  readonly type: string
  readonly actor: Id
  readonly target: number | null
  readonly user_id: Id | null
  readonly role: Role | null
  readonly emoji: string | null
  readonly name: string | null
  readonly action: string | null
  readonly kind: 'direct' | 'group' | 'channel'
  /** Subject of the conversation, as it is now. Set only for changes that contain the conversation. */
  readonly subject: Subject | null
  readonly message: MessageColumns | null
}

export function toLoggedChange(row: ChangeRow): LoggedChange {
  const change = toChange(row)
  return encodeChange(row.conversation, Number(row.xid), change)
}

export function encodeChange(conversation: Id, xid: number, change: Change): LoggedChange {
  return { conversation, seq: change.seq, xid, json: JSON.stringify(change), effect: effectOf(change) }
}

/**
 * Encodes a message that was just sent, the most frequent change. Builds the JSON by joining texts,
 * which is fast and safe, because ids, numbers and times need no escaping. Returns exactly the same
 * as {@link encodeChange}.
 */
export function encodeSentMessage(xid: number, at: string, message: Message): LoggedChange {
  const { conversation, seq, clientId, sender, text, replyTo, data } = message
  const json =
    `{"seq":${seq},"at":"${at}","actor":"${sender}","type":"message.created","message":{"conversation":"${conversation}"` +
    `,"seq":${seq},"version":${seq},"clientId":"${clientId}","sender":"${sender}","text":${JSON.stringify(text)}` +
    `,"replyTo":${replyTo},"attachments":[],"data":${data === null ? 'null' : JSON.stringify(data)}` +
    `,"createdAt":"${message.createdAt}","editedAt":null,"deletedAt":null}}`
  return { conversation, seq, xid, json, effect: undefined }
}

function effectOf(change: Change): MembershipEffect | undefined {
  switch (change.type) {
    case 'member.joined':
      return { kind: 'joined', user: change.user }
    case 'member.left':
      return { kind: 'left', user: change.user }
    case 'member.updated':
      return { kind: 'updated', user: change.user, role: change.role }
    default:
      return undefined
  }
}

const toIso = (time: string): string => new Date(time).toISOString()

/**
 * Functions that read each field of a change from its row. They return null if the row has no value
 * for it.
 */
const fieldReaders: { readonly [Field in ChangeField]: (row: ChangeRow) => unknown } = {
  seq: ({ seq }) => seq,
  at: ({ at }) => toIso(at),
  actor: ({ actor }) => actor,
  type: ({ type }) => type,
  message: ({ conversation, target, seq, message }) => message && toMessage(conversation, target ?? seq, message),
  target: ({ target }) => target,
  emoji: ({ emoji }) => emoji,
  action: ({ action }) => action,
  user: ({ user_id }) => user_id,
  role: ({ role }) => role,
  conversation: ({ conversation, kind, name, subject }) => ({
    id: conversation,
    kind,
    name,
    ...(subject !== null && { subject }),
  }),
  from: ({ target }) => target,
  to: ({ seq }) => seq,
}

/**
 * Returns the change that a row describes. An unusual row never makes the read fail, because then
 * no change of its conversation could be delivered. A change of an unknown type is returned with
 * only the fields that all changes have (see `otherChangeSchema`). A change that lacks a field of
 * its type is returned as `skip`, which marks its seq as empty.
 */
export function toChange(row: ChangeRow): Change {
  return toKnownChange(row) ?? { seq: row.seq, type: 'skip', from: row.seq, to: row.seq }
}

function toKnownChange(row: ChangeRow): Change | undefined {
  if (!isChangeType(row.type)) {
    const other: OtherChange = { seq: row.seq, at: toIso(row.at), actor: row.actor, type: row.type }
    return other as Change
  }
  const change: Partial<Record<ChangeField, unknown>> = {}
  for (const field of changeFields[row.type]) {
    const value = fieldReaders[field](row)
    if (value === null) return undefined
    change[field] = value
  }
  return change as Change
}
