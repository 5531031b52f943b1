/**
 * Builds one server with plain calls, each part after the parts it depends on, and stops the parts
 * in reverse. Reading this file from top to bottom is reading the wiring diagram.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ChorusError, type Id, type LiveValue, type Presence } from '@chorus/protocol'
import { Authenticator, cookieNameFor } from './access/authenticator.ts'
import { Limits, wideSignInsFactor } from './access/limits.ts'
import { Passwords } from './access/passwords.ts'
import { RecentRevocations } from './access/recent-revocations.ts'
import { SessionCache } from './access/session-cache.ts'
import { SharedLimits } from './access/shared-limits.ts'
import { removableBy, requirementOf } from './access/policy.ts'
import { Canary } from './canary/canary.ts'
import { InFlightCommands } from './commands/in-flight-commands.ts'
import { commandTable } from './commands/command-table.ts'
import { endSubscription, lookAfterRemoval, tellSweptRemoval } from './commands/end-subscription.ts'
import { applyDeviceUpdate } from './commands/apply-device-update.ts'
import { joinConversation } from './commands/join-conversation.ts'
import type { Parts } from './commands/parts.ts'
import { revalidatePresenceSubscriptions } from './commands/revalidate-presence-subscriptions.ts'
import { openMarkerReads, sendPendingReadMarkers, sendReadMarker } from './commands/send-read-marker.ts'
import type { Config } from './config.ts'
import type { Connection } from './fanout/connection.ts'
import { Connections } from './fanout/connections.ts'
import { DeliveryTrace } from './fanout/delivery-trace.ts'
import { Feeds } from './fanout/feeds.ts'
import { EpochMismatchWatcher } from './fanout/epoch-mismatch-watcher.ts'
import { frameOf } from './fanout/frame.ts'
import { EpochTransition } from './fanout/epoch-transition.ts'
import { openBus } from './fanout/open-bus.ts'
import { OutboundBudget } from './fanout/outbound.ts'
import { EventLoopStallDetector } from './fanout/event-loop-stall-detector.ts'
import { Sweeper } from './fanout/sweeper.ts'
import { buildHttpApp } from './http/app.ts'
import { addEventStream } from './http/event-stream.ts'
import { HealthReport } from './http/health-report.ts'
import { describeListenError, startMetricsServer } from './http/operators.ts'
import { createTraceHandler } from './http/trace.ts'
import { DatabasePartitionDetector } from './live/database-partition-detector.ts'
import { localOnlyLiveValues } from './live/live-store.ts'
import { RedisLiveStore } from './live/live-store-redis.ts'
import { addMailPages } from './http/mail-pages.ts'
import { LiveValues } from './live/live-values.ts'
import { PresenceTracker } from './live/presence-tracker.ts'
import { PeerRegistry } from './live/peer-registry.ts'
import { localOnlyPresence } from './live/presence-store.ts'
import { RedisPresenceStore } from './live/presence-store-redis.ts'
import { ConnectionGate } from './socket/connection-gate.ts'
import { drain } from './socket/drain.ts'
import { startSocketServer } from './socket/socket-server.ts'
import { startJobs } from './start-jobs.ts'
import { ChangeLog } from './store/change-log.ts'
import { CursorCodec } from './store/cursor.ts'
import { DatabaseTime } from './store/database-time.ts'
import { namespaceOf, readInstallation } from './store/installation.ts'
import { LastSeenWriter, readLastSeen } from './store/last-seen.ts'
import { keepNamesFolded } from './store/fold-names.ts'
import { LogSegmentCache } from './store/log-segment-cache.ts'
import { migrate } from './store/migrate.ts'
import { LatestPageCache } from './store/latest-page-cache.ts'
import { OldestTransaction } from './store/oldest-transaction.ts'
import { openDatabase } from './store/open-database.ts'
import { readGap, readNewestChanges, readRange } from './store/read-changes.ts'
import { readMemberships } from './store/read-memberships.ts'
import { findSessions, readRecentRevocations, touchSessions } from './store/sessions.ts'
import { readSetting } from './store/settings.ts'
import { placeAt, readPosition, sweepChanges } from './store/sweep-changes.ts'
import { pruneSessions } from './store/prune-sessions.ts'
import { maintainTables } from './store/maintain-tables.ts'
import { readTrace } from './store/trace.ts'
import { findClientAddress, parseTrustedProxies } from './support/address.ts'
import { Batcher } from './support/batcher.ts'
import { systemClock } from './support/clock.ts'
import { Lifecycle } from './support/lifecycle.ts'
import type { Logger } from './support/logger.ts'
import { Metrics } from './support/metrics.ts'
import { IdleHeapTrimmer, setV8Flags } from './support/idle-heap-trimmer.ts'
import { openRedis } from './support/redis.ts'
import { RedisEviction } from './support/redis-eviction.ts'
import { SharedCache } from './support/shared-cache.ts'
import { StartError } from './support/start-error.ts'

export interface Node {
  /** Base URL of the server. */
  readonly url: string
  /**
   * Stops the server: reports not ready, asks clients to move to another server, acknowledges sends
   * in progress, and closes all parts.
   */
  stop(): Promise<void>
}

/** Deadline of a stop. At most 9 s of it pass before the last responses are sent: see DRAIN_MS. */
const stopDeadlineMs = 14_000
const tidyIntervalMs = 60_000
const watchIntervalMs = 1_000

export async function startNode(config: Config, logger: Logger): Promise<Node> {
  const clock = systemClock
  const lifecycle = new Lifecycle(clock, (part, problem) =>
    logger.error({ err: problem, part }, 'a part of the server did not stop cleanly'),
  )
  try {
    return await start(config, logger, lifecycle)
  } catch (error) {
    await lifecycle.stop(stopDeadlineMs)
    throw error
  }

  async function start(config: Config, logger: Logger, lifecycle: Lifecycle): Promise<Node> {
    const bootId = randomUUID()
    const metrics = new Metrics()
    await lifecycle.start({ name: 'metrics', stop: async () => metrics.stop() })

    // Database, change log and table maintenance.
    const database = await openDatabase(config)
    await lifecycle.start({ name: 'database', stop: () => database.close() })
    await migrate(database)
    let epoch = await database.epoch()
    const log = new ChangeLog(
      database,
      { requirementOf, removableBy },
      {
        batchCommitted: (rows) => metrics.appendBatchRows.observe(rows),
        batchFailed: (error) => {
          metrics.databaseErrors.inc({ kind: error.kind })
          if (error.kind === 'bug') logger.error({ err: error }, 'the log refused a batch')
        },
      },
      () => clock.nowMs(),
    )
    await lifecycle.start({ name: 'log', stop: () => log.drain() })
    const stopTending = maintainTables(database, clock, (problem) =>
      logger.warn({ err: problem }, 'unable to maintain the tables; trying again later'),
    )
    const time = await DatabaseTime.start(database, clock, (problem) =>
      logger.warn({ err: problem }, 'unable to read the time of the database; trying again'),
    )
    await lifecycle.start({ name: 'time', stop: async () => time.stop() })
    await lifecycle.start({ name: 'table tending', stop: async () => stopTending() })
    const stopTendingSessions = pruneSessions(database, clock, (problem) =>
      logger.warn({ err: problem }, 'unable to delete old sessions; trying again later'),
    )
    await lifecycle.start({ name: 'session tending', stop: async () => stopTendingSessions() })

    const stopFolding = keepNamesFolded(database, clock, (problem) =>
      logger.warn({ err: problem }, 'unable to prepare names for search; trying again'),
    )
    await lifecycle.start({ name: 'folding of names', stop: async () => stopFolding() })

    // Redis: hints, caches, leases and jobs shared by several servers.
    const redis =
      config.redisUrl === undefined
        ? undefined
        : await openRedis({
            url: config.redisUrl,
            variable: 'REDIS_URL',
            namespace: namespaceOf(await readInstallation(database)),
            allowInsecure: config.redisInsecure === 'allow',
            logger,
            clock,
          })
    if (redis !== undefined) await lifecycle.start({ name: 'redis', stop: () => redis.close() })
    const eviction = redis && new RedisEviction({ redis, clock, logger })
    await lifecycle.start({ name: 'eviction watch', stop: async () => eviction?.stop() })
    const sharedCache =
      redis === undefined
        ? undefined
        : new SharedCache({ redis, secret: await readSetting(database, 'bus-key'), clock })

    // Authentication and limits.
    const passwords = await Passwords.create({ onHash: (seconds) => metrics.passwordSeconds.observe(seconds) })
    const sharedLimits =
      redis &&
      new SharedLimits({
        redis,
        clock,
        signIns: config.limitSignIns,
        signInsWide: config.limitSignIns * wideSignInsFactor,
        signInsAddress: config.limitSignInsAddress,
        onReport: (outcome) => metrics.limitReports.inc({ outcome }),
      })
    await lifecycle.start({ name: 'limits', stop: async () => sharedLimits?.stop() })
    const limits = new Limits(config, clock, (limit) => metrics.rateLimited.inc({ limit }), sharedLimits)
    const revocations = new RecentRevocations({
      load: (withinMs, limit) => readRecentRevocations(database, withinMs, limit),
      clock,
      onProblem: (problem) => logger.warn({ err: problem }, 'unable to read recent revocations; trying again'),
    })
    await lifecycle.start({ name: 'revocations', stop: async () => revocations.stop() })
    const authenticator = new Authenticator({
      records: { find: (hashes) => findSessions(database, hashes), touch: (ids) => touchSessions(database, ids) },
      cookieName: cookieNameFor(config.publicUrl),
      cookieSecret: await readSetting(database, 'cookie-secret'),
      clock,
      cache:
        sharedCache &&
        new SessionCache({
          cache: sharedCache,
          revocations,
          sweepAgeMs: () => sweeper.ageMs,
          now: () => time.now(),
          epoch: () => epoch,
          onRead: (outcome) => metrics.cacheReads.inc({ cache: 'sessions', outcome }),
        }),
      onProblem: (problem) => logger.warn({ err: problem }, 'unable to store when sessions were last used'),
    })
    await lifecycle.start({ name: 'authenticator', stop: async () => authenticator.stop() })

    // Bus, delivery, presence and live values.
    const bus = await openBus({ ...config, redis, key: () => readSetting(database, 'bus-key'), clock, logger, metrics })
    await lifecycle.start({ name: 'bus', stop: () => bus.close() })
    const stalls = new EventLoopStallDetector({
      clock,
      onStall: (forMs) => {
        metrics.stalls.inc()
        logger.warn({ forMs: Math.round(forMs) }, 'this server did not run for a while; it sweeps before it delivers')
        void Promise.resolve().then(() => sweeper.sweepNow())
      },
    })
    const budget = new OutboundBudget(stalls)
    const connections = new Connections()
    const memberships = new Batcher({
      run: (asks: Parameters<typeof readMemberships>[1]) => readMemberships(database, asks),
      batchMax: 200,
      waitingMax: 20_000,
      refusal: () =>
        new ChorusError('unavailable', 'unable to look up memberships; too many requests are waiting', {
          retryAfterMs: 1_000,
        }),
    })
    const lastSeen = new LastSeenWriter({
      database,
      clock,
      onProblem: (problem) => logger.warn({ err: problem }, 'unable to store when users were last seen'),
    })
    const presenceStore =
      redis &&
      new RedisPresenceStore({
        redis,
        boot: bootId,
        clock,
        now: () => time.now(),
        subscribe: (user) => bus.subscribe(`p:${user}`),
        unsubscribe: (user) => bus.unsubscribe(`p:${user}`),
        hint: (user) => bus.publish(`p:${user}`, { kind: 'presence', user }),
        onLost: (seen) => lastSeen.note(seen),
        observer: {
          leaseTaken: (cause) => metrics.presenceLeases.inc({ cause }),
          unreachable: (partitions) => metrics.presenceUnreachable.set(partitions),
        },
      })
    const pages = new LatestPageCache({
      database,
      cache: sharedCache,
      clock,
      epoch: () => epoch,
      onRead: (outcome) => metrics.cacheReads.inc({ cache: 'pages', outcome }),
    })
    const segments = new LogSegmentCache({
      database,
      clock,
      epoch: () => epoch,
      onRead: (what, outcome) => metrics.cacheReads.inc({ cache: what, outcome }),
    })
    const presences = new PresenceTracker<Connection>({
      clock,
      now: () => time.now(),
      presenceStore: presenceStore ?? localOnlyPresence,
      tell: (watcher, news: readonly Presence[]) => watcher.send(frameOf('presence', [...news])),
      saveLastSeen: (seen) => lastSeen.note(seen),
      readLastSeen: (users) => readLastSeen(database, users),
    })
    const liveValues = new LiveValues({
      clock,
      now: () => time.now(),
      origin: bootId,
      store: redis === undefined ? localOnlyLiveValues : new RedisLiveStore(redis),
      publish: (conversation, json) => bus.publish(`c:${conversation}`, { kind: 'live', conversation, json }),
      tell: (conversation: Id, values: readonly LiveValue[]) =>
        feeds
          .get(conversation)
          ?.broadcast(frameOf('live', [...values]), (behind) => behind.staleLive.add(conversation)),
    })
    const foreignEpochs = new EpochMismatchWatcher({
      clock,
      recheck: () => database.recheckEpoch(),
      onFailed: (error) => logger.warn({ err: error }, 'unable to read the database epoch'),
    })
    let batchesDelivered = 0
    const trail = new DeliveryTrace(() => clock.nowMs())
    const feeds = new Feeds({
      bus,
      trail,
      connections,
      clock,
      observer: {
        delivered: (changes, _deliveries, waitedMs) => {
          batchesDelivered++
          metrics.deliveryBatchChanges.observe(changes)
          metrics.deliverySeconds.observe(waitedMs / 1_000)
        },
        repaired: (changes) => metrics.repairedChanges.inc({ by: 'gap' }, changes),
        repairFailed: (error) => logger.warn({ err: error }, 'unable to read missing changes; trying again'),
      },
      readGap: (range, limit) => readGap(database, range, limit),
      readNewest: (wanted, extent) => readNewestChanges(database, wanted, extent),
      onJoined: (conversation, user) => {
        liveValues.welcome(conversation, user)
        for (const connection of connections.ofUser(user)) joinConversation(parts, connection, conversation)
      },
      onLeft: (conversation, user) => {
        liveValues.forget(conversation, user)
        revalidatePresenceSubscriptions(parts, user)
      },
      onUnsubscribed: (conversation, left) => lookAfterRemoval(parts, conversation, left),
      onBusMessage: (message) => {
        if (message.kind === 'revoked') endSessions(message.sessions)
        if (message.kind === 'live') liveValues.receive(message.conversation, message.json)
        if (message.kind === 'presence') presenceStore?.heard(message.user)
        if (message.kind === 'device') applyDeviceUpdate(parts, message)
      },
      epoch: () => epoch,
      onForeignEpoch: () => foreignEpochs.note(),
    })
    const jobs = await startJobs({
      config,
      database,
      epoch: () => epoch,
      redis,
      now: () => time.now(),
      clock,
      logger,
      metrics,
      statusOf: async (user) => (await presences.ask([user])).get(user)?.status ?? 'unknown',
    })
    await lifecycle.start({ name: 'jobs', stop: () => jobs.stop() })
    const parts: Parts = {
      mail: jobs.mail,
      config,
      database,
      passwords,
      limits,
      announceRevoked: (sessions) => {
        endSessions(sessions)
        bus.publish('all', { kind: 'revoked', sessions })
      },
      serverName: config.serverName,
      log,
      cursors: new CursorCodec(await readSetting(database, 'cursor-key')),
      feeds,
      connections,
      liveValues,
      presences,
      memberships,
      markers: openMarkerReads(database, logger),
      pages,
      segments,
      readRange: (range, limit) => readRange(database, range, limit),
      logger,
      metrics,
      epoch: () => epoch,
    }
    const gate = new ConnectionGate({ parts, bus, budget, clock })
    const endSessions = (sessions: readonly Id[]): void => {
      revocations.note(sessions)
      gate.revoke(sessions)
    }
    const sweeper = new Sweeper(
      {
        sweep: (place) => sweepChanges(database, place),
        feeds,
        connections,
        clock,
        encodeCursor: (position) => parts.cursors.encode({ epoch, position }),
        onMember: (user, conversation) => {
          for (const connection of connections.ofUser(user)) joinConversation(parts, connection, conversation)
        },
        onLeft: (user, conversation, leftSeq, xid) => {
          revalidatePresenceSubscriptions(parts, user)
          tellSweptRemoval(parts, user, conversation, leftSeq, xid)
        },
        onStale: (user, conversation, leftSeq) => endSubscription(parts, user, conversation, leftSeq),
        onMarker: (user, conversation) => {
          for (const connection of connections.ofUser(user)) sendReadMarker(parts, connection, conversation)
        },
        onOwed: (connection) => sendPendingReadMarkers(parts, connection),
        onRevoked: (sessions) => endSessions(sessions),
        onApplied: (beganAtMs) => stalls.swept(beganAtMs),
        observer: {
          swept: (durationMs, repaired) => {
            metrics.sweepSeconds.observe(durationMs / 1_000)
            if (repaired > 0) metrics.repairedChanges.inc({ by: 'sweep' }, repaired)
          },
          failed: (error) => logger.warn({ err: error }, 'a sweep failed; trying again'),
        },
      },
      placeAt(await readPosition(database)),
    )
    // Load after reading the sweep's start position, so that no revocation falls between the two
    // (rule ACL2).
    revocations.load()
    bus.onGap(() => void sweeper.sweepNow())
    void bus.subscribe('all')
    const history = new EpochTransition({
      onLeft: () => {
        sweeper.pause()
        gate.beginReset()
        feeds.clear()
      },
      onBegun: (position) => {
        sweeper.reset(placeAt(position))
        revocations.load()
        gate.endReset()
      },
      readPosition: () => readPosition(database),
      clock,
      onFailed: (error) => logger.warn({ err: error }, 'unable to continue in the new database epoch; trying again'),
    })
    await lifecycle.start({ name: 'history', stop: async () => history.stop() })
    database.onEpochChange((changed) => {
      logger.warn({ epoch: changed }, 'the database epoch changed: every client loads its data again')
      epoch = changed
      history.begin()
    })
    sweeper.start()
    await lifecycle.start({ name: 'sweeper', stop: () => sweeper.stop() })
    stalls.start()
    await lifecycle.start({ name: 'stall watch', stop: async () => stalls.stop() })
    await lifecycle.start({
      name: 'live',
      stop: async () => {
        await presences.stop()
        await lastSeen.flush()
        liveValues.stop()
      },
    })

    // Periodic checks and metrics.
    const intake = new InFlightCommands(commandTable, clock)
    const quiet = new IdleHeapTrimmer({
      workDone: () => intake.begun + batchesDelivered + gate.turnover,
      prefer: (preference) => {
        setV8Flags(preference)
        metrics.prefersMemory.set(preference === 'memory' ? 1 : 0)
      },
    })
    const watch = setInterval(() => {
      budget.checkProgress(clock.nowMs())
      gate.closeExpired()
      quiet.look()
      metrics.outboundBytes.set(budget.heldBytes)
      metrics.queueDepth.set({ queue: 'log' }, log.waitingRows)
      metrics.queueDepth.set({ queue: 'passwords' }, passwords.waitingCount)
      catchUpLiveValues(parts)
      countConnections(parts)
    }, watchIntervalMs)
    const tidy = setInterval(() => liveValues.tidy(), tidyIntervalMs)
    await lifecycle.start({
      name: 'housekeeping',
      stop: async () => {
        clearInterval(watch)
        clearInterval(tidy)
      },
    })

    // HTTP, Socket.IO and operator endpoints.
    const proxies = parseTrustedProxies(config.trustedProxies)
    if (proxies === undefined) throw new StartError('TRUSTED_PROXIES cannot be read')
    const addressOf = (request: IncomingMessage): string =>
      findClientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for'], proxies)
    let isStopping = false
    const oldest = new OldestTransaction(database, clock)
    const healthReport = new HealthReport({
      metrics,
      clock,
      hasDatabase: () => database.isHealthy(),
      redisProblem: redis && (() => redis.problem()),
      busProblem: () => bus.degraded(),
      evictionProblem: eviction && (() => eviction.problem()),
      isStopping: () => isStopping,
      sweepAgeMs: () => sweeper.ageMs,
      oldestTransactionMs: () => oldest.ageMs(),
    })
    healthReport.start()
    await lifecycle.start({ name: 'health', stop: async () => healthReport.stop() })
    if (redis !== undefined) {
      const cutOff = new DatabasePartitionDetector({
        peerRegistry: new PeerRegistry(redis, bootId),
        hasDatabase: () => database.isHealthy(),
        askToMove: () => {
          const asked = gate.askToMove(config.drainMs, 'cut-off').length
          logger.warn(
            { clients: asked },
            'only this server cannot reach the database: asking its clients to move to another server',
          )
        },
        clock,
      })
      await lifecycle.start({ name: 'roster', stop: () => cutOff.stop() })
    }
    const app = await buildHttpApp({
      config,
      parts,
      handlers: intake.table,
      authenticator,
      logger,
      metrics,
      health: () => healthReport.ask(),
      isLeaving: () => isStopping,
      extend: (scope) => {
        addEventStream(scope, { authenticator, limits, gate, addressOf })
        addMailPages(scope, { database, limits, addressOf, key: jobs.mailKey })
      },
    })
    const sockets = startSocketServer({
      httpServer: app.server,
      parts,
      handlers: intake.table,
      authenticator,
      originPolicy: config,
      gate,
      addressOf,
    })
    await lifecycle.start({ name: 'http', stop: () => app.close() })
    await lifecycle.start({
      name: 'connections',
      stop: async () => {
        await drain({
          gate,
          intake,
          openWires: () => sockets.engine.clientsCount,
          clock,
          noticeMs: config.drainNoticeMs,
          moveMs: config.drainMs,
        })
        sockets.engine.close()
      },
    })
    if (config.metricsPort !== undefined) {
      const trace = createTraceHandler({
        serverName: config.serverName,
        trail,
        connectionsOf: (user) => connections.ofUser(user),
        read: (conversation, seq, user) => readTrace(database, conversation, seq, user),
        nowMs: () => clock.nowMs(),
        now: () => time.now(),
      })
      const server = await startMetricsServer(metrics, config.host, config.metricsPort, trace)
      await lifecycle.start({ name: 'metrics port', stop: async () => void server.close() })
    }

    await app.listen({ host: config.host, port: config.port }).catch((error: NodeJS.ErrnoException) => {
      throw new StartError(`unable to listen on PORT ${config.port} of ${config.host}; ${describeListenError(error)}`, {
        cause: error,
      })
    })
    const { port } = app.server.address() as AddressInfo
    if (config.canary === 'on') {
      const canary = Canary.start({
        parts,
        commands: commandTable,
        authenticator,
        clock,
        now: () => time.now(),
        url: `http://${reachableHost(config.host)}:${port}`,
      })
      await lifecycle.start({ name: 'canary', stop: async () => canary.stop() })
    }
    return {
      url: `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`,
      stop: async () => {
        isStopping = true
        await lifecycle.stop(stopDeadlineMs)
      },
    }
  }
}

/**
 * Returns the host under which a process of this machine reaches a server that listens on `host`.
 */
function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

/** Sends the newest live values to connections that were behind and missed some (rule LIVE1). */
function catchUpLiveValues({ connections, liveValues }: Parts): void {
  for (const connection of connections) {
    if (connection.staleLive.size === 0 || connection.isBehind) continue
    for (const conversation of connection.staleLive) {
      const values = connection.conversations.has(conversation) ? liveValues.list(conversation) : []
      if (values.length > 0) connection.send(frameOf('live', values))
    }
    connection.staleLive.clear()
  }
}

function countConnections({ connections, metrics }: Parts): void {
  const counts = { websocket: 0, polling: 0, sse: 0 }
  for (const connection of connections) counts[connection.transportKind]++
  for (const [transport, count] of Object.entries(counts)) metrics.connections.set({ transport }, count)
}
