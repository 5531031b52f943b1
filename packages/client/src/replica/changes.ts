/**
 * Applies changes to the local copy, in the order of their seq, and reads missing ones from the
 * server.
 *
 * Guarantee: the application's callback runs exactly once per (epoch, conversation, seq), in order
 * (rule CLI1), and after the change was applied to the local copy. The cursor does not move past a
 * gap before the missing changes were read (NODE1, CP1).
 */
import { type Change, ChorusError, limits, type Role } from '@chorus/protocol'
import { applyChangeToSummary } from '../model/summary.ts'
import type { TimelineStep } from '../model/timeline.ts'
import { backoffDelayMs } from '../support/backoff.ts'
import { guarded } from '../support/guarded.ts'
import { isChange } from '../wire/server-events.ts'
import { type ConversationReplica, notifyChanged } from './conversation-replica.ts'
import { pagesMax } from './page-limits.ts'
import type { ReplicaParts } from './parts.ts'

/**
 * Time to wait until missing changes arrive by themselves. After it, they are read from the server.
 */
export const gapPauseMs = 100

/** Passes the changes released by the timeline to the summary and the application, in order. */
export function applyStep(parts: ReplicaParts, slot: ConversationReplica, { applied, next }: TimelineStep): void {
  // The log position may have moved even without a change to report. It must be stored, or changes
  // are reported again after a restart (rule CLI1).
  parts.copy.change(slot)
  for (const change of applied) {
    // The conversation object from the server may already include this change.
    const isNews = change.seq > (slot.state?.summary.seq ?? 0)
    if (slot.state !== undefined) parts.copy.setState(slot, applyChangeToSummary(slot.state, change, parts.me))
    if (isNews) applyMembership(parts, slot, change)
  }
  if (applied.length > 0) {
    notifyChanged(slot)
    parts.saver.saveSoon()
  }
  const { epoch } = parts.copy
  for (const change of applied) guarded(() => parts.onChange({ epoch, conversation: slot.id, change }), parts.onError)
  parts.onMoved(slot.id, slot.timeline.appliedSeq)
  if (next === 'read-missing') readChangesLater(parts, slot)
}

/** Applies a change of membership that the conversation object does not include yet. */
export function applyMembership(parts: ReplicaParts, slot: ConversationReplica, change: Change): void {
  if (change.type === 'member.left' && change.user === parts.me) parts.copy.leave(slot)
  if (change.type === 'member.joined' && change.user !== parts.me) {
    addMember(parts, slot, change.user, change.role, change.seq).catch(() => undefined)
  }
}

/**
 * Adds a new member to the summary, which names only the first few members. Loads the profile of
 * the member first.
 */
async function addMember(
  parts: ReplicaParts,
  slot: ConversationReplica,
  userId: string,
  role: Role,
  joinedSeq: number,
): Promise<void> {
  const isWanted = (): boolean => {
    const members = slot.state?.summary.members
    return (
      members !== undefined && members.length < limits.membersShown && members.every(({ user }) => user.id !== userId)
    )
  }
  if (!isWanted()) return
  const { merges } = slot
  const user = await parts.users.get(userId)
  // While the profile was loading, the member may have left, or the server may have sent a newer
  // member list.
  const since = slot.timeline.changesAfter(joinedSeq)
  const isGone = since?.some((change) => change.type === 'member.left' && change.user === userId) ?? true
  if (isGone || merges !== slot.merges || !isWanted() || slot.state === undefined) return
  const { summary, unreadAsOfSeq } = slot.state
  const members = [...summary.members, { user, role, joinedSeq, readSeq: 0 }]
  parts.copy.setState(slot, { summary: { ...summary, members }, unreadAsOfSeq })
}

function readChangesLater(parts: ReplicaParts, slot: ConversationReplica): void {
  if (slot.isRepairing) return
  slot.isRepairing = true
  parts.copy.wait(slot)
  parts.clock.after(gapPauseMs, () => {
    readChanges(parts, slot, 0).catch(parts.onError)
  })
}

async function readChanges(parts: ReplicaParts, slot: ConversationReplica, attempt: number): Promise<void> {
  try {
    for (let pages = 0; slot.timeline.isMissing && !slot.isLeft && !parts.copy.isStopped(); pages += 1) {
      const after = slot.timeline.appliedSeq
      const answer = await parts.api.call('list-changes', { conversation: slot.id, after, limit: limits.pageMax })
      if (parts.copy.isStopped()) return
      applyStep(parts, slot, slot.timeline.applyChanges(answer.changes.filter(isChange)))
      if (slot.timeline.appliedSeq === after || pages >= pagesMax) {
        throw new ChorusError('unavailable', 'unable to load missing changes; the server does not have them yet')
      }
    }
  } catch (error) {
    if (parts.copy.isStopped()) return
    if (!(error instanceof ChorusError) || error.code !== 'not-found') {
      retryLater(parts, error, attempt, () => readChanges(parts, slot, attempt + 1))
      return
    }
    // The server answered `not-found`: the user was removed from the conversation. The held changes
    // may contain that removal.
    applyStep(parts, slot, slot.timeline.skipTo())
    parts.copy.leave(slot)
  }
  slot.isRepairing = false
  settle(parts, slot)
}

/** Calls `read` after a back-off, because the last attempt failed. */
export function retryLater(parts: ReplicaParts, error: unknown, attempt: number, read: () => Promise<void>): void {
  const retryAfterMs = error instanceof ChorusError ? error.retryAfterMs : undefined
  parts.clock.after(backoffDelayMs(attempt, parts.clock, retryAfterMs), () => {
    read().catch(parts.onError)
  })
}

/**
 * Marks the conversation as complete, so that the cursor can move, unless other data of it is still
 * being read.
 */
export function settle(parts: ReplicaParts, slot: ConversationReplica): void {
  if (slot.isRepairing || slot.isRequesting) return
  if (parts.copy.settle(slot)) parts.saver.saveLater()
  if (parts.saver.isBehind) parts.saver.saveSoon()
}
