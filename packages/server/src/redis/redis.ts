/**
 * Interface to Redis, one server or a cluster, for everything but pub/sub. Redis carries hints,
 * caches, leases and jobs; it may be unavailable at any moment, and callers must handle that. Every
 * command resolves or rejects within a time limit.
 */

/**
 * A Lua script, which Redis runs atomically. Every key must be in `keys`, and all keys must share
 * one hash tag.
 */
export interface RedisScript {
  readonly lua: string
}

export type RedisArgument = string | Buffer

export interface Redis {
  /**
   * Whether Redis is a cluster of several masters. False until Redis was reached for the first
   * time.
   */
  readonly isCluster: boolean
  /**
   * Returns the name of a key or channel of this installation. All names share its prefix, because
   * other installations may use the same Redis.
   */
  keyOf(name: string): string
  /** Returns why Redis is unavailable. Undefined: it is available. */
  problem(): string | undefined
  /** Runs one command; `key` selects the master in a cluster. Rejects with {@link RedisError}. */
  command(key: string, args: readonly RedisArgument[]): Promise<unknown>
  /** Runs a script by its hash. Rejects with {@link RedisError}. */
  script(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>
  /**
   * Calls the listener each time Redis becomes available, including the first time. It may then be
   * a different or an empty Redis.
   */
  onReconnect(listener: () => void): void
  close(): Promise<void>
}
