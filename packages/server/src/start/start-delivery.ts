/**
 * Starts the parts that deliver changes to clients: bus between servers, feeds of conversations,
 * caches, presence, live values, jobs, and the gate that admits connections. `start-sweep.ts` then
 * starts the sweep, which uses them.
 */
import { ChorusError, type Id, type LiveValue } from '@chorus/protocol'
import type { Bus } from '../bus/bus.ts'
import { openBus } from '../bus/open-bus.ts'
import { CatchUp } from '../catch-up/catch-up.ts'
import { CardSigner } from '../keys/card-signer.ts'
import { readSigningKeys } from '../keys/signing-keys.ts'
import type { Parts } from '../commands/parts.ts'
import { applyDeviceUpdate } from '../connections/apply-device-update.ts'
import { ConnectionGate } from '../connections/connection-gate.ts'
import { createFeedsListener } from '../connections/listeners.ts'
import { openMarkerReads } from '../connections/send-read-marker.ts'
import { readSetting } from '../database/settings.ts'
import { Connections } from '../delivery/connections.ts'
import { DeliveryTrace } from '../delivery/delivery-trace.ts'
import { Feeds } from '../delivery/feeds.ts'
import { OutboundBudget } from '../delivery/outbound.ts'
import { frameOf } from '../frames/frame.ts'
import { EpochMismatchWatcher } from '../health/epoch-mismatch-watcher.ts'
import { EventLoopStallDetector } from '../health/event-loop-stall-detector.ts'
import { localOnlyLiveValues } from '../live/live-store.ts'
import { RedisLiveStore } from '../live/live-store-redis.ts'
import { LiveValues } from '../live/live-values.ts'
import { CursorCodec } from '../log/cursor.ts'
import { readGap } from '../log/read-changes.ts'
import { readMemberships } from '../log/read-memberships.ts'
import type { Redis } from '../redis/redis.ts'
import { Batcher } from '../support/batcher.ts'
import type { Auth } from './start-auth.ts'
import type { StartContext } from './start-context.ts'
import { startHook } from './start-hook.ts'
import { startJobs } from './start-jobs.ts'
import { openPresence, type PresenceParts } from './start-presence.ts'
import type { RedisParts } from './start-redis.ts'
import type { Store } from './start-store.ts'

export interface Delivery extends PresenceParts {
  readonly parts: Parts
  readonly bus: Bus
  readonly gate: ConnectionGate
  readonly budget: OutboundBudget
  readonly stalls: EventLoopStallDetector
  readonly trail: DeliveryTrace
  /** Key that signs the unsubscribe links of digests. */
  readonly mailKey: string
  /** Returns the number of `changes` events sent since the start. */
  readonly batchesDelivered: () => number
  /** Closes the connections of these revoked sessions on this server. */
  readonly endSessions: (sessions: readonly Id[]) => void
}

export async function startDelivery(
  context: StartContext,
  store: Store,
  redisParts: RedisParts | undefined,
  auth: Auth,
): Promise<Delivery> {
  const { config, logger, clock, lifecycle, metrics } = context
  const { database } = store
  const epoch = (): string => store.epoch.value
  const redis = redisParts?.redis
  const bus = await openBus({ ...config, redis, key: () => readSetting(database, 'bus-key'), clock, logger, metrics })
  await lifecycle.start({ name: 'bus', stop: () => bus.close() })
  const stalls = new EventLoopStallDetector(clock)
  const budget = new OutboundBudget(stalls)
  const presence = openPresence(context, store, redisParts, bus)
  const connections = new Connections()
  const trail = new DeliveryTrace(() => clock.nowMs())
  const catchUp = new CatchUp({
    database,
    cache: redisParts?.sharedCache,
    clock,
    epoch,
    onRead: (cache, outcome) => {
      metrics.cacheReads.inc({ cache, outcome })
      // Reads of segments are also counted under `stretches`, the former name of this cache in the
      // metrics, until version 0.3.
      if (cache === 'segments') metrics.cacheReads.inc({ cache: 'stretches', outcome })
    },
  })
  const { feeds, batchesDelivered } = openFeeds(context, store, { bus, connections, trail, catchUp })
  const liveValues = openLiveValues(context, store, redis, { bus, feeds })
  const jobs = await startJobs({
    ...context,
    database,
    epoch,
    redis,
    now: () => store.time.now(),
    statusOf: async (user) => (await presence.presences.ask([user])).get(user)?.status ?? 'unknown',
  })
  await lifecycle.start({ name: 'jobs', stop: () => jobs.stop() })
  const parts: Parts = {
    config,
    database,
    passwords: auth.passwords,
    keys: auth.keys,
    limits: auth.limits,
    ...auth.tokens,
    mail: jobs.mail,
    announceRevoked: (sessions) => {
      endSessions(sessions)
      bus.publish('all', { kind: 'revoked', sessions })
    },
    serverName: config.serverName,
    cards: new CardSigner({
      issuer: config.publicUrl ?? `http://${config.host}:${config.port}`,
      load: () => readSigningKeys(database),
      clock,
      now: () => store.time.now(),
    }),
    ...(await startHook(context, store)),
    log: store.log,
    cursors: new CursorCodec(await readSetting(database, 'cursor-key')),
    catchUp,
    feeds,
    connections,
    liveValues,
    presences: presence.presences,
    memberships: openMembershipReads(store),
    markers: openMarkerReads(database, logger),
    logger,
    metrics,
    epoch,
  }
  const gate = new ConnectionGate({ parts, bus, budget, clock })
  function endSessions(sessions: readonly Id[]): void {
    auth.revocations.note(sessions)
    gate.revoke(sessions)
  }
  feeds.listen(
    createFeedsListener(parts, (message) => {
      if (message.kind === 'revoked') endSessions(message.sessions)
      if (message.kind === 'live') liveValues.receive(message.conversation, message.json)
      if (message.kind === 'presence') presence.presenceStore?.applyHint(message.user)
      if (message.kind === 'device') applyDeviceUpdate(parts, message)
    }),
  )
  return { ...presence, parts, bus, gate, budget, stalls, trail, mailKey: jobs.mailKey, batchesDelivered, endSessions }
}

function openFeeds(
  { logger, clock, metrics }: StartContext,
  { database, epoch }: Store,
  parts: { bus: Bus; connections: Connections; trail: DeliveryTrace; catchUp: CatchUp },
): { readonly feeds: Feeds; readonly batchesDelivered: () => number } {
  const foreignEpochs = new EpochMismatchWatcher({
    clock,
    recheck: () => database.recheckEpoch(),
    onFailed: (error) => logger.warn({ err: error }, 'unable to read the database epoch'),
  })
  let batches = 0
  const feeds = new Feeds({
    ...parts,
    clock,
    observer: {
      delivered: (changes, _deliveries, waitedMs) => {
        batches++
        metrics.deliveryBatchChanges.observe(changes)
        metrics.deliverySeconds.observe(waitedMs / 1_000)
      },
      repaired: (changes) => metrics.repairedChanges.inc({ by: 'gap' }, changes),
      repairFailed: (error) => logger.warn({ err: error }, 'unable to read missing changes; trying again'),
    },
    readGap: (range, limit) => readGap(database, range, limit),
    epoch: () => epoch.value,
    onForeignEpoch: () => foreignEpochs.note(),
  })
  return { feeds, batchesDelivered: () => batches }
}

function openLiveValues(
  { clock, bootId }: StartContext,
  { time }: Store,
  redis: Redis | undefined,
  { bus, feeds }: { bus: Bus; feeds: Feeds },
): LiveValues {
  return new LiveValues({
    clock,
    now: () => time.now(),
    origin: bootId,
    store: redis === undefined ? localOnlyLiveValues : new RedisLiveStore(redis),
    publish: (conversation, json) => bus.publish(`c:${conversation}`, { kind: 'live', conversation, json }),
    tell: (conversation: Id, values: readonly LiveValue[]) =>
      feeds.get(conversation)?.broadcast(frameOf('live', [...values]), (behind) => behind.staleLive.add(conversation)),
  })
}

function openMembershipReads({ database }: Store): Parts['memberships'] {
  return new Batcher({
    run: (asks: Parameters<typeof readMemberships>[1]) => readMemberships(database, asks),
    batchMax: 200,
    waitingMax: 20_000,
    refusal: () =>
      new ChorusError('unavailable', 'unable to look up memberships; too many requests are waiting', {
        retryAfterMs: 1_000,
      }),
  })
}
