/**
 * Checker rule A13: a client that had to receive a change missed it or received it too late. While
 * no fault is active, the maximum time runs from the acknowledgement (TAIL1). After a fault, the
 * fault's own maximum time runs from its healing. At the end of the run, every such client must
 * have received its conversations completely.
 */
import { type Lateness, convergenceOf } from '../convergence.ts'
import type { History } from '../history.ts'
import type { Rule } from '../rule.ts'

export const convergence: Rule = {
  id: 'A13',
  name: 'convergence',
  unit: 'arrivals, recoveries and ends of logs',
  needs: 'rows of the dump, acknowledged sends, and attached streams of members',
  blindTo: 'clients that were not attached; changes other than messages, except the last change of a conversation',
  check(facts, settings, findings) {
    const { history } = facts
    const { tail, heals, ends, late, lateCount } = convergenceOf(facts, settings)
    for (const lateness of late) {
      const { send, reachedT, sinceT } = lateness
      findings.report(() => describe(history, lateness), send?.attempts.slice(0, 1) ?? [], reachedT ?? sinceT)
    }
    findings.violations = lateCount
    findings.judged = (tail.summary()?.n ?? 0) + ends
    for (const latencies of heals.values()) findings.judged += latencies.summary()?.n ?? 0
    const stalledMs = facts.stalls.reduce((sum, { startT, healT }) => sum + (healT - startT) / 1_000, 0)
    if (stalledMs > 0)
      findings.note = `${facts.stalls.length} stalls of the drivers, ${Math.round(stalledMs)} ms, left out`
    // Changes that never arrived have no latency and are not in this count, so count at least the
    // violations.
    findings.judged = Math.max(findings.judged, findings.violations)
  },
}

function describe(history: History, { stream, conversation, seq, reachedT, sinceT, boundMs, why, window }: Lateness) {
  const when =
    reachedT === undefined ? 'never' : `${Math.round((reachedT - sinceT) / 1_000)} ms later (bound ${boundMs} ms)`
  switch (why) {
    case 'tail':
      return `${stream} got seq ${seq} of ${conversation} ${when}, acknowledged at ${history.secondsOf(sinceT)} s`
    case 'heal':
      return `${stream} got seq ${seq} of ${conversation} ${when}, after ${window?.spans.map(({ kind, name }) => `${kind} ${name}`).join(' and ') ?? 'a fault'} healed`
    case 'end':
      return `${stream} never got seq ${seq}, the last of ${conversation}`
  }
}
