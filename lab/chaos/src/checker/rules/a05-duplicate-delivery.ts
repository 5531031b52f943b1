/**
 * A5: the same (epoch, conversation, seq) twice in one place: an SDK's callback, over restarts with the same store, or one
 * raw connection. A resumed connection may repeat what an earlier one had; that is not looked at.
 */
import type { Rule } from '../rule.ts'

export const duplicateDelivery: Rule = {
  id: 'A5',
  name: 'duplicate delivery',
  unit: 'deliveries',
  needs: 'deliveries',
  blindTo: 'repeats after the death of a process whose store had not been written',
  check({ history, walk }, _settings, findings) {
    const { deliveries, names } = history
    findings.judged = deliveries.length
    for (const { delivery, last } of walk.duplicates) {
      findings.report(
        () =>
          `${names.nameOf(delivery.observer)} was given seq ${delivery.seq} of ${names.nameOf(delivery.conversation)} again, after ${last}`,
        [delivery],
        delivery.t,
      )
    }
  },
}
