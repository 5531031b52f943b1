/**
 * Opens Redis, if it is configured. Redis carries what several servers share: hints, caches, leases
 * and jobs.
 */
import { namespaceOf, readInstallation } from '../database/installation.ts'
import { readSetting } from '../database/settings.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { RedisEviction } from '../redis/redis-eviction.ts'
import { SharedCache } from '../redis/shared-cache.ts'
import type { StartContext } from './start-context.ts'
import type { Store } from './start-store.ts'

export interface RedisParts {
  readonly redis: Redis
  /** Detector that reports a Redis that evicts keys. */
  readonly eviction: RedisEviction
  readonly sharedCache: SharedCache
}

/**
 * Connects to Redis. Returns undefined when `REDIS_URL` is not set: then this is the only server.
 */
export async function startRedis(
  { config, logger, clock, lifecycle }: StartContext,
  { database }: Store,
): Promise<RedisParts | undefined> {
  if (config.redisUrl === undefined) return undefined
  const redis = await openRedis({
    url: config.redisUrl,
    variable: 'REDIS_URL',
    namespace: namespaceOf(await readInstallation(database)),
    allowInsecure: config.redisInsecure === 'allow',
    logger,
    clock,
  })
  await lifecycle.start({ name: 'redis', stop: () => redis.close() })
  const eviction = new RedisEviction({ redis, clock, logger })
  await lifecycle.start({ name: 'eviction watch', stop: async () => eviction.stop() })
  return {
    redis,
    eviction,
    sharedCache: new SharedCache({ redis, secret: await readSetting(database, 'bus-key'), clock }),
  }
}
