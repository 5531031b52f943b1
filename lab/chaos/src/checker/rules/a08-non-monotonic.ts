/**
 * Checker rule A8: a receiver got changes out of order. Either it got a change with a sequence
 * number (seq) at or below its last one that it had not received before. Or it jumped over seqs
 * without a reason: `limited`, a reset, or the user's own removal or rejoin.
 */
import type { Rule } from '../rule.ts'

export const nonMonotonic: Rule = {
  id: 'A8',
  name: 'non-monotonic or skipped',
  unit: 'deliveries',
  needs: 'deliveries',
  blindTo: 'changes before an observer’s first delivery in a conversation',
  check({ history, walk }, _settings, findings) {
    const { deliveries, names } = history
    findings.judged = deliveries.length
    for (const { delivery, last } of walk.jumps) {
      findings.report(
        () =>
          `${names.nameOf(delivery.observer)} received seq ${delivery.seq} of ${names.nameOf(delivery.conversation)} right after ${last}`,
        [delivery],
        delivery.t,
      )
    }
    for (const { delivery, last } of walk.stepsBack) {
      findings.report(
        () =>
          `${names.nameOf(delivery.observer)} received seq ${delivery.seq} of ${names.nameOf(delivery.conversation)} late, after ${last}`,
        [delivery],
        delivery.t,
      )
    }
  },
}
