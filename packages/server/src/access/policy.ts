/**
 * Who may do what in a conversation, for every transport (rule ACL3). Pure: it turns an action into what the asker must
 * be, and the log checks that under the conversation's lock, where a removal cannot slip in between (rule ACL1).
 *
 * A non-member is always told `not-found`; a member without the right is told `forbidden`.
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
  /** Members with one of these roles may. */
  readonly roles: readonly Role[]
  /** The sender of the message may, whatever the role. */
  readonly own: boolean
  /** In conversations of these kinds. */
  readonly kinds: readonly ConversationKind[]
}

const everybody: readonly Role[] = ['owner', 'moderator', 'member']
const stewards: readonly Role[] = ['owner', 'moderator']
const anyKind: readonly ConversationKind[] = ['direct', 'group', 'channel']
const withRoles: readonly ConversationKind[] = ['group', 'channel']

const requirements: { readonly [A in Action]: Requirement } = {
  read: { roles: everybody, own: false, kinds: anyKind },
  'send-message': { roles: everybody, own: false, kinds: anyKind },
  'edit-message': { roles: [], own: true, kinds: anyKind },
  'delete-message': { roles: stewards, own: true, kinds: anyKind },
  react: { roles: everybody, own: false, kinds: anyKind },
  rename: { roles: stewards, own: false, kinds: withRoles },
  'add-member': { roles: stewards, own: false, kinds: withRoles },
  'change-role': { roles: ['owner'], own: false, kinds: withRoles },
  'remove-member': { roles: stewards, own: false, kinds: withRoles },
}

export function requirementOf(action: Action): Requirement {
  return requirements[action]
}

/** Whom each role may remove; leaving oneself needs no role. */
export const removableBy: { readonly [R in Role]: readonly Role[] } = {
  owner: ['owner', 'moderator', 'member'],
  moderator: ['member'],
  member: [],
}

/** The decision itself, over facts that somebody has read. */
export function mayAct(
  action: Action,
  facts: { role: Role | null; kind: ConversationKind; isSender?: boolean },
): boolean {
  const requirement = requirements[action]
  if (facts.role === null || !requirement.kinds.includes(facts.kind)) return false
  return requirement.roles.includes(facts.role) || (requirement.own && facts.isSender === true)
}
