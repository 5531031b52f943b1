/**
 * Checker rule A10: one message was acknowledged before another one was sent, but has the higher
 * sequence number (seq). Each message is stored under the conversation's lock, and the log's order
 * is the order of commits. So this rule also holds for messages of different senders.
 */
import type { LogicalSend } from '../history.ts'
import type { Rule } from '../rule.ts'
import { acknowledgedT, firstInvokeT, seqOf } from '../send-facts.ts'

interface Moment {
  readonly t: number
  readonly isInvoke: boolean
  readonly seq: number
  readonly send: LogicalSend
}

export const realTime: Rule = {
  id: 'A10',
  name: 'real-time order',
  unit: 'messages sent after an acknowledgement',
  needs: 'sends answered ok, and later ones to the same conversation',
  blindTo: 'sends whose seq no client received',
  check({ history }, _settings, findings) {
    const byConversation = new Map<string, Moment[]>()
    for (const send of history.sends.values()) {
      const seq = seqOf(send)
      if (seq === undefined) continue
      let moments = byConversation.get(send.conversation)
      if (moments === undefined) {
        moments = []
        byConversation.set(send.conversation, moments)
      }
      moments.push({ t: firstInvokeT(send), isInvoke: true, seq, send })
      const t = acknowledgedT(send)
      if (t !== undefined) moments.push({ t, isInvoke: false, seq, send })
    }
    for (const moments of byConversation.values()) {
      // Place a send before an acknowledgement of the same microsecond, because their true order is
      // unknown.
      moments.sort((left, right) => left.t - right.t || Number(right.isInvoke) - Number(left.isInvoke))
      let highest: Moment | undefined
      for (const moment of moments) {
        if (!moment.isInvoke) {
          if (highest === undefined || moment.seq > highest.seq) highest = moment
          continue
        }
        if (highest === undefined || highest.send === moment.send) continue
        findings.judged += 1
        if (highest.seq < moment.seq) continue
        const before = highest
        findings.report(
          () =>
            `message ${before.send.clientId} was acknowledged as seq ${before.seq} before ${moment.send.clientId}, seq ${moment.seq}`,
          [...before.send.attempts.slice(0, 1), ...moment.send.attempts.slice(0, 1)],
          moment.t,
        )
      }
    }
  },
}
