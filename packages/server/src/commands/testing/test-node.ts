/**
 * One server on a real database for tests: everything that handles messages, wired as in start/ but
 * without sockets. Its connections record what is written to them, and the sweep runs only when a
 * test calls it. Several test nodes on one database act as several servers.
 */
import type { CommandName, CommandInput, CommandResult, Id, LiveValue, Presence } from '@chorus/protocol'
import { Limits } from '../../auth/limits.ts'
import { noLimits } from '../../auth/testing/no-limits.ts'
import { commandTable } from '../../dispatch/command-table.ts'
import { openConnection } from '../../connections/open-connection.ts'
import { CardSigner } from '../../keys/card-signer.ts'
import { readSigningKeys } from '../../keys/signing-keys.ts'
import type { Parts } from '../parts.ts'
import { createFeedsListener, createSweepListener } from '../../connections/listeners.ts'
import { openMarkerReads } from '../../connections/send-read-marker.ts'
import { Connection } from '../../delivery/connection.ts'
import { Connections } from '../../delivery/connections.ts'
import type { LocalBusHub } from '../../bus/bus-local.ts'
import { Feeds } from '../../delivery/feeds.ts'
import { frameOf } from '../../frames/frame.ts'
import { OutboundBudget } from '../../delivery/outbound.ts'
import { Sweeper } from '../../delivery/sweeper.ts'
import { RecordingTransport } from '../../delivery/testing/recording-transport.ts'
import type { PreSendHook } from '../../hook/pre-send-hook.ts'
import { localOnlyLiveValues } from '../../live/live-store.ts'
import { LiveValues } from '../../live/live-values.ts'
import { PresenceTracker } from '../../live/presence-tracker.ts'
import { localOnlyPresence } from '../../live/presence-store.ts'
import { CursorCodec } from '../../log/cursor.ts'
import type { Database } from '../../database/database.ts'
import { CatchUp } from '../../catch-up/catch-up.ts'
import { readGap } from '../../log/read-changes.ts'
import { type HookFactsRequest, readHookFacts } from '../../log/read-hook-facts.ts'
import { readMemberships } from '../../log/read-memberships.ts'
import { placeAt, readPosition, type SweepPosition, sweepChanges } from '../../log/sweep-changes.ts'
import { openLog } from '../../database/testing/log-fixture.ts'
import { Batcher } from '../../support/batcher.ts'
import { systemClock } from '../../support/clock.ts'
import { createLogger } from '../../support/logger.ts'
import { Metrics } from '../../support/metrics.ts'

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
  /** Ids of the sessions that commands reported as revoked. */
  readonly revoked: Id[] = []
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

  static async start(database: Database, hub: LocalBusHub, hook?: PreSendHook): Promise<TestNode> {
    return new TestNode(database, hub, hook, { epoch: await database.epoch(), position: await readPosition(database) })
  }

  private constructor(
    real: Database,
    hub: LocalBusHub,
    hook: PreSendHook | undefined,
    { epoch, position }: { readonly epoch: string; readonly position: number },
  ) {
    this.#hub = hub
    const database = this.#watchStatements(real)
    const connections = new Connections()
    const clock = systemClock
    const now = (): Date => new Date()
    const catchUp = new CatchUp({ database, clock, epoch: () => epoch })
    const feeds = new Feeds({
      catchUp,
      bus: this.#hub.join(),
      connections,
      clock,
      observer: { delivered: () => undefined, repaired: () => undefined, repairFailed: () => undefined },
      readGap: (range, limit) => readGap(database, range, limit),
      epoch: () => epoch,
      onForeignEpoch: () => undefined,
    })
    const unused = undefined as never
    this.parts = {
      config: unused,
      passwords: unused,
      keys: unused,
      limits: new Limits(noLimits, clock),
      mail: undefined,
      userTokens: unused,
      tokenSessions: unused,
      announceRevoked: (sessions) => void this.revoked.push(...sessions),
      database,
      serverName: 'test',
      cards: new CardSigner({
        issuer: 'http://chat.test',
        load: () => readSigningKeys(database),
        clock,
        now,
      }),
      hook,
      hookFacts: new Batcher({
        run: (requests: readonly HookFactsRequest[]) => readHookFacts(database, requests),
        batchMax: 200,
        waitingMax: 1_000,
        refusal: () => new Error('too many'),
      }),
      log: openLog(database),
      cursors: new CursorCodec('a key'),
      catchUp,
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
      logger: createLogger('silent', 'test'),
      metrics: this.#metrics,
      epoch: () => epoch,
    }
    feeds.listen(createFeedsListener(this.parts, () => undefined))
    this.sweeper = new Sweeper(
      {
        sweep: (from) => sweepChanges(real, from),
        feeds,
        connections,
        clock,
        encodeCursor: (at) => this.parts.cursors.encode({ epoch, position: at }),
        ...createSweepListener(this.parts),
        onApplied: () => undefined,
        onRevoked: () => undefined,
        observer: { swept: () => undefined, failed: () => undefined },
      },
      placeAt(position),
    )
  }

  /** Returns the database with the hooks of this node around its statements. */
  #watchStatements(real: Database): Database {
    return new Proxy(real, {
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
  }

  /** Runs a command as this user, over a connection if one is given. */
  run<Name extends CommandName>(
    name: Name,
    user: Id,
    input: CommandInput<Name>,
    connection?: Connection,
  ): Promise<CommandResult<Name>> {
    const context = {
      parts: this.parts,
      actor: { userId: user, sessionId: user },
      address: '127.0.0.1',
      userAgent: null,
      ...(connection !== undefined && { connection }),
    }
    return commandTable[name].run(context, input)
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
    const profile = { id: user, handle: 'x', name: 'x', avatar: null, bot: false }
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
