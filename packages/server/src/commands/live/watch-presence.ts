/**
 * Returns the presence of users who share a conversation with the caller, and watches it from then
 * on. The presence of other users stays `unknown` (rule PRES2).
 */
import { ChorusError, type Id, type Presence } from '@chorus/protocol'
import type { Connection } from '../../delivery/connection.ts'
import { frameOf } from '../../frames/frame.ts'
import { readSharing } from '../../log/read-memberships.ts'
import { readLastSeen } from '../../accounts/last-seen.ts'
import type { WatchAsk } from '../../live/presence-tracker.ts'
import { costUnits } from '../command-cost.ts'
import type { Command } from '../command.ts'
import type { Parts } from '../parts.ts'

/** Maximum number of attempts to read the visible users while users leave conversations. */
const looksMax = 5

export const watchPresence: Command<'watch-presence'> = {
  cost: {
    budget: 'requests',
    requests: ({ users }, { connection }) => {
      const added = users.filter((user) => connection?.watched.has(user) !== true).length
      return Math.ceil(added / costUnits.watchedPerRequest)
    },
  },
  run: async ({ parts, actor, connection }, { users }) => {
    const { userId: user, sessionId: session } = actor
    if (connection !== undefined) return { presence: await watch(parts, user, users, [connection]) }
    // Over plain HTTP, the watch list is for the session's event streams, which cannot send
    // commands themselves. The streams may be at any server.
    // An API key, and a user token without a device, have no session, and so no streams.
    if (session === '') return { presence: await watch(parts, user, users, []) }
    parts.feeds.announceDevice({ user, session, watched: [...new Set(users)] })
    return { presence: await watch(parts, user, users, streamsOf(parts, user, session)) }
  },
}

/**
 * Watches the users of a watch list that another server received, for the event streams of its
 * session at this server. Sends the presence to the streams, because they do not see the response
 * of the other server.
 */
export async function watchForStreams(parts: Parts, user: Id, session: Id, users: readonly Id[]): Promise<void> {
  const streams = streamsOf(parts, user, session)
  if (streams.length === 0) return
  const presence = await watch(parts, user, users, streams)
  if (presence.length > 0) for (const stream of streams) stream.send(frameOf('presence', presence))
}

function streamsOf({ connections }: Parts, user: Id, session: Id): Connection[] {
  return [...connections.ofSession(session)].filter(
    (connection) => connection.user === user && connection.transportKind === 'sse',
  )
}

async function watch(
  parts: Parts,
  user: Id,
  users: readonly Id[],
  followers: readonly Connection[],
): Promise<Presence[]> {
  const { presences } = parts
  const wanted = [...new Set(users)]
  const ask = presences.beginWatch(user, wanted)
  const shared = await look(parts, ask).finally(() => presences.endWatch(ask))
  const visible = wanted.filter((other) => shared.has(other))
  // Runs in the turn of the event loop in which the read ended, so that every later departure finds
  // the new watch list.
  for (const follower of followers) if (follower.isOpen) presences.watch(follower, visible, ask)
  const asked = await presences.ask(visible)
  const offline = visible.filter((other) => asked.get(other)?.status === 'offline')
  const stored = offline.length === 0 ? new Map<Id, string | null>() : await readLastSeen(parts.database, offline)
  // Everything from here to the end runs in one turn of the event loop, so every later event is
  // newer than this result.
  const presence = wanted.map((other): Presence => {
    const answer = asked.get(other)
    if (answer === undefined) return { user: other, status: 'unknown', lastSeen: null }
    const status = presences.watchersOf(other).size === 0 ? answer.status : presences.statusOf(other)
    if (status !== 'offline') return { user: other, status, lastSeen: null }
    const lastSeen = newest(presences.lastSeenOf(other), answer.lastSeen, stored.get(other))
    return { user: other, status, lastSeen }
  })
  for (const follower of followers) presences.noteTold(follower, ask, presence)
  return presence
}

/**
 * Returns the wanted users who share a conversation with the caller. Reads again if one of these
 * users, or the caller, left a conversation during the read.
 */
async function look({ database, presences }: Parts, ask: WatchAsk): Promise<ReadonlySet<Id>> {
  for (let looks = 1; looks <= looksMax; looks++) {
    const seen = presences.leavesSeen(ask)
    const shared = await readSharing(database, ask.user, [...ask.wanted])
    if (presences.leavesSeen(ask) === seen) return shared
  }
  throw new ChorusError('unavailable', 'unable to watch; the watched users join and leave conversations too fast', {
    retryAfterMs: 1_000,
  })
}

function newest(...times: readonly (string | null | undefined)[]): string | null {
  const known = times.filter((time) => time !== null && time !== undefined)
  return known.sort((one, other) => Date.parse(other) - Date.parse(one))[0] ?? null
}
