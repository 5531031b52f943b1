/**
 * Splits consecutive changes into `changes` events. An event ends at the maximum number of changes,
 * at 256 kB (rule SLOW1), and after every change of membership. So the server can update the set of
 * receivers before it sends the next event (rule ACL1).
 */
import { limits } from '@chorus/protocol'
import type { LoggedChange } from '../support/logged-change.ts'

export function splitBatches(changes: readonly LoggedChange[]): LoggedChange[][] {
  const batches: LoggedChange[][] = []
  let batch: LoggedChange[] = []
  let bytes = 0
  const end = (): void => {
    if (batch.length > 0) batches.push(batch)
    batch = []
    bytes = 0
  }
  for (const change of changes) {
    if (
      batch.length >= limits.changesPerEventMax ||
      (batch.length > 0 && bytes + change.json.length > limits.pageMaxBytes)
    )
      end()
    // Put a member's removal into an event of its own, which is sent right before the removal takes
    // effect.
    if (change.effect?.kind === 'left') end()
    batch.push(change)
    bytes += change.json.length
    if (change.effect !== undefined) end()
  }
  end()
  return batches
}
