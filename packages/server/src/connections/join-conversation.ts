/**
 * Subscribes an open connection to one more conversation after its user was added, on this or
 * another server (rules JOIN1, ACL4). It subscribes, then reads the newest page, then lets the feed
 * send later changes. No checkpoint is sent during the join (rule CP1).
 */
import type { Id } from '@chorus/protocol'
import type { Connection } from '../delivery/connection.ts'
import { frameOf } from '../frames/frame.ts'
import { readConversation } from '../log/read-conversations.ts'
import type { Parts } from '../commands/parts.ts'
import { sendRemoval, tellRemoval } from './send-removal.ts'
import { sendReadMarker } from './send-read-marker.ts'

const attemptsMax = 5

/**
 * Starts a join, unless the connection is already subscribed or joining. An opening connection
 * joins when it is ready.
 */
export function joinConversation(parts: Parts, connection: Connection, conversation: Id): void {
  if (connection.state.kind === 'opening') connection.afterReady.add(conversation)
  if (connection.state.kind !== 'ready') return
  const known = parts.feeds.get(conversation)
  if (known?.has(connection) === true) return
  if (known?.isJoining(connection) === true) {
    // The join in progress may have read a state older than this hint, so the conversation is
    // checked again when the join ends.
    connection.afterReady.add(conversation)
    return
  }
  connection.joinsInProgress++
  void join(parts, connection, conversation)
    .catch((error: unknown) => {
      parts.logger.warn({ err: error, conversation }, 'a join failed; closing the connection')
      connection.close('unavailable', 'unable to join a conversation; the database is unavailable right now', 'later')
    })
    .finally(() => {
      if (connection.afterReady.delete(conversation)) joinConversation(parts, connection, conversation)
      connection.joinsInProgress--
    })
}

/**
 * Checks the conversations in which a join, a removal or a moved read marker was noticed while the
 * connection opened. Joins those that the connection is not subscribed to. Sends the current read
 * marker of the others.
 */
export function lookAgain(parts: Parts, connection: Connection): void {
  for (const conversation of connection.afterReady) {
    if (connection.conversations.has(conversation)) sendReadMarker(parts, connection, conversation)
    else joinConversation(parts, connection, conversation)
  }
  connection.afterReady.clear()
}

async function join(parts: Parts, connection: Connection, conversation: Id): Promise<void> {
  const { feed, join: joining } = await parts.feeds.join(conversation, connection)
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const page = await parts.catchUp.newestPage(connection.user, conversation)
      const seen = page && (await readConversation(parts.database, connection.user, conversation))
      if (!connection.isOpen) return
      if (page === undefined || seen === undefined || seen.role === null) {
        // The user was removed after the hint of the join was sent. Send the removal before a
        // checkpoint covers it (rules ACL1, CP1).
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
    throw new Error('the conversation changes faster than it can be joined')
  } finally {
    feed.abandonJoin(joining)
    parts.feeds.release(feed)
  }
}
