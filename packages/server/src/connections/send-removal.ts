/**
 * Sends a connection the removal of its user from a conversation: first the `conversation` event
 * with `left: true`, then the `member.left` change, and nothing after them (rule ACL1).
 */
import type { Id } from '@chorus/protocol'
import type { Connection } from '../delivery/connection.ts'
import { changesFrame, frameOf } from '../frames/frame.ts'
import { readStanding } from '../log/read-changes.ts'
import type { LoggedChange } from '../support/logged-change.ts'
import type { Parts } from '../commands/parts.ts'

export function sendRemoval(connection: Connection, removal: LoggedChange): void {
  const { conversation, seq } = removal
  if ((connection.removalsTold.get(conversation) ?? 0) >= seq) return
  connection.noteRemoval(conversation, seq)
  connection.send(frameOf('conversation', { conversation, left: true, seq, readSeq: seq, unread: 0 }))
  connection.send(changesFrame(conversation, [removal]))
}

/**
 * Sends the removal after a read has found that the user is no longer a member. Sends nothing if
 * the connection already received this removal, or if the removal is older than the connection's
 * `ready`. Returns true if the user is a member again by now.
 */
export async function tellRemoval(parts: Parts, connection: Connection, conversation: Id): Promise<boolean> {
  const standing = await readStanding(parts.database, connection.user, conversation)
  switch (standing.kind) {
    case 'member':
      return true
    case 'removed':
      if (standing.removal.xid >= connection.readyPosition) sendRemoval(connection, standing.removal)
      return false
    case 'stranger':
      return false
  }
}
