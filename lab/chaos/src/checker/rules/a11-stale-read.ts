/**
 * Checker rule A11: a user requested a page after one of the user's own messages was acknowledged,
 * but the page lacks that message or shows an older state of the conversation.
 */
import { rangeOf } from '../final-reads.ts'
import type { LogicalSend } from '../history.ts'
import type { Rule } from '../rule.ts'
import { acknowledgedT, seqOf } from '../send-facts.ts'

interface Own {
  readonly seq: number
  readonly t: number
  readonly send: LogicalSend
}

export const staleRead: Rule = {
  id: 'A11',
  name: 'stale read of own message',
  unit: 'own messages that a page must show',
  needs: 'pages read by a user after own sends were answered ok',
  blindTo: 'messages of other users; reads of a user who was removed during the read',
  check({ history }, _settings, findings) {
    const owned = new Map<string, Own[]>()
    for (const send of history.sends.values()) {
      const t = acknowledgedT(send)
      const seq = seqOf(send)
      if (t === undefined || seq === undefined || send.row === undefined) continue
      const key = `${send.user} ${send.conversation}`
      const known = owned.get(key)
      if (known === undefined) owned.set(key, [{ seq, t, send }])
      else known.push({ seq, t, send })
    }
    // Keep only acknowledgements that raise the highest sequence number. They are enough to find
    // the highest acknowledged number at any time.
    const byTime = new Map<string, { readonly t: number; readonly seq: number; readonly send: LogicalSend }[]>()
    for (const [key, list] of owned) {
      list.sort((left, right) => left.seq - right.seq)
      let highest = 0
      byTime.set(
        key,
        [...list]
          .sort((left, right) => left.t - right.t)
          .flatMap(({ t, seq, send }) => {
            if (seq <= highest) return []
            highest = seq
            return [{ t, seq, send }]
          }),
      )
    }
    for (const page of history.pages) {
      const { user, conversation, process, t } = page.invoke
      const key = `${user} ${conversation}`
      const list = owned.get(key)
      if (list === undefined) continue
      const { top, items } = page.page
      const newest = lastBefore(byTime.get(key) ?? [], t)
      if (newest !== undefined) {
        findings.judged += 1
        if (newest.seq > top) {
          findings.report(
            () =>
              `${process} read ${conversation} as of seq ${top} after its own message ${newest.send.clientId} was acknowledged as seq ${newest.seq}`,
            [...newest.send.attempts.slice(0, 1), page],
            page.t,
          )
          continue
        }
      }
      const range = rangeOf(page.page)
      const seqs = new Set(items.map(({ seq }) => seq))
      for (let index = lowerBound(list, range.from); index < list.length; index++) {
        const own = list[index]
        if (own === undefined || own.seq > range.to) break
        if (own.t > t) continue
        findings.judged += 1
        if (seqs.has(own.seq)) continue
        // Rule A1 checks the reads at the end of the run.
        if (page.invoke.final !== undefined) continue
        findings.report(
          () =>
            `${process} read ${conversation} without its own message ${own.send.clientId}, acknowledged as seq ${own.seq}`,
          [...own.send.attempts.slice(0, 1), page],
          page.t,
        )
      }
    }
  },
}

function lowerBound(list: readonly Own[], seq: number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((list[middle]?.seq ?? 0) < seq) low = middle + 1
    else high = middle
  }
  return low
}

/** Returns the last entry before time `t` of a list in time order. */
function lastBefore<Entry extends { readonly t: number }>(list: readonly Entry[], t: number): Entry | undefined {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((list[middle]?.t ?? 0) < t) low = middle + 1
    else high = middle
  }
  return list[low - 1]
}
