/** State of a conversation's log that its feed on this server knows. */
import type { LoggedChange } from '../support/logged-change.ts'

export interface ServedLog {
  /** Newest seq of the log that the feed knows of. */
  readonly headSeq: number
  /**
   * Seq of the newest known edit or deletion. Text read from the log before it must not be shown
   * any more (rule ERASE1).
   */
  readonly rewrittenSeq: number
  /**
   * Returns the change with this seq if the feed holds it because earlier changes are still
   * missing.
   */
  held(seq: number): LoggedChange | undefined
}
