/** Opens the configured bus, over Redis or within this process, and connects it to the metrics. */
import type { Clock } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Metrics } from '../support/metrics.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { LocalBusHub } from './bus-local.ts'
import type { BusObserver } from './bus-observer.ts'
import { RedisBus } from './bus-redis.ts'
import type { Bus } from './bus.ts'

export interface OpenBusOptions {
  /** Redis connection for publishing; undefined for a single server. */
  readonly redis: Redis | undefined
  readonly redisUrl: string | undefined
  readonly redisSubscribeUrl: string | undefined
  readonly redisInsecure: 'refuse' | 'allow'
  /** Returns the HMAC key of the bus messages, the same on every server (rule BUS1). */
  readonly key: () => Promise<string>
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
}

/**
 * Opens the bus. Throws a StartError when the Redis to subscribe at can never work with the current
 * configuration.
 */
export async function openBus(options: OpenBusOptions): Promise<Bus> {
  const { redis, redisUrl, redisSubscribeUrl, redisInsecure, clock, logger, metrics } = options
  if (redis === undefined || redisUrl === undefined) return new LocalBusHub().join()
  if (redisSubscribeUrl !== undefined) {
    const allowInsecure = redisInsecure === 'allow'
    // This connection only checks whether the Redis to subscribe at is usable. One clear error is
    // better than a bus that receives nothing.
    const checked = await openRedis({
      url: redisSubscribeUrl,
      variable: 'REDIS_SUBSCRIBE_URL',
      allowInsecure,
      logger,
      clock,
    })
    await checked.close()
  }
  const bus = new RedisBus({
    redis,
    subscribeUrl: redisSubscribeUrl ?? redisUrl,
    key: await options.key(),
    clock,
    observer: observe(metrics, logger),
  })
  await bus.whenOpened()
  return bus
}

function observe(metrics: Metrics, logger: Logger): BusObserver {
  return {
    published: () => metrics.busMessages.inc({ direction: 'out' }),
    received: () => metrics.busMessages.inc({ direction: 'in' }),
    dropped: (reason, count) => metrics.busDropped.inc({ reason }, count),
    gap: (cause) => metrics.busGaps.inc({ cause }),
    probed: (durationMs) => metrics.busProbeSeconds.observe(durationMs / 1_000),
    noted: (line) => logger.warn(line),
  }
}
