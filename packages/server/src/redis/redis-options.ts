/**
 * Limits and options of every connection to Redis: no queue while Redis is unavailable, detection
 * of dead connections, reconnects with random delays.
 */
import type { RedisClientOptions } from 'redis'
import { redisTlsOf } from './redis-tls.ts'

export const redisLimits = {
  connectTimeoutMs: 2_000,
  /** Time after which a command without a response rejects. Redis may still run the command. */
  commandTimeoutMs: 1_000,
  /**
   * Time without any data after which a connection counts as dead. Pings are sent every
   * `pingIntervalMs`.
   */
  silenceMaxMs: 4_000,
  pingIntervalMs: 1_000,
  /** Maximum number of unanswered commands. Further commands reject at once. */
  underWayMax: 5_000,
  /** Maximum number of bytes buffered in this process until the kernel accepts them. */
  writtenAheadMaxBytes: 4_194_304,
  reconnectMinMs: 50,
  reconnectMaxMs: 1_000,
  probeIntervalMs: 500,
  /** Extra time to read the response of a command when this process itself was stalled. */
  stillnessGraceMs: 200,
  /** Time between two discoveries of a cluster that had an unreachable master at the start. */
  rediscoverIntervalMs: 5_000,
} as const

/** Returns the options of node-redis to connect to this URL. */
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
      // Buffer limit of Node's own socket. The client writes until this many bytes wait, and
      // continues after they were sent, one turn of the event loop later. With Node's default of 16
      // kB, a busy server sent only a few messages per turn, and the other messages timed out.
      ...{ writableHighWaterMark: redisLimits.writtenAheadMaxBytes },
      // node-redis applies the scheme of the URL only to the first node of a cluster, so TLS is set
      // for every node.
      ...(tls !== undefined && { tls: true as const, ...tls }),
    },
  }
}

/** Returns a random delay before a reconnect. Its upper limit doubles with each retry. */
export function reconnectDelayMs(retries: number): number {
  const { reconnectMinMs, reconnectMaxMs } = redisLimits
  return (
    reconnectMinMs +
    Math.random() * (Math.min(reconnectMaxMs, reconnectMinMs * 2 ** Math.min(retries, 10)) - reconnectMinMs)
  )
}
