/**
 * Checker rule A5: one receiver got the change with the same sequence number (seq) of a
 * conversation twice. A receiver is the callback of a client library, across restarts with the same
 * store, or one connection of a client without the library. A resumed connection of the latter may
 * repeat changes of an earlier connection, so the rule does not compare connections.
 */
import type { Rule } from '../rule.ts'

export const duplicateDelivery: Rule = {
  id: 'A5',
  name: 'duplicate delivery',
  unit: 'deliveries',
  needs: 'deliveries',
  blindTo: 'repeats after a crash of a process whose store was not written yet',
  check({ history, walk }, _settings, findings) {
    const { deliveries, names } = history
    findings.judged = deliveries.length
    for (const { delivery, last } of walk.duplicates) {
      findings.report(
        () =>
          `${names.nameOf(delivery.observer)} received seq ${delivery.seq} of ${names.nameOf(delivery.conversation)} again, after ${last}`,
        [delivery],
        delivery.t,
      )
    }
  },
}
