/**
 * Entry of a conversation in the conversation list, updated from its log. Pure functions. The
 * server's conversation object includes all changes up to its `seq`, so only later changes are
 * applied to it. The object and the changes may therefore arrive in any order.
 */
import { type Change, type Conversation, limits, type PageMessage } from '@chorus/protocol'
import type { ConversationSummary } from './api-conversation.ts'
import { hasMessage } from './change-fields.ts'
import { countReaction, reactionsOf, spanOf, type TimelineWindow, withAct } from './timeline.ts'

/**
 * A summary, and the seq at which its unread messages were counted. That seq can differ from the
 * summary's, because read markers move outside the log.
 */
export interface SummaryState {
  readonly summary: ConversationSummary
  readonly unreadAsOfSeq: number
}

export function toSummary(conversation: Conversation): ConversationSummary {
  return { ...conversation, activeAt: conversation.lastMessage?.createdAt ?? beginningOf(conversation.id) }
}

/**
 * Returns when a conversation was created. Its id is a UUIDv7, which begins with the creation time
 * in milliseconds.
 */
function beginningOf(id: string): string {
  const ms = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)
  return new Date(Number.isNaN(ms) || ms > 8.64e15 ? 0 : ms).toISOString()
}

export function applyChangeToSummary(state: SummaryState, change: Change, me: string): SummaryState {
  const { to } = spanOf(change)
  const { summary, unreadAsOfSeq } = state
  const unread = to > unreadAsOfSeq ? countUnread(summary, change, me) : summary.unread
  const changed = to > summary.seq ? { ...applyToFields(summary, change, me), seq: to } : summary
  return {
    summary: unread === summary.unread && changed === summary ? summary : { ...changed, unread },
    unreadAsOfSeq: Math.max(unreadAsOfSeq, to),
  }
}

function countUnread({ unread, readSeq }: ConversationSummary, change: Change, me: string): number {
  switch (change.type) {
    case 'message.created':
      if (change.message.sender === me || change.message.seq <= readSeq) return unread
      return Math.min(unread + 1, limits.unreadMax)
    case 'message.deleted':
      if (change.message.sender === me || change.message.seq <= readSeq) return unread
      // At the limit, the count means "this many or more", so a deleted message does not lower it.
      return unread >= limits.unreadMax ? unread : Math.max(0, unread - 1)
    default:
      return unread
  }
}

function applyToFields(summary: ConversationSummary, change: Change, me: string): ConversationSummary {
  if (change.type === 'message.created') {
    const { message } = change
    return { ...summary, lastMessage: { ...message, reactions: [] }, activeAt: message.createdAt }
  }
  if (hasMessage(change)) {
    const { lastMessage } = summary
    if (lastMessage?.seq !== change.message.seq || change.message.version <= lastMessage.version) return summary
    return { ...summary, lastMessage: { ...change.message, reactions: reactionsOf(change.message, lastMessage) } }
  }
  switch (change.type) {
    case 'card.acted': {
      const { lastMessage } = summary
      if (lastMessage === null || lastMessage.seq !== change.target) return summary
      return { ...summary, lastMessage: withAct(lastMessage, change) }
    }
    case 'reaction.added':
    case 'reaction.removed': {
      const { lastMessage } = summary
      if (lastMessage?.seq !== change.target || lastMessage.deletedAt !== null) return summary
      const step = change.type === 'reaction.added' ? 1 : -1
      const reactions = countReaction(lastMessage.reactions, change.emoji, step, change.actor === me)
      return { ...summary, lastMessage: { ...lastMessage, reactions } }
    }
    case 'member.joined':
      return { ...summary, memberCount: summary.memberCount + 1 }
    case 'member.left':
      return {
        ...summary,
        memberCount: Math.max(0, summary.memberCount - 1),
        members: summary.members.filter(({ user }) => user.id !== change.user),
      }
    case 'member.updated':
      return {
        ...summary,
        role: change.user === me ? change.role : summary.role,
        members: summary.members.map((one) => (one.user.id === change.user ? { ...one, role: change.role } : one)),
      }
    case 'conversation.created':
    case 'conversation.updated':
      return {
        ...summary,
        name: change.conversation.name,
        kind: change.conversation.kind,
        ...(change.conversation.subject !== undefined && { subject: change.conversation.subject }),
      }
    case 'skip':
      return summary
    default:
      // Change types of a later protocol version do not affect the summary.
      return summary
  }
}

/**
 * Counts the unread messages after `readSeq` from the loaded window, for a log whose last seq is
 * `summary.seq`. Returns undefined when the window does not reach back far enough.
 */
export function countUnreadInWindow(
  { seq, lastMessage }: ConversationSummary,
  window: TimelineWindow | undefined,
  readSeq: number,
  me: string,
): number | undefined {
  if (readSeq >= seq || readSeq >= (lastMessage?.seq ?? 0)) return 0
  if (window === undefined || window.hasAfter) return undefined
  const first = window.entries[0]?.message.seq ?? Number.POSITIVE_INFINITY
  if (window.hasBefore && first > readSeq + 1) return undefined
  const unread = window.entries.filter(({ message }) => message.seq > readSeq && isUnreadBy(message, me)).length
  return Math.min(unread, limits.unreadMax)
}

function isUnreadBy(message: PageMessage, me: string): boolean {
  return message.sender !== me && message.deletedAt === null
}

/** Compares two summaries for sorting, the most recently active first. */
export function compareByActivity(left: ConversationSummary, right: ConversationSummary): number {
  if (left.activeAt !== right.activeAt) return left.activeAt < right.activeAt ? 1 : -1
  return left.id < right.id ? 1 : -1
}
