/** What a device said over plain HTTP at another server, for its connections at this one. */
import type { DeviceNews } from '../fanout/bus.ts'
import type { Parts } from './parts.ts'
import { setStatusOfSession } from './set-status.ts'
import { watchForStreams } from './watch-presence.ts'

/** Best effort, as all that comes over the bus: the device says it again after a reconnection. */
export function hearDevice(parts: Parts, { user, session, status, watched }: DeviceNews): void {
  if (status !== undefined) setStatusOfSession(parts, user, session, status)
  if (watched === undefined) return
  watchForStreams(parts, user, session, watched).catch((error: unknown) =>
    parts.logger.warn({ err: error }, 'unable to watch for a stream; its device asks again'),
  )
}
