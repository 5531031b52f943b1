/**
 * Ends the subscriptions of removed members. It does three things. It ends subscriptions that
 * should have ended already (the safety net of rule ACL1). It sends a removal whose hint over Redis
 * was lost. After a removal has ended a subscription, it reads the membership again: the user may
 * have joined again, and the hint of that join was ignored if the connection was still subscribed.
 */
import type { Id } from '@chorus/protocol'
import type { Connection } from '../delivery/connection.ts'
import { frameOf } from '../frames/frame.ts'
import { joinConversation } from './join-conversation.ts'
import type { Parts } from '../commands/parts.ts'
import { tellRemoval } from './send-removal.ts'

/**
 * Ends a removed user's subscriptions after the conversation's feed has delivered the removal.
 * Normally the feed has ended them already. This function ends any that remain, within one sweep
 * after the removal.
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

/**
 * Reads the memberships of these connections' users, and joins the conversation again for users who
 * are members by now. No checkpoint is sent until the result is known (rule CP1).
 */
export function lookAfterRemoval(parts: Parts, conversation: Id, connections: readonly Connection[]): void {
  for (const connection of connections) {
    if (connection.state.kind === 'opening') {
      // A connection that is still opening checks this conversation again when it is ready.
      connection.afterReady.add(conversation)
      continue
    }
    beforeNextCheckpoint(
      parts,
      connection,
      conversation,
      async () => (await parts.catchUp.prove(connection.user, conversation)) !== undefined,
    )
  }
}

/**
 * Sends a removal that the sweep found to connections that never subscribed to the conversation.
 * Needed when the hints of both the join and the removal were lost.
 */
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
      parts.logger.warn({ err: error, conversation }, 'unable to read a membership; closing the connection')
      connection.close('unavailable', 'unable to follow a conversation; the database is unavailable right now', 'later')
    })
    .finally(() => {
      connection.joinsInProgress--
    })
}
