/**
 * Limits and options of every connection to Redis: no queue while Redis is away, detection of dead
 * connections, reconnects with jitter.
 */
import type { RedisClientOptions } from 'redis'
import { redisTlsOf } from './redis-tls.ts'

export const redisLimits = {
  connectTimeoutMs: 2_000,
  /** Timeout after which a command without response rejects. The command may still run. */
  commandTimeoutMs: 1_000,
  /** Silence after which a connection counts as dead; pings are sent every `pingIntervalMs`. */
  silenceMaxMs: 4_000,
  pingIntervalMs: 1_000,
  /** Maximum number of unanswered commands. Further commands reject at once. */
  underWayMax: 5_000,
  /** Maximum number of bytes buffered before the kernel accepts them. */
  writtenAheadMaxBytes: 4_194_304,
  reconnectMinMs: 50,
  reconnectMaxMs: 1_000,
  probeIntervalMs: 500,
  /**
   * Extra time for a command when this process itself was stalled and has not yet read the
   * response.
   */
  stillnessGraceMs: 200,
  /** Time between two discoveries of a cluster that had an unreachable master at the start. */
  rediscoverIntervalMs: 5_000,
} as const

/**
 * Returns the options to connect to this URL: no queue while away, detection of dead connections,
 * reconnects with jitter.
 */
export function redisConnection(
  url: string,
  reconnectStrategy: false | ((retries: number) => number) = reconnectDelayMs,
): RedisClientOptions {
  const tls = redisTlsOf(url)
  return {
    url,
    disableOfflineQueue: true,
    commandsQueueMaxLength: redisLimits.underWayMax * 2,
    pingInterval: redisLimits.pingIntervalMs,
    socket: {
      connectTimeout: redisLimits.connectTimeoutMs,
      socketTimeout: redisLimits.silenceMaxMs,
      reconnectStrategy,
      // Option of Node's own socket. The client writes until this many bytes wait and continues at
      // the next drain, one event loop turn later. With Node's 16 kB a busy server sent a few
      // publishes per turn, and the rest timed out.
      ...{ writableHighWaterMark: redisLimits.writtenAheadMaxBytes },
      // The client applies the scheme of the URL only to the first node of a cluster.
      ...(tls !== undefined && { tls: true as const, ...tls }),
    },
  }
}

/** Returns a random delay below a limit that doubles with each retry. */
export function reconnectDelayMs(retries: number): number {
  const { reconnectMinMs, reconnectMaxMs } = redisLimits
  return (
    reconnectMinMs +
    Math.random() * (Math.min(reconnectMaxMs, reconnectMinMs * 2 ** Math.min(retries, 10)) - reconnectMinMs)
  )
}
