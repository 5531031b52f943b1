/**
 * Checker rule A2: a client saw a message that the server had refused. Takes the messages of which
 * every attempt certainly failed, and searches deliveries and pages for their texts.
 */
import type { LogicalSend } from '../history.ts'
import type { Rule } from '../rule.ts'
import { certainlyFailed } from '../send-facts.ts'

export const abortedRead: Rule = {
  id: 'A2',
  name: 'aborted read',
  unit: 'messages certainly refused',
  needs: 'sends of which every attempt failed',
  blindTo: 'refused messages that were stored but delivered to no client (that is A14)',
  check({ history }, _settings, findings) {
    const failed = new Map<number, LogicalSend>()
    for (const send of history.sends.values()) if (certainlyFailed(send)) failed.set(send.hash, send)
    findings.judged = failed.size
    if (failed.size === 0) return
    const { deliveries, names } = history
    for (let index = 0; index < deliveries.length; index++) {
      const delivery = deliveries.at(index)
      const send = delivery.kind === 'c' ? failed.get(delivery.hash) : undefined
      if (send === undefined) continue
      findings.report(
        () =>
          `${names.nameOf(delivery.observer)} received message ${send.clientId} as seq ${delivery.seq}, which was refused`,
        [...send.attempts.slice(-1), delivery],
        delivery.t,
      )
    }
    for (const page of history.pages) {
      for (const item of page.page.items) {
        const send = item.hash === 0 ? undefined : failed.get(item.hash)
        if (send === undefined) continue
        findings.report(
          () => `${page.invoke.process} read message ${send.clientId} as seq ${item.seq}, which was refused`,
          [...send.attempts.slice(-1), page],
          page.t,
        )
      }
    }
  },
}
