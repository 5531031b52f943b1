/**
 * Brings a connection that is already open into one more conversation: its user was added, here or on another server
 * (rules JOIN1, ACL4). Subscribe, then read, then hand over; no checkpoint leaves meanwhile (rule CP1).
 */
import type { Id } from '@chorus/protocol'
import type { Connection } from '../fanout/connection.ts'
import { frameOf } from '../fanout/frame.ts'
import { readNewestPage } from '../store/read-messages.ts'
import { readConversation } from '../store/read-conversations.ts'
import type { Parts } from './parts.ts'
import { sendRemoval } from './send-removal.ts'

const attemptsMax = 5

/** Does nothing when the connection is subscribed, joining, or not ready (then its opening finds the membership). */
export function joinConversation(parts: Parts, connection: Connection, conversation: Id): void {
  if (connection.state.kind !== 'ready') return
  const known = parts.feeds.get(conversation)
  if (known !== undefined && (known.has(connection) || known.isJoining(connection))) return
  connection.joinsInProgress++
  void join(parts, connection, conversation)
    .catch((error: unknown) => {
      parts.logger.warn({ err: error, conversation }, 'a join failed; the connection is asked to come back')
      connection.close('unavailable', 'unable to join a conversation; the database cannot be asked right now', 'later')
    })
    .finally(() => {
      connection.joinsInProgress--
    })
}

async function join(parts: Parts, connection: Connection, conversation: Id): Promise<void> {
  const feed = await parts.feeds.open(conversation)
  if (feed.has(connection) || feed.isJoining(connection)) return
  const joining = feed.beginJoin(connection)
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const page = await readNewestPage(parts.database, connection.user, conversation)
      if (page === undefined || !connection.isOpen) return
      const seen = await readConversation(parts.database, connection.user, conversation)
      if (seen?.role === null || seen === undefined) return
      connection.send(
        frameOf('conversation', {
          conversation,
          limited: true,
          seq: page.seq,
          readSeq: seen.readSeq,
          unread: seen.unread,
          messages: page.messages,
        }),
      )
      const outcome = feed.finishJoin(joining, page.seq)
      if (outcome.kind === 'left') sendRemoval(connection, outcome.change)
      if (outcome.kind !== 'missing') return
    }
    throw new Error('the conversation moves faster than it can be joined')
  } finally {
    feed.abandonJoin(joining)
    parts.feeds.release(feed)
  }
}
