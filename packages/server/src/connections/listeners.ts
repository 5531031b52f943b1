/**
 * Applies joins, removals and read markers to the connections of this server. Feeds and the sweeper
 * report them to these listeners, so that neither depends on the code of connections and commands.
 */
import type { BusMessage } from '../bus/bus.ts'
import type { Parts } from '../commands/parts.ts'
import type { FeedsListener } from '../delivery/feeds.ts'
import type { SweepListener } from '../delivery/sweeper.ts'
import { endSubscription, lookAfterRemoval, tellSweptRemoval } from './end-subscription.ts'
import { joinConversation } from './join-conversation.ts'
import { revalidatePresenceSubscriptions } from './revalidate-presence-subscriptions.ts'
import { sendPendingReadMarkers, sendReadMarker } from './send-read-marker.ts'

export function createFeedsListener(parts: Parts, onBusMessage: (message: BusMessage) => void): FeedsListener {
  return {
    onJoined: (conversation, user) => {
      parts.liveValues.welcome(conversation, user)
      for (const connection of parts.connections.ofUser(user)) joinConversation(parts, connection, conversation)
    },
    onLeft: (conversation, user) => {
      parts.liveValues.forget(conversation, user)
      revalidatePresenceSubscriptions(parts, user)
    },
    onUnsubscribed: (conversation, left) => lookAfterRemoval(parts, conversation, left),
    onBusMessage,
  }
}

export function createSweepListener(parts: Parts): SweepListener {
  return {
    onMember: (user, conversation) => {
      for (const connection of parts.connections.ofUser(user)) joinConversation(parts, connection, conversation)
    },
    onLeft: (user, conversation, leftSeq, xid) => {
      revalidatePresenceSubscriptions(parts, user)
      tellSweptRemoval(parts, user, conversation, leftSeq, xid)
    },
    onStale: (user, conversation, leftSeq) => endSubscription(parts, user, conversation, leftSeq),
    onMarker: (user, conversation) => {
      for (const connection of parts.connections.ofUser(user)) sendReadMarker(parts, connection, conversation)
    },
    onOwed: (connection) => sendPendingReadMarkers(parts, connection),
  }
}
