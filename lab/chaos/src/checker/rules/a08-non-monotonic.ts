/**
 * A8: one observer was given a seq at or below its last one that it had not had, or jumped over some without having been
 * told to (`limited`, reset, a removal or a new membership of its own).
 */
import type { Rule } from '../rule.ts'

export const nonMonotonic: Rule = {
  id: 'A8',
  name: 'non-monotonic or skipped',
  unit: 'deliveries',
  needs: 'deliveries',
  blindTo: 'what came before an observer’s first delivery in a conversation',
  check({ history, walk }, _settings, findings) {
    const { deliveries, names } = history
    findings.judged = deliveries.length
    for (const { delivery, last } of walk.jumps) {
      findings.report(
        () =>
          `${names.nameOf(delivery.observer)} was given seq ${delivery.seq} of ${names.nameOf(delivery.conversation)} right after ${last}`,
        [delivery],
        delivery.t,
      )
    }
    for (const { delivery, last } of walk.stepsBack) {
      findings.report(
        () =>
          `${names.nameOf(delivery.observer)} was given seq ${delivery.seq} of ${names.nameOf(delivery.conversation)} late, after ${last}`,
        [delivery],
        delivery.t,
      )
    }
  },
}
