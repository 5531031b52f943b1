/** The bus that the configuration asks for, with what it does counted: over Redis, or within this process. */
import type { Clock } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Metrics } from '../support/metrics.ts'
import { openRedis, type Redis } from '../support/redis.ts'
import { LocalBusHub } from './bus-local.ts'
import type { BusObserver } from './bus-observer.ts'
import { RedisBus } from './bus-redis.ts'
import type { Bus } from './bus.ts'

export interface OpenBusOptions {
  /** Undefined: one server only. */
  readonly redis: Redis | undefined
  readonly redisUrl: string | undefined
  readonly redisSubscribeUrl: string | undefined
  readonly redisInsecure: 'refuse' | 'allow'
  /** The same on every server (rule BUS1). */
  readonly key: () => Promise<string>
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
}

/** Throws a StartError when the place to subscribe is wrong for good. */
export async function openBus(options: OpenBusOptions): Promise<Bus> {
  const { redis, redisUrl, redisSubscribeUrl, redisInsecure, clock, logger, metrics } = options
  if (redis === undefined || redisUrl === undefined) return new LocalBusHub().join()
  if (redisSubscribeUrl !== undefined) {
    const allowInsecure = redisInsecure === 'allow'
    // Only to learn whether it is usable at all: one clear line beats a bus that never hears.
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
