/**
 * Starts the sweep, which finds changes whose hints over Redis were lost, and the part that handles
 * a new database epoch.
 */
import { createSweepListener } from '../connections/listeners.ts'
import { Sweeper } from '../delivery/sweeper.ts'
import { EpochTransition } from '../health/epoch-transition.ts'
import { placeAt, readPosition, type SweepPosition, sweepChanges } from '../log/sweep-changes.ts'
import type { Auth } from './start-auth.ts'
import type { StartContext } from './start-context.ts'
import type { Delivery } from './start-delivery.ts'
import type { Store } from './start-store.ts'

export async function startSweep(
  { logger, clock, lifecycle, metrics }: StartContext,
  { database, epoch }: Store,
  { revocations }: Auth,
  { parts, bus, gate, stalls, endSessions, presences, lastSeen }: Delivery,
): Promise<Sweeper<SweepPosition>> {
  const { feeds, connections, cursors, liveValues } = parts
  const epochAtStart = epoch.value
  const sweeper = new Sweeper(
    {
      sweep: (place) => sweepChanges(database, place),
      feeds,
      connections,
      clock,
      encodeCursor: (position) => cursors.encode({ epoch: epoch.value, position }),
      ...createSweepListener(parts),
      onRevoked: endSessions,
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
  // Load the revoked sessions only after the start position of the sweep was read. So every
  // revocation is found either here or by the sweep (rule ACL2).
  revocations.load()
  bus.onGap(() => void sweeper.sweepNow())
  void bus.subscribe('all')
  const transition = new EpochTransition({
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
  await lifecycle.start({ name: 'epoch transition', stop: async () => transition.stop() })
  database.onEpochChange(() => transition.begin())
  // The epoch may have changed during the start, before the listener above was registered.
  if (epoch.value !== epochAtStart) transition.begin()
  sweeper.start()
  await lifecycle.start({ name: 'sweeper', stop: () => sweeper.stop() })
  stalls.start((forMs) => {
    metrics.stalls.inc()
    logger.warn({ forMs: Math.round(forMs) }, 'this server did not run for a while; it sweeps before it delivers')
    void Promise.resolve().then(() => sweeper.sweepNow())
  })
  await lifecycle.start({ name: 'stall detector', stop: async () => stalls.stop() })
  await lifecycle.start({
    name: 'live',
    stop: async () => {
      await presences.stop()
      await lastSeen.flush()
      liveValues.stop()
    },
  })
  return sweeper
}
