/**
 * Starts the health report. In a cluster, also starts the detector that asks clients to move when
 * only this server has lost the database.
 */
import { OldestTransaction } from '../database/oldest-transaction.ts'
import type { Sweeper } from '../delivery/sweeper.ts'
import { DatabasePartitionDetector } from '../health/database-partition-detector.ts'
import { PeerRegistry } from '../health/peer-registry.ts'
import { HealthReport } from '../http/health-report.ts'
import type { SweepPosition } from '../log/sweep-changes.ts'
import type { StartContext } from './start-context.ts'
import type { Delivery } from './start-delivery.ts'
import type { RedisParts } from './start-redis.ts'
import type { Store } from './start-store.ts'

export async function startHealth(
  { config, logger, clock, lifecycle, metrics, bootId }: StartContext,
  { database }: Store,
  redisParts: RedisParts | undefined,
  { bus, gate }: Delivery,
  { sweeper, isStopping }: { readonly sweeper: Sweeper<SweepPosition>; readonly isStopping: () => boolean },
): Promise<HealthReport> {
  const oldest = new OldestTransaction(database, clock)
  const report = new HealthReport({
    metrics,
    clock,
    hasDatabase: () => database.isHealthy(),
    redisProblem: redisParts && (() => redisParts.redis.problem()),
    busProblem: () => bus.degraded(),
    evictionProblem: redisParts && (() => redisParts.eviction.problem()),
    isStopping,
    sweepAgeMs: () => sweeper.ageMs,
    oldestTransactionMs: () => oldest.ageMs(),
  })
  report.start()
  await lifecycle.start({ name: 'health', stop: async () => report.stop() })
  if (redisParts === undefined) return report
  const detector = new DatabasePartitionDetector({
    peerRegistry: new PeerRegistry(redisParts.redis, bootId),
    hasDatabase: () => database.isHealthy(),
    askToMove: () => {
      const clients = gate.askToMove(config.drainMs, 'cut-off').length
      logger.warn(
        { clients },
        'only this server cannot reach the database: asking its clients to move to another server',
      )
    },
    clock,
  })
  await lifecycle.start({ name: 'partition detector', stop: () => detector.stop() })
  return report
}
