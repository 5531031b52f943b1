/**
 * How consecutive changes are cut into `changes` events: at their count, at 256 kB (rule SLOW1), and after every change of
 * membership, so that the set of those who are told changes before the next one (rule ACL1).
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
    // A removal stands alone, so that what tells of it comes right before.
    if (change.effect?.kind === 'left') end()
    batch.push(change)
    bytes += change.json.length
    if (change.effect !== undefined) end()
  }
  end()
  return batches
}
