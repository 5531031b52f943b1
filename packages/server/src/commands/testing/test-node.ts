/**
 * The message path of one server on a real database, wired as in node.ts but without sockets. Its
 * connections record what is written to them, and the sweep runs when a test calls it. Several test
 * nodes on one database act as several servers.
 */
import type { CommandName, CommandInput, CommandResult, Id, LiveValue, Presence } from '@chorus/protocol'
import { Limits } from '../../access/limits.ts'
import { noLimits } from '../../access/testing/no-limits.ts'
import type { CommandTable } from '../command.ts'
import { createConversation } from '../create-conversation.ts'
import { deleteMessage } from '../delete-message.ts'
import { editMessage } from '../edit-message.ts'
import { endSubscription, lookAfterRemoval, tellSweptRemoval } from '../end-subscription.ts'
import { joinConversation } from '../join-conversation.ts'
import { listChanges } from '../list-changes.ts'
import { markRead } from '../mark-read.ts'
import { openConnection } from '../open-connection.ts'
import type { Parts } from '../parts.ts'
import { putMember } from '../put-member.ts'
import { revalidatePresenceSubscriptions } from '../revalidate-presence-subscriptions.ts'
import { removeMember } from '../remove-member.ts'
import { sendMessage } from '../send-message.ts'
import { setLiveValue } from '../set-live-value.ts'
import { listLiveValues } from '../list-live-values.ts'
import { sync } from '../sync.ts'
import { openMarkerReads, sendPendingReadMarkers, sendReadMarker } from '../send-read-marker.ts'
import { updateConversation } from '../update-conversation.ts'
import { watchPresence } from '../watch-presence.ts'
import { Connection } from '../../fanout/connection.ts'
import { Connections } from '../../fanout/connections.ts'
import type { LocalBusHub } from '../../fanout/bus-local.ts'
import { Feeds } from '../../fanout/feeds.ts'
import { frameOf } from '../../fanout/frame.ts'
import { OutboundBudget } from '../../fanout/outbound.ts'
import { Sweeper } from '../../fanout/sweeper.ts'
import { RecordingTransport } from '../../fanout/testing/recording-transport.ts'
import { localOnlyLiveValues } from '../../live/live-store.ts'
import { LiveValues } from '../../live/live-values.ts'
import { PresenceTracker } from '../../live/presence-tracker.ts'
import { localOnlyPresence } from '../../live/presence-store.ts'
import { CursorCodec } from '../../store/cursor.ts'
import type { Database } from '../../store/database.ts'
import { LogSegmentCache } from '../../store/log-segment-cache.ts'
import { LatestPageCache } from '../../store/latest-page-cache.ts'
import { readGap, readNewestChanges, readRange } from '../../store/read-changes.ts'
import { readMemberships } from '../../store/read-memberships.ts'
import { placeAt, readPosition, type SweepPosition, sweepChanges } from '../../store/sweep-changes.ts'
import { openLog } from '../../store/testing/log-fixture.ts'
import { Batcher } from '../../support/batcher.ts'
import { systemClock } from '../../support/clock.ts'
import { createLogger } from '../../support/logger.ts'
import { Metrics } from '../../support/metrics.ts'

const handlers = {
  'create-conversation': createConversation,
  'delete-message': deleteMessage,
  'edit-message': editMessage,
  'list-changes': listChanges,
  'list-live-values': listLiveValues,
  'mark-read': markRead,
  'put-member': putMember,
  'remove-member': removeMember,
  'send-message': sendMessage,
  'set-live-value': setLiveValue,
  sync,
  'update-conversation': updateConversation,
  'watch-presence': watchPresence,
} satisfies Partial<CommandTable>

export interface Opened {
  readonly connection: Connection
  readonly transport: RecordingTransport
  /** Resolves when the connection is ready or closed. */
  readonly opening: Promise<void>
}

export class TestNode {
  readonly parts: Parts
  readonly sweeper: Sweeper<SweepPosition>
  /** Names of the statements that the commands ran. */
  readonly statements: string[] = []
  /** Hooks by statement name. Each runs once, before the next statement of that name. */
  readonly before = new Map<string, () => Promise<unknown>>()
  /**
   * Hooks by statement name. Each runs once, after the next statement of that name and before its
   * result is returned.
   */
  readonly afterwards = new Map<string, () => Promise<unknown>>()
  readonly #metrics = new Metrics()
  readonly #hub: LocalBusHub
  readonly #budget = new OutboundBudget()
  #nextId = 1

  static async start(database: Database, hub: LocalBusHub): Promise<TestNode> {
    return new TestNode(database, hub, await database.epoch(), await readPosition(database))
  }

  private constructor(real: Database, hub: LocalBusHub, epoch: string, position: number) {
    this.#hub = hub
    const database = new Proxy(real, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown
        if (typeof value !== 'function') return value
        if (key !== 'query') return (value as (...args: unknown[]) => unknown).bind(target)
        return async (statement: Parameters<Database['query']>[0]) => {
          const name = statement.name ?? 'unnamed'
          this.statements.push(name)
          const first = this.before.get(name)
          this.before.delete(name)
          await first?.()
          const rows = await target.query(statement)
          const last = this.afterwards.get(name)
          this.afterwards.delete(name)
          await last?.()
          return rows
        }
      },
    })
    const connections = new Connections()
    const clock = systemClock
    const now = (): Date => new Date()
    const feeds = new Feeds({
      bus: this.#hub.join(),
      connections,
      clock,
      observer: { delivered: () => undefined, repaired: () => undefined, repairFailed: () => undefined },
      readGap: (range, limit) => readGap(database, range, limit),
      readNewest: (wanted, extent) => readNewestChanges(database, wanted, extent),
      onJoined: (conversation, user) => {
        this.parts.liveValues.welcome(conversation, user)
        for (const connection of connections.ofUser(user)) joinConversation(this.parts, connection, conversation)
      },
      onLeft: (conversation, user) => {
        this.parts.liveValues.forget(conversation, user)
        revalidatePresenceSubscriptions(this.parts, user)
      },
      onUnsubscribed: (conversation, left) => lookAfterRemoval(this.parts, conversation, left),
      onBusMessage: () => undefined,
      epoch: () => epoch,
      onForeignEpoch: () => undefined,
    })
    const unused = undefined as never
    this.parts = {
      config: unused,
      passwords: unused,
      limits: new Limits(noLimits, clock),
      mail: undefined,
      announceRevoked: unused,
      database,
      serverName: 'test',
      log: openLog(database),
      cursors: new CursorCodec('a key'),
      feeds,
      connections,
      liveValues: new LiveValues({
        clock,
        now,
        origin: 'test',
        store: localOnlyLiveValues,
        publish: () => undefined,
        tell: (conversation: Id, values: readonly LiveValue[]) =>
          feeds
            .get(conversation)
            ?.broadcast(frameOf('live', [...values]), (behind) => behind.staleLive.add(conversation)),
      }),
      presences: new PresenceTracker<Connection>({
        clock,
        now,
        presenceStore: localOnlyPresence,
        tell: (watcher, news: readonly Presence[]) => watcher.send(frameOf('presence', [...news])),
        saveLastSeen: () => undefined,
        readLastSeen: async () => new Map(),
      }),
      memberships: new Batcher({
        run: (asks: Parameters<typeof readMemberships>[1]) => readMemberships(database, asks),
        batchMax: 200,
        waitingMax: 1_000,
        refusal: () => new Error('too many'),
      }),
      markers: openMarkerReads(database, createLogger('silent', 'test')),
      pages: new LatestPageCache({ database, clock, epoch: () => epoch }),
      segments: new LogSegmentCache({ database, clock, epoch: () => epoch }),
      readRange: (range, limit) => readRange(database, range, limit),
      logger: createLogger('silent', 'test'),
      metrics: this.#metrics,
      epoch: () => epoch,
    }
    this.sweeper = new Sweeper(
      {
        sweep: (from) => sweepChanges(real, from),
        feeds,
        connections,
        clock,
        encodeCursor: (at) => this.parts.cursors.encode({ epoch, position: at }),
        onMember: (user, conversation) => {
          for (const connection of connections.ofUser(user)) joinConversation(this.parts, connection, conversation)
        },
        onLeft: (user, conversation, leftSeq, xid) => {
          revalidatePresenceSubscriptions(this.parts, user)
          tellSweptRemoval(this.parts, user, conversation, leftSeq, xid)
        },
        onStale: (user, conversation, leftSeq) => endSubscription(this.parts, user, conversation, leftSeq),
        onMarker: (user, conversation) => {
          for (const connection of connections.ofUser(user)) sendReadMarker(this.parts, connection, conversation)
        },
        onApplied: () => undefined,
        onOwed: (connection) => sendPendingReadMarkers(this.parts, connection),
        onRevoked: () => undefined,
        observer: { swept: () => undefined, failed: () => undefined },
      },
      placeAt(position),
    )
  }

  /** Runs a command as this user, over a connection if one is given. */
  run<Name extends keyof typeof handlers & CommandName>(
    name: Name,
    user: Id,
    input: CommandInput<Name>,
    connection?: Connection,
  ): Promise<CommandResult<Name>> {
    const handler = handlers[name] as unknown as CommandTable[Name]
    const context = {
      parts: this.parts,
      actor: { userId: user, sessionId: user },
      address: '127.0.0.1',
      userAgent: null,
      ...(connection !== undefined && { connection }),
    }
    return handler(context, input)
  }

  open(user: Id, session: Id, cursor?: string, isReading = true): Opened {
    const transport = new RecordingTransport()
    transport.isReading = isReading
    const { connections, feeds, presences } = this.parts
    const connection = new Connection({
      id: this.#nextId++,
      user,
      session,
      transport,
      budget: this.#budget,
      expiresAtMs: Number.POSITIVE_INFINITY,
      onClosed: (closed) => {
        connections.delete(closed)
        feeds.detach(closed)
        presences.depart(closed)
      },
    })
    connections.add(connection)
    presences.arrive(connection)
    const profile = { id: user, handle: 'x', name: 'x', avatar: null }
    const record = { id: session, createdAt: '', lastUsedAt: '', userAgent: null, current: true }
    const opening = openConnection(this.parts, { connection, cursor, user: profile, session: record })
    return { connection, transport, opening }
  }

  stop(): void {
    for (const connection of [...this.parts.connections]) connection.lost()
    void this.parts.presences.stop()
    this.parts.liveValues.stop()
    this.#metrics.stop()
  }
}
