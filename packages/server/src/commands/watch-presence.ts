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
  const { presences } = parts
  const wanted = [...new Set(users)]
  const ask = presences.beginWatch(actor.userId, wanted)
  const shared = await look(parts, ask).finally(() => presences.endWatch(ask))
  const visible = wanted.filter((user) => shared.has(user))
  // In the turn in which the look ended: who leaves from now on finds the list in place. Over plain HTTP it is asked for the session's event streams, which have no way to ask for themselves.
  const followers =
    connection === undefined
      ? [...parts.connections.ofSession(actor.sessionId)].filter(({ transportKind }) => transportKind === 'sse')
      : [connection]
  for (const follower of followers) if (follower.isOpen) presences.watch(follower, visible, ask)
  const asked = await presences.ask(visible)
  const offline = visible.filter((user) => asked.get(user)?.status === 'offline')
  const stored = offline.length === 0 ? new Map<Id, string | null>() : await readLastSeen(parts.database, offline)
  // From here to the end in one turn: what is told later differs from this answer.
  const presence = wanted.map((user): Presence => {
    const answer = asked.get(user)
    if (answer === undefined) return { user, status: 'unknown', lastSeen: null }
    const status = presences.watchersOf(user).size === 0 ? answer.status : presences.statusOf(user)
    if (status !== 'offline') return { user, status, lastSeen: null }
    return { user, status, lastSeen: newest(presences.lastSeenOf(user), answer.lastSeen, stored.get(user)) }
  })
  for (const follower of followers) presences.noteTold(follower, ask, presence)
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

function newest(...times: readonly (string | null | undefined)[]): string | null {
  const known = times.filter((time) => time !== null && time !== undefined)
  return known.sort((one, other) => Date.parse(other) - Date.parse(one))[0] ?? null
}
