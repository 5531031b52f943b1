/**
 * Checker rule A1: an acknowledged message is missing. Looks up every message that got an `ok`
 * response in the final rows of the log. Also looks it up in every read at the end of the run that
 * covers its sequence number (seq), by clients that existed during the run and by new clients.
 */
import type { LogicalSend } from '../history.ts'
import type { Rule } from '../rule.ts'

export const lostAcknowledgement: Rule = {
  id: 'A1',
  name: 'lost acknowledgement',
  unit: 'acknowledged messages',
  needs: 'sends answered ok, and rows of the dump',
  blindTo: 'messages that were stored and then lost before they were acknowledged',
  check({ history, finals }, _settings, findings) {
    if (history.rowCount === 0) return
    const bySeq = new Map<string, LogicalSend[]>()
    for (const send of history.sends.values()) {
      const acknowledged = send.attempts.find(({ outcome }) => outcome?.type === 'ok')
      if (acknowledged === undefined) continue
      findings.judged += 1
      if (send.row === undefined) {
        findings.report(
          () =>
            `message ${send.clientId} was acknowledged as seq ${acknowledged.outcome?.seq ?? '?'} and is not in the log`,
          [acknowledged],
          acknowledged.outcome?.t,
        )
        continue
      }
      const known = bySeq.get(send.conversation)
      if (known === undefined) bySeq.set(send.conversation, [send])
      else known.push(send)
    }
    for (const read of finals) {
      for (const send of bySeq.get(read.conversation) ?? []) {
        const seq = send.row?.seq ?? 0
        if (seq < read.from || seq > read.to || read.seqs.has(seq)) continue
        findings.report(
          () =>
            `message ${send.clientId}, seq ${seq}, was acknowledged and is missing in the final read of ${read.process} (${read.final})`,
          [...send.attempts.slice(0, 1), read],
          send.attempts[0]?.t,
        )
      }
    }
  },
}
