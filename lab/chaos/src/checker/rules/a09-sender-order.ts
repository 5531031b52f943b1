/**
 * Checker rule A9: two messages of one sender in one conversation changed places. A client with an
 * outbox must always keep its order. For a client without one, only first attempts on one
 * connection that got an `ok` response count, because a retry may follow messages that were sent in
 * between.
 */
import type { Attempt, LogicalSend } from '../history.ts'
import type { Rule } from '../rule.ts'
import { seqOf } from '../send-facts.ts'

interface Sent {
  readonly seq: number
  readonly attempt: Attempt
  readonly send: LogicalSend
}

export const senderOrder: Rule = {
  id: 'A9',
  name: 'sender order',
  unit: 'messages sent in order',
  needs: 'sends of one process, or of one connection, in one conversation',
  blindTo: 'sends marked as unordered',
  check({ history }, _settings, findings) {
    const lines = new Map<string, Sent[]>()
    for (const send of history.sends.values()) {
      const [attempt] = send.attempts
      const seq = seqOf(send)
      if (attempt === undefined || seq === undefined) continue
      const key = lineOf(attempt, send)
      if (key === undefined) continue
      const line = lines.get(key)
      if (line === undefined) lines.set(key, [{ seq, attempt, send }])
      else line.push({ seq, attempt, send })
    }
    for (const line of lines.values()) {
      line.sort((left, right) => left.attempt.t - right.attempt.t || left.attempt.line - right.attempt.line)
      let last: Sent | undefined
      for (const sent of line) {
        if (last !== undefined) {
          findings.judged += 1
          if (sent.seq < last.seq) {
            const before = last
            findings.report(
              () =>
                `${sent.attempt.process} sent ${before.send.clientId} before ${sent.send.clientId} to ${sent.send.conversation}, and they are seq ${before.seq} and ${sent.seq}`,
              [before.attempt, sent.attempt],
              sent.attempt.t,
            )
            continue
          }
        }
        last = sent
      }
    }
  },
}

function lineOf(attempt: Attempt, { conversation, attempts }: LogicalSend): string | undefined {
  switch (attempt.order) {
    case 'outbox':
      return `process ${attempt.process} ${conversation}`
    case 'connection': {
      const isFirstAnswer = attempt.outcome?.type === 'ok' && !attempt.outcome.isDuplicate && attempts.length === 1
      return isFirstAnswer && attempt.connection !== undefined
        ? `connection ${attempt.connection} ${conversation}`
        : undefined
    }
    case 'none':
      return undefined
  }
}
