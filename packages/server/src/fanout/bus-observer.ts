/** Whoever counts what a bus does. */
import type { Refusal } from './bus-codec.ts'

/**
 * Why a hint came to nothing. Going out: Redis is `away`, too many wait in the `queue`, the publish `failed`, or it cannot
 * be said in one message (`unsendable`). Coming in: refused for what it is (see {@link Refusal}).
 */
export type DropReason = 'away' | 'queue' | 'failed' | 'unsendable' | Refusal

export interface BusObserver {
  published(bytes: number): void
  received(bytes: number): void
  dropped(reason: DropReason, count: number): void
  /** Something may have been missed. */
  gap(cause: GapCause): void
  /** A probe came back after so long. */
  probed(durationMs: number): void
  /** A line worth reading in the log. */
  noted(line: string): void
}

/** A new connection, a slot of a cluster that moved, or a subscription that was confirmed late. */
export type GapCause = 'connected' | 'moved' | 'late'
