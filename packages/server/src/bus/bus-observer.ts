/** The interface through which a bus reports counts and timings to the metrics and the log. */
import type { Refusal } from './bus-codec.ts'

/**
 * Reason why a hint over Redis was dropped. When sending: Redis cannot be reached (`away`), the
 * `queue` is full, the publish `failed`, or the hint does not fit into one message (`unsendable`).
 * When receiving: the message was refused (see {@link Refusal}).
 */
export type DropReason = 'away' | 'queue' | 'failed' | 'unsendable' | Refusal

export interface BusObserver {
  published(bytes: number): void
  received(bytes: number): void
  dropped(reason: DropReason, count: number): void
  /** Records a gap in a subscription: messages may have been missed. */
  gap(cause: GapCause): void
  /** Records the time from publishing a probe message to receiving it. */
  probed(durationMs: number): void
  /** Writes a line to the log. */
  noted(line: string): void
}

/**
 * Cause of a gap in a subscription: a new connection, a slot of a cluster that moved to another
 * master, or a subscription that was confirmed late.
 */
export type GapCause = 'connected' | 'moved' | 'late'
