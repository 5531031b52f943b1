/** Presence of people with whom the asker shares a conversation; others stay unknown (rule PRES2). */
import type { Id, Presence } from '@chorus/protocol'
import { readSharing } from '../store/read-memberships.ts'
import { readLastSeen } from '../store/last-seen.ts'
import type { CommandHandler } from './command.ts'

export const watchPresence: CommandHandler<'watch-presence'> = async ({ parts, actor, connection }, { users }) => {
  const wanted = [...new Set(users)]
  const shared = await readSharing(parts.database, actor.userId, wanted)
  const visible = wanted.filter((user) => shared.has(user))
  // Over plain HTTP it is asked for the session's event streams, which have no way to ask for themselves.
  const followers =
    connection === undefined
      ? [...parts.connections.ofSession(actor.sessionId)].filter(({ transportKind }) => transportKind === 'sse')
      : [connection]
  for (const follower of followers) if (follower.isOpen) parts.presences.watch(follower, visible)
  const offline = visible.filter((user) => parts.presences.statusOf(user) === 'offline')
  const stored = offline.length === 0 ? new Map<Id, string | null>() : await readLastSeen(parts.database, offline)
  const presence = wanted.map((user): Presence => {
    if (!shared.has(user)) return { user, status: 'unknown', lastSeen: null }
    const status = parts.presences.statusOf(user)
    return {
      user,
      status,
      lastSeen: status === 'offline' ? (parts.presences.lastSeenOf(user) ?? stored.get(user) ?? null) : null,
    }
  })
  return { presence }
}
