/**
 * The safety net of ACL1: the database says that a user was removed, the removal has passed by here, and yet a connection
 * of that user is subscribed. It should not happen; when it does, it ends within a sweep.
 */
import type { Id } from '@chorus/protocol'
import { frameOf } from '../fanout/frame.ts'
import type { Parts } from './parts.ts'

export function endSubscription(parts: Parts, user: Id, conversation: Id, leftSeq: number): void {
  const feed = parts.feeds.get(conversation)
  if (feed === undefined) return
  for (const connection of parts.connections.ofUser(user)) {
    if (!feed.has(connection)) continue
    feed.remove(connection)
    parts.logger.warn({ conversation, user, leftSeq }, 'a removed member was still subscribed')
    connection.send(frameOf('conversation', { conversation, left: true, seq: leftSeq, readSeq: leftSeq, unread: 0 }))
  }
  parts.feeds.release(feed)
}
