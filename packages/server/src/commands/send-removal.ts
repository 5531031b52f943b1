/** Tells a connection that its user was removed: the event first, then that one change, and nothing after it (rule ACL1). */
import type { Connection } from '../fanout/connection.ts'
import { changesFrame, frameOf } from '../fanout/frame.ts'
import type { LoggedChange } from '../support/logged-change.ts'

export function sendRemoval(connection: Connection, removal: LoggedChange): void {
  const { conversation, seq } = removal
  connection.send(frameOf('conversation', { conversation, left: true, seq, readSeq: seq, unread: 0 }))
  connection.send(changesFrame(conversation, [removal]))
}
