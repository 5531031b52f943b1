/**
 * Collects the messages that each client read from each conversation at the end of the run. All
 * pages of a client count as one read: the pages follow each other without a gap, so they cover
 * everything between the lowest and the highest sequence number (seq).
 */
import type { History } from './history.ts'

export interface FinalRead {
  readonly process: string
  readonly conversation: string
  readonly final: 'client' | 'fresh'
  readonly from: number
  readonly to: number
  readonly seqs: ReadonlySet<number>
  readonly file: number
  readonly line: number
}

export function readFinals(history: History): readonly FinalRead[] {
  const reads = new Map<string, FinalRead & { from: number; to: number; readonly seqs: Set<number> }>()
  for (const { invoke, page, file, line } of history.pages) {
    if (invoke.final === undefined) continue
    const { process, conversation, final } = invoke
    const key = `${process} ${conversation}`
    let read = reads.get(key)
    if (read === undefined) {
      read = { process, conversation, final, from: Number.POSITIVE_INFINITY, to: 0, seqs: new Set(), file, line }
      reads.set(key, read)
    }
    const { from, to } = rangeOf(page)
    read.from = Math.min(read.from, from)
    read.to = Math.max(read.to, to)
    for (const { seq } of page.items) read.seqs.add(seq)
  }
  return [...reads.values()]
}

/**
 * Returns the range of sequence numbers (seqs) that a page covers. A message in this range that the
 * page does not contain is missing.
 */
export function rangeOf(page: {
  readonly top: number
  readonly hasBefore: boolean
  readonly hasAfter: boolean
  readonly items: readonly { readonly seq: number }[]
}): { readonly from: number; readonly to: number } {
  const first = page.items[0]?.seq
  const last = page.items.at(-1)?.seq
  if (first === undefined || last === undefined) {
    return page.hasBefore || page.hasAfter ? { from: 1, to: 0 } : { from: 1, to: page.top }
  }
  return { from: page.hasBefore ? first : 1, to: page.hasAfter ? last : page.top }
}
