/**
 * Sends a connection its user's read marker when the hint over Redis was missed: the sweep found
 * the new marker, or the marker moved while the connection opened. All markers requested in one
 * turn of the event loop are read together, for any number of connections. If the read fails, the
 * connection stays open, receives no checkpoint, and receives the marker after the next sweep
 * (rules TAIL1, CP1, LIM2).
 */
import { ChorusError, type Id } from '@chorus/protocol'
import type { Connection } from '../delivery/connection.ts'
import { frameOf } from '../frames/frame.ts'
import type { Database } from '../database/database.ts'
import { readMarkers } from '../log/read-markers.ts'
import type { MemberPair } from '../log/read-latest-pages.ts'
import { Batcher } from '../support/batcher.ts'
import type { Logger } from '../support/logger.ts'
import type { MarkerReads, Parts } from '../commands/parts.ts'

/**
 * Maximum number of markers read by one statement. For each marker, the statement counts unread
 * messages among up to 2 000 messages.
 */
const batchMax = 100
const waitingMax = 20_000

export function openMarkerReads(database: Database, logger: Logger): MarkerReads {
  return new Batcher({
    run: async (pairs: readonly MemberPair[]) => {
      try {
        return await readMarkers(database, pairs)
      } catch (error) {
        logger.warn({ err: error, markers: pairs.length }, 'unable to load read markers; retrying after the next sweep')
        throw error
      }
    },
    batchMax,
    waitingMax,
    refusal: () =>
      new ChorusError('unavailable', 'unable to load a read marker; too many requests wait', { retryAfterMs: 1_000 }),
  })
}

/** Sends a read marker that moved. An opening connection receives it when it is ready. */
export function sendReadMarker(parts: Parts, connection: Connection, conversation: Id): void {
  if (connection.state.kind === 'opening') connection.afterReady.add(conversation)
  if (connection.state.kind !== 'ready') return
  const isAsked = connection.owedMarkers.has(conversation) && connection.owedMarkers.get(conversation) !== 'failed'
  // A read in progress may return the marker from before this move, so the read must be repeated.
  connection.owedMarkers.set(conversation, isAsked ? 'moved' : 'asked')
  if (!isAsked) void tell(parts, connection, conversation)
}

/**
 * Retries the failed marker reads of a connection. Called after a sweep, which shows that the
 * database is reachable.
 */
export function sendPendingReadMarkers(parts: Parts, connection: Connection): void {
  for (const [conversation, state] of connection.owedMarkers)
    if (state === 'failed') sendReadMarker(parts, connection, conversation)
}

async function tell(parts: Parts, connection: Connection, conversation: Id): Promise<void> {
  const { owedMarkers, user } = connection
  try {
    const seen = await parts.markers.ask({ user, conversation })
    if (seen !== null) connection.send(frameOf('conversation', { conversation, ...seen }))
  } catch {
    // The batch has already logged the error. The marker stays pending and is read again after the
    // next sweep.
    owedMarkers.set(conversation, 'failed')
    return
  }
  const hasMoved = owedMarkers.get(conversation) === 'moved'
  owedMarkers.delete(conversation)
  if (hasMoved) sendReadMarker(parts, connection, conversation)
}
