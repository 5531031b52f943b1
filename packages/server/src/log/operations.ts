/**
 * Operations that change a conversation: their fields and their rules, for every transport (rule
 * ACL3). SQL checks the rules under the conversation's lock, where no removal can come in between
 * (append-op.sql, rule ACL1). A non-member always gets `not-found`; a member without the right gets
 * `forbidden`.
 */
import { type ConversationKind, type Id, limits, type Role } from '@chorus/protocol'

/** Rule of an operation. SQL also receives its further fields, such as limits. */
interface Rule {
  /** Roles whose members may act. */
  readonly roles: readonly Role[]
  /** True if the sender of the message may act, whatever their role. */
  readonly own: boolean
  /** Kinds of conversations in which the operation exists. */
  readonly kinds: readonly ConversationKind[]
  readonly [field: string]: unknown
}

const everybody: readonly Role[] = ['owner', 'moderator', 'member']
const moderators: readonly Role[] = ['owner', 'moderator']
const anyKind: readonly ConversationKind[] = ['direct', 'group', 'channel']
const withRoles: readonly ConversationKind[] = ['group', 'channel']

/** Roles that a member of each role may remove. Leaving needs no role. */
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
} as const satisfies { readonly [name: string]: Rule }

type OperationName = keyof typeof operationRules

/**
 * Fields of the operations besides conversation and actor. All others act on a message, and have
 * only its seq, `target`.
 */
interface Fields {
  readonly edit: { readonly target: number; readonly text: string }
  readonly react: { readonly target: number; readonly emoji: string }
  readonly unreact: Fields['react']
  readonly rename: { readonly name: string }
  readonly 'put-member': { readonly user: Id; readonly role: Role | null }
  readonly 'remove-member': { readonly user: Id }
}

type FieldsOf<Name> = Name extends keyof Fields ? Fields[Name] : { readonly target: number }

/** Creation of a conversation. */
export interface Creation {
  readonly op: 'create'
  readonly conversation: Id
  readonly actor: Id
  readonly kind: ConversationKind
  readonly name: string | null
  readonly directKey: string | null
  /** Members of the new conversation, the creator first. */
  readonly members: readonly Id[]
  /** Creator's id for this request (rule IDEM2). */
  readonly clientId?: Id
}

/** Any operation that changes a conversation, except sends. */
export type LogOperation =
  | Creation
  | {
      readonly [Name in OperationName]: {
        readonly op: Name
        readonly conversation: Id
        readonly actor: Id
      } & FieldsOf<Name>
    }[OperationName]

/** Returns true for operations that change members: they are the last of their batch (rule ACL1). */
export function changesMembers(operation: LogOperation): boolean {
  return operation.op === 'create' || 'user' in operation
}
