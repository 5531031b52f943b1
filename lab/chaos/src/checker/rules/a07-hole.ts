/**
 * Checker rule A7: a sequence number (seq) is missing permanently. In the log, seqs run from 1 to
 * the conversation's counter without a hole. A stream that continued over several connections has
 * everything between its first and its last seq, except changes that the server announced to skip.
 * A read at the end of the run contains every message row of its range. (Other rules find the other
 * kinds of holes: A8 a jump within one connection, A1 an acknowledged message missing from a read
 * at the end, A13 a missing end.)
 */
import type { Rule } from '../rule.ts'

export const hole: Rule = {
  id: 'A7',
  name: 'hole',
  unit: 'seqs of the log, continued streams and final reads',
  needs: 'rows of the dump, or deliveries',
  blindTo: 'a hole that a wrong `limited` hides; A1 finds its messages',
  check({ history, finals, walk }, _settings, findings) {
    for (const [conversation, { seq: top, ...place }] of history.conversations) {
      let expected = 1
      const rows = history.rows.get(conversation) ?? []
      for (const row of rows) {
        const from = row.kind === 's' ? Math.min(row.target, row.seq) : row.seq
        findings.judged += 1
        if (from > expected) {
          findings.report(() => `the log of ${conversation} lacks seq ${expected} to ${from - 1}`, [row])
        }
        expected = Math.max(expected, row.seq + 1)
      }
      if (expected - 1 !== top) {
        findings.report(
          () => `the log of ${conversation} ends at seq ${expected - 1}, and its counter is ${top}`,
          [place],
        )
      }
    }
    findings.judged += walk.continued
    for (const { stream, conversation, from, to } of walk.holes) {
      findings.report(() => `${stream} never had seq ${from} to ${to} of ${conversation}, but continued after them`, [])
    }
    const acknowledged = new Set<string>()
    for (const { attempts, row, conversation } of history.sends.values()) {
      if (row !== undefined && attempts.some(({ outcome }) => outcome?.type === 'ok')) {
        acknowledged.add(`${conversation} ${row.seq}`)
      }
    }
    for (const read of finals) {
      findings.judged += 1
      for (const row of history.rows.get(read.conversation) ?? []) {
        if (row.kind !== 'c' || row.seq < read.from || row.seq > read.to || read.seqs.has(row.seq)) continue
        if (acknowledged.has(`${read.conversation} ${row.seq}`)) continue
        findings.report(
          () => `the final read of ${read.process} lacks message ${row.seq} of ${read.conversation}`,
          [read, row],
        )
      }
    }
  },
}
