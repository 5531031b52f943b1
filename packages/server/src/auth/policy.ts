/**
 * Access rules of conversations, for every transport (rule ACL3). Pure: maps an action to the
 * required role. The log checks that under the conversation's lock, where no removal can come in
 * between (rule ACL1).
 *
 * A non-member always gets `not-found`; a member without the right gets `forbidden`.
 */
import type { ConversationKind, Role } from '@chorus/protocol'

export type Action =
  | 'read'
  | 'send-message'
  | 'edit-message'
  | 'delete-message'
  | 'react'
  | 'rename'
  | 'add-member'
  | 'change-role'
  | 'remove-member'

export interface Requirement {
  /** Roles whose members may act. */
  readonly roles: readonly Role[]
  /** True if the sender of the message may act, whatever their role. */
  readonly own: boolean
  /** Kinds of conversations in which the action exists. */
  readonly kinds: readonly ConversationKind[]
}

const everybody: readonly Role[] = ['owner', 'moderator', 'member']
const moderators: readonly Role[] = ['owner', 'moderator']
const anyKind: readonly ConversationKind[] = ['direct', 'group', 'channel']
const withRoles: readonly ConversationKind[] = ['group', 'channel']

const requirements: { readonly [A in Action]: Requirement } = {
  read: { roles: everybody, own: false, kinds: anyKind },
  'send-message': { roles: everybody, own: false, kinds: anyKind },
  'edit-message': { roles: [], own: true, kinds: anyKind },
  'delete-message': { roles: moderators, own: true, kinds: anyKind },
  react: { roles: everybody, own: false, kinds: anyKind },
  rename: { roles: moderators, own: false, kinds: withRoles },
  'add-member': { roles: moderators, own: false, kinds: withRoles },
  'change-role': { roles: ['owner'], own: false, kinds: withRoles },
  'remove-member': { roles: moderators, own: false, kinds: withRoles },
}

export function requirementOf(action: Action): Requirement {
  return requirements[action]
}

/** Roles that a member of each role may remove. Leaving needs no role. */
export const removableBy: { readonly [R in Role]: readonly Role[] } = {
  owner: ['owner', 'moderator', 'member'],
  moderator: ['member'],
  member: [],
}

/** Returns true if the action is allowed, from facts that the caller has read. */
export function mayAct(
  action: Action,
  facts: { role: Role | null; kind: ConversationKind; isSender?: boolean },
): boolean {
  const requirement = requirements[action]
  if (facts.role === null || !requirement.kinds.includes(facts.kind)) return false
  return requirement.roles.includes(facts.role) || (requirement.own && facts.isSender === true)
}
