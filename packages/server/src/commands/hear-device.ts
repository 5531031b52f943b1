/** What a device said over plain HTTP at another server, for its connections at this one. */
import type { Id } from '@chorus/protocol'
import type { DeviceNews } from '../fanout/bus.ts'
import type { Parts } from './parts.ts'
import { setStatusOfSession } from './set-status.ts'
import { watchForStreams } from './watch-presence.ts'

/** Counted here, too: a request at one server is work for each server where the session has a connection. */
function mayRun({ limits }: Parts, user: Id): boolean {
  try {
    limits.takeRequest(user)
    return true
  } catch {
    // Nobody waits for an answer: it was given where the request came in.
    return false
  }
}

function hasDevice({ connections }: Parts, user: Id, session: Id): boolean {
  for (const connection of connections.ofSession(session)) if (connection.user === user) return true
  return false
}

/** Best effort, as all that comes over the bus: the device says it again after a reconnection. */
export function hearDevice(parts: Parts, { user, session, status, watched }: DeviceNews): void {
  if (!hasDevice(parts, user, session) || !mayRun(parts, user)) return
  if (status !== undefined) setStatusOfSession(parts, user, session, status)
  if (watched === undefined) return
  watchForStreams(parts, user, session, watched).catch((error: unknown) =>
    parts.logger.warn({ err: error }, 'unable to watch for a stream; its device asks again'),
  )
}
