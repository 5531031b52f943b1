/**
 * A change as the server handles it: encoded once as JSON, together with the few facts that
 * delivery needs, so that no later step parses it again on the way to a client.
 */
import type { Change, Id, Message, OtherChange, Role } from '@chorus/protocol'

/** Effect of a change on the members who may see later changes (rule ACL1). */
export type MembershipEffect =
  | { readonly kind: 'joined'; readonly user: Id }
  | { readonly kind: 'left'; readonly user: Id }
  | { readonly kind: 'updated'; readonly user: Id; readonly role: Role }

export interface LoggedChange {
  readonly conversation: Id
  readonly seq: number
  /** Id of the transaction that wrote the change; below 2^53. */
  readonly xid: number
  /** The change as clients see it. */
  readonly json: string
  readonly effect: MembershipEffect | undefined
}

/** A row of `changes`, joined with the message it is about. */
export interface ChangeRow {
  readonly conversation: Id
  readonly seq: number
  readonly xid: string
  readonly at: string
  /**
   * Usually a type of {@link Change}; a server of a later version may have written a different
   * type.
   */
  readonly type: string
  readonly actor: Id
  readonly target: number | null
  readonly user_id: Id | null
  readonly role: Role | null
  readonly emoji: string | null
  readonly name: string | null
  readonly kind: 'direct' | 'group' | 'channel'
  readonly message: MessageColumns | null
}

/** Columns of a message, as returned by `message_detail` and by the reads. */
export interface MessageColumns {
  readonly version: number
  readonly client_id: Id
  readonly sender: Id
  readonly text: string
  readonly data: Message['data']
  readonly attachments: readonly Id[] | null
  readonly reply_to: number | null
  readonly created_at: string
  readonly edited_at: string | null
  readonly deleted_at: string | null
}

const toIso = (time: string): string => new Date(time).toISOString()
const toIsoOrNull = (time: string | null): string | null => (time === null ? null : toIso(time))

export function toMessage(conversation: Id, seq: number, columns: MessageColumns): Message {
  return {
    conversation,
    seq,
    version: columns.version,
    clientId: columns.client_id,
    sender: columns.sender,
    text: columns.text,
    replyTo: columns.reply_to,
    attachments: [...(columns.attachments ?? [])],
    data: columns.data,
    createdAt: toIso(columns.created_at),
    editedAt: toIsoOrNull(columns.edited_at),
    deletedAt: toIsoOrNull(columns.deleted_at),
  }
}

export function toLoggedChange(row: ChangeRow): LoggedChange {
  const change = toChange(row)
  return encodeChange(row.conversation, Number(row.xid), change)
}

export function encodeChange(conversation: Id, xid: number, change: Change): LoggedChange {
  return { conversation, seq: change.seq, xid, json: JSON.stringify(change), effect: effectOf(change) }
}

/**
 * Encodes a message that was just sent, which is the most frequent change. Builds the JSON from
 * parts, because ids, numbers and times need no escaping. Returns exactly what {@link encodeChange}
 * returns.
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

/**
 * Returns the change stored in a row. A row never makes a read fail, because then no change of its
 * conversation could be delivered. A change of an unknown type is sent with the fields that every
 * change has (see `otherChangeSchema`). A change that lacks a field of its type is sent as `skip`,
 * which marks its seq as empty.
 */
export function toChange(row: ChangeRow): Change {
  return toKnownChange(row) ?? { seq: row.seq, type: 'skip', from: row.seq, to: row.seq }
}

function toKnownChange(row: ChangeRow): Change | undefined {
  const { seq, message, target, user_id: user, role, emoji } = row
  const common = { seq, at: toIso(row.at), actor: row.actor }
  switch (row.type) {
    case 'message.created':
    case 'message.edited':
    case 'message.deleted':
      return message === null
        ? undefined
        : { ...common, type: row.type, message: toMessage(row.conversation, target ?? seq, message) }
    case 'reaction.added':
    case 'reaction.removed':
      return target === null || emoji === null ? undefined : { ...common, type: row.type, target, emoji }
    case 'member.joined':
    case 'member.left':
    case 'member.updated':
      return user === null || role === null ? undefined : { ...common, type: row.type, user, role }
    case 'conversation.created':
    case 'conversation.updated':
      return { ...common, type: row.type, conversation: { id: row.conversation, kind: row.kind, name: row.name } }
    case 'skip':
      return target === null ? undefined : { seq, type: 'skip', from: target, to: seq }
    default: {
      const other: OtherChange = { ...common, type: row.type }
      return other as Change
    }
  }
}
