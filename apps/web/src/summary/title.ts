/**
 * Computes the titles and short descriptions of conversations, as one of their members sees them.
 * Pure.
 */
import type { Conversation, PageMessage, User } from '@chorus/client'
import { excerpt, showsNothing } from '../text/plain-text.ts'

type Named = Pick<Conversation, 'kind' | 'name' | 'members' | 'memberCount'>

/**
 * Returns the other member of a direct conversation. If the user is the only member, returns the
 * user.
 */
export function partnerOf(conversation: Named, me: string): User | undefined {
  if (conversation.kind !== 'direct') return undefined
  return (conversation.members.find(({ user }) => user.id !== me) ?? conversation.members[0])?.user
}

/**
 * Returns the title of a conversation: its name, otherwise the name of the other person, otherwise
 * the names of the first three other members.
 */
export function titleOf(conversation: Named, me: string): string {
  if (conversation.name !== null) return conversation.name
  const partner = partnerOf(conversation, me)
  if (partner !== undefined) return partner.name
  const others = conversation.members.map(({ user }) => user).filter(({ id }) => id !== me)
  if (others.length === 0) return conversation.kind === 'direct' ? 'Someone' : 'Just you'
  const shown = others.slice(0, 3).map(({ name }) => name.split(/\s+/)[0] ?? name)
  const more = conversation.memberCount - 1 - shown.length
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ')
}

export function countMembers(count: number): string {
  return count === 1 ? '1 member' : `${count.toLocaleString()} members`
}

type Described = Pick<PageMessage, 'text' | 'deletedAt' | 'attachments'> & Partial<Pick<PageMessage, 'data' | 'card'>>

/** Returns one line of text that describes a message, for lists and quotes. */
export function describeMessage({ text, deletedAt, attachments, data = null, card }: Described): string {
  if (deletedAt !== null) return 'Message deleted'
  const title = excerpt(card?.title ?? '')
  if (!showsNothing(title)) return title
  const line = excerpt(text)
  if (!showsNothing(line)) return line
  if (attachments.length > 0) return 'Attachment'
  return data === null && card === undefined ? 'Message' : 'Content this app can’t show'
}

/** Formats a number for a badge. Returns `99+` above 99, because a badge has little room. */
export function formatCount(count: number): string {
  return count > 99 ? '99+' : String(count)
}

/**
 * Describes which members are typing: `Ada is typing`, `Ada and Bob are typing` or `Several people
 * are typing`.
 */
export function describeTyping(names: readonly string[]): string {
  const [first, second] = names
  if (first === undefined) return ''
  if (second === undefined) return `${first} is typing`
  return names.length === 2 ? `${first} and ${second} are typing` : 'Several people are typing'
}
