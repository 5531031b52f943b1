/**
 * Moves the caller's read marker forward, sends it to the caller's other devices, and shows it to
 * other members as a live value.
 */
import { limits } from '@chorus/protocol'
import { markRead as move } from '../../log/mark-read.ts'
import { smallWrite } from '../command-cost.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

export const markRead: Command<'mark-read'> = {
  cost: { budget: 'requests', requests: smallWrite },
  run: async ({ parts, actor, connection }, { conversation, seq: wanted }) => {
    const marker = await move(parts.database, actor.userId, conversation, wanted)
    if (marker === undefined) throw refuse('not-found', 'move the read marker')
    const { readSeq, moved, unread, seq } = marker
    if (moved) {
      const json = JSON.stringify({ conversation, seq, readSeq, unread })
      parts.feeds.announceReadMarker({ user: actor.userId, conversation, readSeq, json }, connection)
      parts.liveValues.set(conversation, 'read', actor.userId, { seq: readSeq }, limits.liveTtlMaxMs)
    }
    return { readSeq }
  },
}
