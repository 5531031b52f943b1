/**
 * What follows when a removal is found: subscriptions that should have ended do (the safety net of ACL1), a removal that no
 * hint told is told, and where a removal has ended a subscription the membership is looked at again. News of a later join
 * that came before was answered with "already subscribed", and nothing repeats it.
 */
import type { Id } from '@chorus/protocol'
import type { Connection } from '../fanout/connection.ts'
import { frameOf } from '../fanout/frame.ts'
import { joinConversation } from './join-conversation.ts'
import type { Parts } from './parts.ts'
import { tellRemoval } from './send-removal.ts'

/**
 * Ends the subscriptions of a user whose removal has passed by here. It should not be needed; when it is, they end within a
 * sweep.
 */
export function endSubscription(parts: Parts, user: Id, conversation: Id, leftSeq: number): void {
  const feed = parts.feeds.get(conversation)
  if (feed === undefined) return
  const stale = [...parts.connections.ofUser(user)].filter((connection) => feed.has(connection))
  for (const connection of stale) {
    feed.remove(connection)
    connection.noteRemoval(conversation, leftSeq)
    parts.logger.warn({ conversation, user, leftSeq }, 'a removed member was still subscribed')
    connection.send(frameOf('conversation', { conversation, left: true, seq: leftSeq, readSeq: leftSeq, unread: 0 }))
  }
  lookAfterRemoval(parts, conversation, stale)
  parts.feeds.release(feed)
}

/** Joins again where the user is a member by now. No checkpoint leaves before that is known (rule CP1). */
export function lookAfterRemoval(parts: Parts, conversation: Id, connections: readonly Connection[]): void {
  for (const connection of connections) {
    if (connection.state.kind === 'opening') {
      // It looks when it is ready.
      connection.afterReady.add(conversation)
      continue
    }
    beforeNextCheckpoint(parts, connection, conversation, async () => {
      const seq = await parts.stretches.memberSeq(connection.user, conversation)
      return seq !== null
    })
  }
}

/** A sweep found this removal: a connection that was never subscribed, because the join was lost as well, is told of it. */
export function tellSweptRemoval(parts: Parts, user: Id, conversation: Id, leftSeq: number, xid: number): void {
  const feed = parts.feeds.get(conversation)
  for (const connection of parts.connections.ofUser(user)) {
    if (feed?.has(connection) === true) continue
    if (connection.state.kind === 'opening' || feed?.isJoining(connection) === true) {
      connection.afterReady.add(conversation)
      continue
    }
    if (xid < connection.readyPosition || (connection.removalsTold.get(conversation) ?? 0) >= leftSeq) continue
    beforeNextCheckpoint(parts, connection, conversation, () => tellRemoval(parts, connection, conversation))
  }
}

function beforeNextCheckpoint(
  parts: Parts,
  connection: Connection,
  conversation: Id,
  isMember: () => Promise<boolean>,
): void {
  if (connection.state.kind !== 'ready') return
  connection.joinsInProgress++
  void isMember()
    .then((is) => {
      if (is) joinConversation(parts, connection, conversation)
    })
    .catch((error: unknown) => {
      parts.logger.warn(
        { err: error, conversation },
        'unable to look at a membership; the connection is asked to come back',
      )
      connection.close(
        'unavailable',
        'unable to follow a conversation; the database cannot be asked right now',
        'later',
      )
    })
    .finally(() => {
      connection.joinsInProgress--
    })
}
