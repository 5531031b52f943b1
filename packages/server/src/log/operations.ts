/**
 * Operations that change a conversation: their fields and their rules, for every transport (rule
 * ACL3). SQL checks the rules under the conversation's lock, so that no member can be removed
 * between the check and the change (append-op.sql, rule ACL1). A non-member always gets
 * `not-found`; a member without the right gets `forbidden`.
 */
import { type ConversationKind, type Id, limits, type Role, type Subject } from '@chorus/protocol'

/** Access rule of an operation. SQL also receives the further fields, such as limits. */
interface Rule {
  /** Roles whose members may run the operation. */
  readonly roles: readonly Role[]
  /** True if the sender of the message may always run the operation on it. */
  readonly own: boolean
  /** Kinds of conversations in which the operation exists. */
  readonly kinds: readonly ConversationKind[]
  readonly [field: string]: unknown
}

const everybody: readonly Role[] = ['owner', 'moderator', 'member']
const moderators: readonly Role[] = ['owner', 'moderator']
const anyKind: readonly ConversationKind[] = ['direct', 'group', 'channel']
const withRoles: readonly ConversationKind[] = ['group', 'channel']

/** For each role, the roles of members that it may remove. Members with any role may leave. */
const removableBy: { readonly [R in Role]: readonly Role[] } = {
  owner: ['owner', 'moderator', 'member'],
  moderator: ['member'],
  member: [],
}

const reaction = { roles: everybody, own: false, kinds: anyKind, kindsMax: limits.reactionKindsMax }

export const operationRules = {
  edit: { roles: [], own: true, kinds: anyKind },
  delete: { roles: moderators, own: true, kinds: anyKind },
  react: reaction,
  unreact: reaction,
  rename: { roles: moderators, own: false, kinds: withRoles },
  'put-member': {
    roles: moderators,
    own: false,
    kinds: withRoles,
    changeRoles: ['owner'] satisfies Role[],
    conversationsMax: limits.conversationsPerUserMax,
  },
  'remove-member': { roles: moderators, own: false, kinds: withRoles, removes: removableBy },
  'describe-subject': { roles: [], own: false, kinds: withRoles },
  // Only API keys run the first two. SQL checks membership, and for an act the users of the action
  // (append-card.sql).
  'send-card': { roles: everybody, own: false, kinds: anyKind },
  'update-card': { roles: everybody, own: false, kinds: anyKind },
  act: { roles: everybody, own: false, kinds: anyKind },
  // Only the erasure of a user runs these. SQL checks that it has begun (append-erasure.sql).
  'erase-message': { roles: [], own: true, kinds: anyKind },
  'erase-reaction': { roles: [], own: true, kinds: anyKind },
  'erase-member': { roles: [], own: true, kinds: withRoles },
} as const satisfies { readonly [name: string]: Rule }

type OperationName = keyof typeof operationRules

/**
 * Fields of each operation, besides the conversation and the acting user. Operations that are not
 * listed here act on a message and have only its seq, `target`.
 */
interface Fields {
  readonly edit: { readonly target: number; readonly text: string }
  readonly react: { readonly target: number; readonly emoji: string }
  readonly unreact: Fields['react']
  readonly rename: { readonly name: string }
  readonly 'put-member': {
    readonly user: Id
    readonly role: Role | null
    /** True for a conversation of a subject that an API key fills. The rights of roles do not apply. */
    readonly byKey?: true
  }
  readonly 'remove-member': { readonly user: Id }
  /** Replaces the description of the conversation's subject, for an API key. */
  readonly 'describe-subject': {
    readonly byKey: true
    readonly title: string | null
    readonly url: string | null
    /** JSON text, so that the order of its fields is kept. */
    readonly data: string | null
  }
  readonly 'erase-reaction': Fields['react']
  readonly 'erase-member': Fields['remove-member']
  /** Cards and `data` are JSON texts, so that the order of their fields is kept. */
  readonly 'send-card': {
    readonly clientId: Id
    /** Hash of the request, as hex (rule IDEM1). */
    readonly hash: string
    readonly text: string
    readonly data: string | null
    /** Null if the card cannot be stored. Then only an earlier message of this request is returned. */
    readonly card: string | null
  }
  readonly 'update-card': { readonly target: number; readonly version: number; readonly card: string }
  readonly act: {
    readonly target: number
    readonly clientId: Id
    readonly hash: string
    readonly version: number
    readonly action: string
  }
}

type FieldsOf<Name> = Name extends keyof Fields ? Fields[Name] : { readonly target: number }

/** Request to create a conversation. */
export interface Creation {
  readonly op: 'create'
  readonly conversation: Id
  readonly actor: Id
  readonly kind: ConversationKind
  readonly name: string | null
  readonly directKey: string | null
  /** Members of the new conversation. The first one is the creator. */
  readonly members: readonly Id[]
  /** Id that the client chose for this request (rule IDEM2). */
  readonly clientId?: Id
  /** Subject of the conversation. A subject has at most one conversation (rule SUB1). */
  readonly subject?: Subject
}

/** Operation that changes an existing conversation, except sending a message. */
export type LogOperation =
  | Creation
  | {
      readonly [Name in OperationName]: {
        readonly op: Name
        readonly conversation: Id
        readonly actor: Id
      } & FieldsOf<Name>
    }[OperationName]

/** Operations on cards. */
export type CardOperation = 'send-card' | 'update-card' | 'act'

/**
 * Returns true for operations that change members. They must be the last of their batch (rule
 * ACL1).
 */
export function changesMembers(operation: LogOperation): boolean {
  return operation.op === 'create' || 'user' in operation
}
