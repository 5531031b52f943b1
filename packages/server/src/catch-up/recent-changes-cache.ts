/**
 * Caches the newest changes of each conversation that this server delivers, and loads older ones
 * once for all resuming clients (rule LIM2). The caches of all conversations share one memory limit
 * (rule LIM1).
 */
import type { Id } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import { RecentChanges } from './recent-changes.ts'
import { RecentChangesLoader, type RecentChangesLoaderOptions } from './recent-changes-loader.ts'
import { RecentChangesMemoryLimit } from './recent-changes-memory-limit.ts'
import type { ServedLog } from './served-log.ts'

export interface RecentChangesCacheOptions {
  readonly read: RecentChangesLoaderOptions['read']
  readonly clock: Clock
  readonly epoch: () => string
  /** Memory limit for all conversations; 64 MB by default. */
  readonly bytesMax?: number
}

/**
 * A conversation that a returning client needs, with the last seq of its log that the caller has
 * seen.
 */
export interface RecentWanted {
  readonly conversation: Id
  readonly seq: number
}

export class RecentChangesCache {
  readonly #limit: RecentChangesMemoryLimit
  readonly #loader: RecentChangesLoader
  /** Recent changes by conversation; one entry for each feed of this server. */
  readonly #runs = new Map<Id, RecentChanges>()

  constructor({ read, clock, epoch, bytesMax }: RecentChangesCacheOptions) {
    this.#limit = new RecentChangesMemoryLimit(clock, bytesMax)
    this.#loader = new RecentChangesLoader({
      read,
      clock,
      epoch,
      isWanted: (conversation, newest) => {
        const run = this.#runs.get(conversation)
        return run !== undefined && (newest === undefined || !run.isLoaded || run.newestSeq < newest)
      },
      onLoaded: (conversation, changes) => this.#runs.get(conversation)?.acceptLoaded(changes),
    })
  }

  get bytes(): number {
    return this.#limit.bytes
  }

  get(conversation: Id): RecentChanges | undefined {
    return this.#runs.get(conversation)
  }

  /**
   * Opens the recent changes of a conversation. They end with `retire`, or when another feed opens
   * them.
   */
  serve(conversation: Id, log: ServedLog): RecentChanges {
    const run = new RecentChanges(this.#limit, log, () => {
      if (this.#runs.get(conversation) === run) this.#runs.delete(conversation)
    })
    this.#runs.set(conversation, run)
    return run
  }

  /**
   * Loads the recent changes of conversations where the cached changes do not suffice for a client
   * at `position`: they end too early, or do not reach back far enough and were never loaded.
   * Callers for one conversation share a read.
   */
  async load(wanted: readonly RecentWanted[], position: number): Promise<void> {
    const loads = new Set<Promise<void>>()
    for (const { conversation, seq } of wanted) {
      const run = this.#runs.get(conversation)
      if (run === undefined) continue
      const { newestSeq, isLoaded } = run
      if (newestSeq >= seq && (isLoaded || run.boundary(position, newestSeq) !== undefined)) continue
      loads.add(this.#loader.want(conversation, position, isLoaded ? seq : undefined))
    }
    await Promise.all(loads)
  }
}
