/**
 * Checker rule A4: one message was stored twice. Finds two rows with the same identity, two rows
 * with the same text, or two acknowledged sequence numbers for one message. Texts are unique in a
 * run, so this also finds a client that gives a retry a new identity.
 */
import type { Row } from '../history.ts'
import type { Rule } from '../rule.ts'

export const duplicateRow: Rule = {
  id: 'A4',
  name: 'duplicate row',
  unit: 'message rows',
  needs: 'rows of the dump',
  blindTo: 'a second copy that was deleted before the dump, unless both were acknowledged',
  check({ history }, _settings, findings) {
    for (const [conversation, rows] of history.rows) {
      const byIdentity = new Map<string, Row>()
      const byText = new Map<number, Row>()
      for (const row of rows) {
        if (row.kind !== 'c') continue
        findings.judged += 1
        const identity = `${row.actor} ${row.clientId}`
        const twin = byIdentity.get(identity) ?? (row.hash === 0 ? undefined : byText.get(row.hash))
        if (twin !== undefined) {
          findings.report(
            () => `seq ${twin.seq} and seq ${row.seq} of ${conversation} are the same message ${row.clientId}`,
            [twin, row],
          )
        }
        byIdentity.set(identity, row)
        if (row.hash !== 0) byText.set(row.hash, row)
      }
    }
    for (const { clientId, conversation, attempts } of history.sends.values()) {
      if (attempts.length < 2) continue
      const first = attempts.find(({ outcome }) => outcome?.seq !== undefined)
      const other = attempts.find(({ outcome }) => outcome?.seq !== undefined && outcome.seq !== first?.outcome?.seq)
      if (first === undefined || other === undefined) continue
      findings.report(
        () =>
          `message ${clientId} of ${conversation} was acknowledged as seq ${first.outcome?.seq ?? '?'} and as seq ${other.outcome?.seq ?? '?'}`,
        [first, other],
        other.outcome?.t,
      )
    }
  },
}
