/**
 * Reports, for `npm run trace`, what one server knows of the delivery of one message to one user.
 * From the database, it reads whether the message was committed, whether the user may see it, and
 * how far the user has read. It adds the recent deliveries in this server's delivery trace, and the
 * user's connections to this server. Served on the metrics port, which is not public. Never shows a
 * message's text.
 */
import type { Id } from '@chorus/protocol'
import type { Connection } from '../delivery/connection.ts'
import type { DeliveryTrace, TraceKind } from '../delivery/delivery-trace.ts'
import type { Traced } from '../log/trace.ts'

export interface TraceOptions {
  readonly serverName: string
  readonly trail: DeliveryTrace
  readonly connectionsOf: (user: Id) => Iterable<Connection>
  readonly read: (conversation: Id, seq: number, user: string) => Promise<Traced>
  /** Returns the current time of the clock of the delivery trace, in milliseconds. */
  readonly nowMs: () => number
  /** Returns the current time of the database. */
  readonly now: () => Date
}

export interface TraceAnswer {
  readonly server: string
  /** Facts from the database. Undefined when the database cannot be read. */
  readonly database: Traced | undefined
  /**
   * Time from which on the delivery trace is complete. Null if it is complete since the start of
   * this server.
   */
  readonly knownSince: string | null
  readonly happened: readonly { readonly what: TraceKind; readonly at: string; readonly connections?: number }[]
  /** Current connections of the user to this server. */
  readonly connections: readonly {
    readonly transport: string
    readonly state: string
    readonly since: string
    /** True if the connection is subscribed to this conversation. */
    readonly isSubscribed: boolean
    readonly unreadBytes: number
    /** True if the cursor that the connection received last covers everything sent to it. */
    readonly isCovered: boolean
    /**
     * True if the connection was open when the change was delivered. Otherwise it received the
     * change by catching up, if at all.
     */
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
