/**
 * Tells a connection where its user's read marker stands, when the announcement was missed: the sweep found it, or it moved
 * while the connection opened. However many connections that concerns, the markers of one turn are read together. Where they
 * cannot be read the connection stays, is sent no checkpoint, and is told after the next sweep (rules TAIL1, CP1, LIM2).
 */
import { ChorusError, type Id } from '@chorus/protocol'
import type { Connection } from '../fanout/connection.ts'
import { frameOf } from '../fanout/frame.ts'
import type { Database } from '../store/database.ts'
import { readMarkers } from '../store/read-markers.ts'
import type { MemberPair } from '../store/read-newest-pages.ts'
import { Batcher } from '../support/batcher.ts'
import type { Logger } from '../support/logger.ts'
import type { MarkerReads, Parts } from './parts.ts'

/** Counting what is unread looks at up to 2 000 messages for each. */
const batchMax = 100
const waitingMax = 20_000

export function openMarkerReads(database: Database, logger: Logger): MarkerReads {
  return new Batcher({
    run: async (pairs: readonly MemberPair[]) => {
      try {
        return await readMarkers(database, pairs)
      } catch (error) {
        logger.warn({ err: error, markers: pairs.length }, 'unable to read markers; trying again after the next sweep')
        throw error
      }
    },
    batchMax,
    waitingMax,
    refusal: () =>
      new ChorusError('unavailable', 'unable to read a marker; too many wait for it', { retryAfterMs: 1_000 }),
  })
}

/** A marker moved. A connection that is opening is told when it is ready. */
export function tellReadMarker(parts: Parts, connection: Connection, conversation: Id): void {
  if (connection.state.kind === 'opening') connection.afterReady.add(conversation)
  if (connection.state.kind !== 'ready') return
  const isAsked = connection.owedMarkers.has(conversation) && connection.owedMarkers.get(conversation) !== 'failed'
  // What is being read may be older than what moved now.
  connection.owedMarkers.set(conversation, isAsked ? 'moved' : 'asked')
  if (!isAsked) void tell(parts, connection, conversation)
}

/** After a sweep, which shows that the database can be asked. */
export function tellOwedMarkers(parts: Parts, connection: Connection): void {
  for (const [conversation, state] of connection.owedMarkers)
    if (state === 'failed') tellReadMarker(parts, connection, conversation)
}

async function tell(parts: Parts, connection: Connection, conversation: Id): Promise<void> {
  const { owedMarkers, user } = connection
  try {
    const seen = await parts.markers.ask({ user, conversation })
    if (seen !== null) connection.send(frameOf('conversation', { conversation, ...seen }))
  } catch {
    // Told of by whoever reads; nothing is lost, for it stays owed.
    owedMarkers.set(conversation, 'failed')
    return
  }
  const hasMoved = owedMarkers.get(conversation) === 'moved'
  owedMarkers.delete(conversation)
  if (hasMoved) tellReadMarker(parts, connection, conversation)
}
