/**
 * What one server knows of one message on its way to one user, for `npm run trace`: from the database what was committed,
 * who may see it and how far they have read; from this server's trail what it did lately; and the user's connections here.
 * Served beside the metrics, on a port that is not public. Never shows a text.
 */
import type { Id } from '@chorus/protocol'
import type { Connection } from '../fanout/connection.ts'
import type { DeliveryTrail, TrailKind } from '../fanout/delivery-trail.ts'
import type { Traced } from '../store/trace.ts'

export interface TraceOptions {
  readonly serverName: string
  readonly trail: DeliveryTrail
  readonly connectionsOf: (user: Id) => Iterable<Connection>
  readonly read: (conversation: Id, seq: number, user: string) => Promise<Traced>
  /** Milliseconds on the clock of the trail. */
  readonly nowMs: () => number
  /** The database's time now. */
  readonly now: () => Date
}

export interface TraceAnswer {
  readonly server: string
  /** Undefined: the database could not be asked. */
  readonly database: Traced | undefined
  /** Before this nothing is known here any more; null: everything since the start of this server is. */
  readonly knownSince: string | null
  readonly happened: readonly { readonly what: TrailKind; readonly at: string; readonly connections?: number }[]
  /** The user's connections to this server, as they are now. */
  readonly connections: readonly {
    readonly transport: string
    readonly state: string
    readonly since: string
    /** Is it told of this conversation? */
    readonly isSubscribed: boolean
    readonly unreadBytes: number
    /** Does its cursor cover everything that it was told? */
    readonly isCovered: boolean
    /** Was it there when the change was handed out? Otherwise it got it by catching up, if at all. */
    readonly wasThere: boolean
  }[]
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const underWayMax = 4

export type TraceHandler = (query: URLSearchParams) => Promise<{ readonly status: number; readonly body: unknown }>

export function createTraceHandler(options: TraceOptions): TraceHandler {
  let underWay = 0
  return async (query) => {
    const conversation = query.get('conversation') ?? ''
    const seq = Number(query.get('seq'))
    const user = query.get('user') ?? ''
    if (!uuid.test(conversation) || !Number.isSafeInteger(seq) || seq < 1 || user === '' || user.length > 100)
      return {
        status: 400,
        body: { problem: 'expected conversation (an id), seq (a number) and user (an id or a handle)' },
      }
    if (underWay >= underWayMax) return { status: 503, body: { problem: 'too many traces at once' } }
    underWay++
    try {
      return { status: 200, body: await trace(options, conversation, seq, user) }
    } finally {
      underWay--
    }
  }
}

async function trace(options: TraceOptions, conversation: Id, seq: number, user: string): Promise<TraceAnswer> {
  const { serverName, trail, connectionsOf, read, nowMs, now } = options
  const database = await read(conversation, seq, user).catch(() => undefined)
  const toTime = (atMs: number): string => new Date(now().getTime() - (nowMs() - atMs)).toISOString()
  const facts = trail.find(conversation, seq)
  const deliveredAtMs = facts.findLast(({ what }) => what === 'delivered')?.atMs
  const id = database?.member?.user ?? (uuid.test(user) ? user : undefined)
  const { knownSinceMs } = trail
  return {
    server: serverName,
    database,
    knownSince: knownSinceMs === undefined ? null : toTime(knownSinceMs),
    happened: facts.map(({ what, atMs, connections }) => ({
      what,
      at: toTime(atMs),
      ...(what === 'delivered' && { connections }),
    })),
    connections: [...(id === undefined ? [] : connectionsOf(id))].map((connection) => ({
      transport: connection.transportKind,
      state: connection.state.kind,
      since: toTime(connection.openedAtMs),
      isSubscribed: connection.conversations.has(conversation),
      unreadBytes: connection.unreadBytes,
      isCovered: !connection.owesCheckpoint,
      wasThere: deliveredAtMs !== undefined && connection.openedAtMs <= deliveredAtMs,
    })),
  }
}
