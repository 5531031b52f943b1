/** The interface through which a bus reports its counts and timings. */
import type { Refusal } from './bus-codec.ts'

/**
 * Reason why a hint was dropped. Outgoing: Redis is `away`, the `queue` is full, the publish
 * `failed`, or the hint does not fit into one message (`unsendable`). Incoming: the message was
 * refused (see {@link Refusal}).
 */
export type DropReason = 'away' | 'queue' | 'failed' | 'unsendable' | Refusal

export interface BusObserver {
  published(bytes: number): void
  received(bytes: number): void
  dropped(reason: DropReason, count: number): void
  /** Records a gap: messages may have been missed. */
  gap(cause: GapCause): void
  /** Records the time that a probe took to come back. */
  probed(durationMs: number): void
  /** Writes a line to the log. */
  noted(line: string): void
}

/**
 * Cause of a gap: a new connection, a moved slot of a cluster, or a subscription that was confirmed
 * late.
 */
export type GapCause = 'connected' | 'moved' | 'late'
