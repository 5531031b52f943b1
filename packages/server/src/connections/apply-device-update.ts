/**
 * Applies the status and the watch list that a device sent over plain HTTP to another server.
 * Applies them to the connections of that device at this server.
 */
import type { Id } from '@chorus/protocol'
import type { DeviceUpdate } from '../bus/bus.ts'
import type { Parts } from '../commands/parts.ts'
import { setStatusOfSession } from '../commands/live/set-status.ts'
import { watchForStreams } from '../commands/live/watch-presence.ts'

/**
 * Counts the device's request against the user's limits at this server, too. Returns false if the
 * user is over the limit. One request to one server causes work on every server where the session
 * of the device has a connection.
 */
function mayRun({ limits }: Parts, user: Id): boolean {
  try {
    limits.takeRequest(user)
    return true
  } catch {
    // Drop the update without an error: the server that received the request has already answered
    // the client.
    return false
  }
}

function hasDevice({ connections }: Parts, user: Id, session: Id): boolean {
  for (const connection of connections.ofSession(session)) if (connection.user === user) return true
  return false
}

/**
 * Applies a device update that arrived over Redis. Best effort: if it is lost, the device sends it
 * again after it reconnects.
 */
export function applyDeviceUpdate(parts: Parts, { user, session, status, watched }: DeviceUpdate): void {
  if (!hasDevice(parts, user, session) || !mayRun(parts, user)) return
  if (status !== undefined) setStatusOfSession(parts, user, session, status)
  if (watched === undefined) return
  watchForStreams(parts, user, session, watched).catch((error: unknown) =>
    parts.logger.warn({ err: error }, 'unable to watch presence for an event stream; its client requests it again'),
  )
}
