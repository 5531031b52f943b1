/**
 * Interface to Redis, a single server or a cluster, for everything except pub/sub. Redis holds
 * caches, leases and jobs. It may be unavailable at any moment, and callers must handle that. Every
 * command resolves or rejects within a time limit.
 */

/**
 * Lua script, which Redis runs as one atomic step. All keys that it uses must be in `keys` and
 * share one hash tag.
 */
export interface RedisScript {
  readonly lua: string
}

export type RedisArgument = string | Buffer

export interface Redis {
  /**
   * True if Redis is a cluster of several masters. False until Redis was reached for the first
   * time.
   */
  readonly isCluster: boolean
  /**
   * Returns the full name of a key or channel: the prefix of this installation, then `name`. Other
   * installations may use the same Redis.
   */
  keyOf(name: string): string
  /** Returns why Redis is unavailable, or undefined if it is available. */
  problem(): string | undefined
  /** Runs one command. In a cluster, `key` selects the master. Rejects with {@link RedisError}. */
  command(key: string, args: readonly RedisArgument[]): Promise<unknown>
  /** Runs a Lua script, by its hash. Rejects with {@link RedisError}. */
  script(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>
  /**
   * Calls the listener each time Redis becomes available, including the first time. It may then be
   * a different or an empty Redis.
   */
  onReconnect(listener: () => void): void
  close(): Promise<void>
}
