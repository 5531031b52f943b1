/**
 * A5: an observer received the same (epoch, conversation, seq) twice. The observer is an SDK's
 * callback, across restarts with the same store, or one raw connection. A resumed raw connection
 * may repeat changes of an earlier connection, so the rule ignores that.
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
