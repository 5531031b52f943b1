/**
 * Fields of each type of change. Generated from packages/protocol/src/objects/ by `npm run docs`.
 * Do not edit.
 */
import type { Change, ChangeField, ChangeType, MessageChangeType } from '@chorus/protocol'

export const changeFields: { readonly [Type in ChangeType]: readonly ChangeField[] } = {
  'message.created': ['seq', 'at', 'actor', 'type', 'message'],
  'message.edited': ['seq', 'at', 'actor', 'type', 'message'],
  'message.deleted': ['seq', 'at', 'actor', 'type', 'message'],
  'card.updated': ['seq', 'at', 'actor', 'type', 'message'],
  'card.acted': ['seq', 'at', 'actor', 'type', 'target', 'action'],
  'reaction.added': ['seq', 'at', 'actor', 'type', 'target', 'emoji'],
  'reaction.removed': ['seq', 'at', 'actor', 'type', 'target', 'emoji'],
  'member.joined': ['seq', 'at', 'actor', 'type', 'user', 'role'],
  'member.left': ['seq', 'at', 'actor', 'type', 'user', 'role'],
  'member.updated': ['seq', 'at', 'actor', 'type', 'user', 'role'],
  'conversation.created': ['seq', 'at', 'actor', 'type', 'conversation'],
  'conversation.updated': ['seq', 'at', 'actor', 'type', 'conversation'],
  skip: ['seq', 'type', 'from', 'to'],
}

/** Returns whether this version knows a type of change. */
export function isChangeType(type: string): type is ChangeType {
  return Object.hasOwn(changeFields, type)
}

/**
 * Returns whether a change contains the message after it. A server that does not know the type sends
 * the change without it.
 */
export function hasMessage(change: Change): change is Extract<Change, { type: MessageChangeType }> {
  return isChangeType(change.type) && changeFields[change.type].includes('message') && 'message' in change
}
