/**
 * Brings a connection that is already open into one more conversation: its user was added, here or on another server
 * (rules JOIN1, ACL4). Subscribe, then read, then hand over; no checkpoint leaves meanwhile (rule CP1).
 */
import type { Id } from '@chorus/protocol'
import type { Connection } from '../fanout/connection.ts'
import { frameOf } from '../fanout/frame.ts'
import { readConversation } from '../store/read-conversations.ts'
import type { Parts } from './parts.ts'
import { sendRemoval, tellRemoval } from './send-removal.ts'
import { tellReadMarker } from './tell-read-marker.ts'

const attemptsMax = 5

/** Does nothing when the connection is subscribed or joining; one that is opening looks again when it is ready. */
export function joinConversation(parts: Parts, connection: Connection, conversation: Id): void {
  if (connection.state.kind === 'opening') connection.afterReady.add(conversation)
  if (connection.state.kind !== 'ready') return
  const known = parts.feeds.get(conversation)
  if (known?.has(connection) === true) return
  if (known?.isJoining(connection) === true) {
    // What it is reading may be older than what was just said: it looks again when it is done.
    connection.afterReady.add(conversation)
    return
  }
  connection.joinsInProgress++
  void join(parts, connection, conversation)
    .catch((error: unknown) => {
      parts.logger.warn({ err: error, conversation }, 'a join failed; the connection is asked to come back')
      connection.close('unavailable', 'unable to join a conversation; the database cannot be asked right now', 'later')
    })
    .finally(() => {
      if (connection.afterReady.delete(conversation)) joinConversation(parts, connection, conversation)
      connection.joinsInProgress--
    })
}

/** What happened while the connection was opening: it joins, or is told where the read marker is by now. */
export function lookAgain(parts: Parts, connection: Connection): void {
  for (const conversation of connection.afterReady) {
    if (connection.conversations.has(conversation)) tellReadMarker(parts, connection, conversation)
    else joinConversation(parts, connection, conversation)
  }
  connection.afterReady.clear()
}

async function join(parts: Parts, connection: Connection, conversation: Id): Promise<void> {
  const { feed, join: joining } = await parts.feeds.join(conversation, connection)
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const page = await parts.pages.newest(connection.user, conversation)
      const seen = page && (await readConversation(parts.database, connection.user, conversation))
      if (!connection.isOpen) return
      if (page === undefined || seen === undefined || seen.role === null) {
        // Removed since the news came: told so before a checkpoint covers it (rules ACL1, CP1).
        if (await tellRemoval(parts, connection, conversation)) continue
        return
      }
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
