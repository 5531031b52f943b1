/**
 * Keeps the summaries of the local copy: read markers, unread counts and the other fields of the
 * conversation. Requests the conversation object from the server when a summary is missing or
 * uncertain.
 *
 * Guarantee: a conversation object that is older than the local copy never replaces newer data. The
 * cursor does not move before a requested object was merged (rule CP1).
 */
import { ChorusError, type Conversation, type EventPayload } from '@chorus/protocol'
import { applyChangeToSummary, countUnreadInWindow, toSummary } from '../model/summary.ts'
import { applyMembership, retryLater, settle } from './changes.ts'
import type { ConversationReplica } from './conversation-replica.ts'
import type { ReplicaParts } from './parts.ts'

/**
 * Merges a conversation object from the server with the changes applied here since. Returns false
 * when the object is too old, because some changes since it are no longer in memory. The caller
 * must then request it again: the known summary may lack changes that a resume skipped (`limited`).
 */
export function merge(parts: ReplicaParts, slot: ConversationReplica, conversation: Conversation): boolean {
  const known = slot.state?.summary
  const since = slot.timeline.changesAfter(conversation.seq)
  if (since === undefined) return false
  slot.merges += 1
  slot.isUnsure = false
  const fresh = toSummary(conversation)
  // The user may have moved the read marker here, and the server may not know yet. Keep the higher
  // one.
  const isAhead = known !== undefined && known.readSeq > fresh.readSeq
  const base = isAhead ? { ...fresh, readSeq: known.readSeq } : fresh
  const state = since.reduce((so, change) => applyChangeToSummary(so, change, parts.me), {
    summary: base,
    unreadAsOfSeq: conversation.seq,
  })
  const { summary } = state
  const unread = isAhead
    ? (countUnreadInWindow(summary, slot.timeline.window, known.readSeq, parts.me) ?? known.unread)
    : summary.unread
  parts.copy.setState(slot, { ...state, summary: { ...summary, unread } })
  for (const change of since) applyMembership(parts, slot, change)
  return true
}

/**
 * Moves the read marker in the local copy. Returns false when the unread count must be requested
 * from the server.
 */
export function markRead(parts: ReplicaParts, slot: ConversationReplica, readSeq: number): boolean {
  if (slot.state === undefined) return false
  const { summary, unreadAsOfSeq } = slot.state
  if (readSeq <= summary.readSeq) return true
  const counted = countUnreadInWindow(summary, slot.timeline.window, readSeq, parts.me)
  parts.copy.setState(slot, { summary: { ...summary, readSeq, unread: counted ?? summary.unread }, unreadAsOfSeq })
  return counted !== undefined
}

/**
 * Applies the user's read marker and unread count as of `seq`. Returns false when the count has to
 * be requested, because the local copy contains newer changes.
 */
export function applyMarker(
  parts: ReplicaParts,
  slot: ConversationReplica,
  { seq, readSeq, unread }: Pick<EventPayload<'conversation'>, 'seq' | 'readSeq' | 'unread'>,
): boolean {
  if (slot.state === undefined) return true
  const { summary, unreadAsOfSeq } = slot.state
  if (readSeq < summary.readSeq) return true
  const isCurrent = seq >= unreadAsOfSeq
  const counted = isCurrent ? unread : countUnreadInWindow(summary, slot.timeline.window, readSeq, parts.me)
  parts.copy.setState(slot, {
    summary: { ...summary, readSeq, unread: counted ?? unread },
    unreadAsOfSeq: isCurrent ? seq : unreadAsOfSeq,
  })
  return counted !== undefined
}

/** Requests the conversation object, unless a request for it is running. */
export function readSummaryLater(parts: ReplicaParts, slot: ConversationReplica): void {
  if (slot.isRequesting) return
  readSummary(parts, slot).catch(parts.onError)
}

/** Requests the conversation object and merges it. Resolves after the first attempt. */
export async function readSummary(parts: ReplicaParts, slot: ConversationReplica, attempt = 0): Promise<void> {
  slot.isRequesting = true
  parts.copy.wait(slot)
  try {
    const { conversation } = await parts.api.call('get-conversation', { conversation: slot.id })
    parts.users.put(conversation.members.map(({ user }) => user))
    if (parts.copy.isStopped()) return
    // A null role means that the user is not a member: the server returns public channels to
    // non-members, too.
    if (conversation.role === null) parts.copy.leave(slot)
    else if (!slot.isLeft && !merge(parts, slot, conversation)) {
      throw new ChorusError('unavailable', 'unable to show conversation; the response is older than the local copy')
    }
  } catch (error) {
    if (parts.copy.isStopped()) return
    if (error instanceof ChorusError && error.retry !== 'never') {
      retryLater(parts, error, attempt, () => readSummary(parts, slot, attempt + 1))
      return
    }
    if (error instanceof ChorusError && error.code === 'not-found') parts.copy.leave(slot)
  }
  slot.isRequesting = false
  settle(parts, slot)
}
