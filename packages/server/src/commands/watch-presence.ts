/** Presence of people with whom the asker shares a conversation; others stay unknown (rule PRES2). */
import { ChorusError, type Id, type Presence } from '@chorus/protocol'
import { readSharing } from '../store/read-memberships.ts'
import { readLastSeen } from '../store/last-seen.ts'
import type { WatchAsk } from '../live/presences.ts'
import type { CommandHandler } from './command.ts'
import type { Parts } from './parts.ts'

/** Looks at who may be seen, while people leave at the same time. */
const looksMax = 5

export const watchPresence: CommandHandler<'watch-presence'> = async ({ parts, actor, connection }, { users }) => {
  const wanted = [...new Set(users)]
  const ask = parts.presences.beginWatch(actor.userId, wanted)
  const shared = await look(parts, ask).finally(() => parts.presences.endWatch(ask))
  const visible = wanted.filter((user) => shared.has(user))
  // In the turn in which the look ended: who leaves from now on finds the list in place. Over plain HTTP it is asked for the session's event streams, which have no way to ask for themselves.
  const followers =
    connection === undefined
      ? [...parts.connections.ofSession(actor.sessionId)].filter(({ transportKind }) => transportKind === 'sse')
      : [connection]
  for (const follower of followers) if (follower.isOpen) parts.presences.watch(follower, visible, ask)
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

/** Those of the wanted who may be seen; looked at again when one of them, or the asker, left a conversation meanwhile. */
async function look({ database, presences }: Parts, ask: WatchAsk): Promise<ReadonlySet<Id>> {
  for (let looks = 1; looks <= looksMax; looks++) {
    const seen = presences.leavesSeen(ask)
    const shared = await readSharing(database, ask.user, [...ask.wanted])
    if (presences.leavesSeen(ask) === seen) return shared
  }
  throw new ChorusError('unavailable', 'unable to watch; the people watched come and go too fast', {
    retryAfterMs: 1_000,
  })
}
