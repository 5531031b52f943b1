/** State of a served conversation that its feed knows before a cache or a client does. */
import type { LoggedChange } from '../support/logged-change.ts'

export interface ServedLog {
  /** Newest seq of the log that the feed knows of. */
  readonly headSeq: number
  /**
   * Seq of the newest known edit or deletion. Text read from the log before it must not be shown
   * any more (rule ERASE1).
   */
  readonly rewrittenSeq: number
  /** Returns the change with this seq if the feed holds it until the gap before it is closed. */
  held(seq: number): LoggedChange | undefined
}
