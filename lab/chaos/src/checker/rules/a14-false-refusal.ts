/**
 * Checker rule A14: the server or the client library refused a message falsely. First case: every
 * attempt at a message was certainly refused, but its row exists. Second case: after only refused
 * attempts, the next attempt was acknowledged as a duplicate, so a refused attempt must have been
 * stored. Third case: the client library reported a message as failed for a temporary reason, for
 * which it must retry.
 */
import type { Rule } from '../rule.ts'
import { certainlyFailed } from '../send-facts.ts'

export const falseRefusal: Rule = {
  id: 'A14',
  name: 'false refusal',
  unit: 'refusals',
  needs: 'attempts answered with an error that means that nothing was stored',
  blindTo: 'attempts inside the SDK’s outbox, which reports only the final result',
  check({ history }, _settings, findings) {
    const sdks = new Set([...history.observers.values()].filter(({ kind }) => kind === 'sdk').map((one) => one.process))
    for (const send of history.sends.values()) {
      const gaveUp = send.attempts.find(({ process, outcome }) => isPassing(outcome?.code) && sdks.has(process))
      if (gaveUp !== undefined) {
        findings.judged += 1
        findings.report(
          () => `the outbox of ${gaveUp.process} gave up message ${send.clientId} (${gaveUp.outcome?.code ?? '?'})`,
          [gaveUp],
          gaveUp.outcome?.t,
        )
        continue
      }
      const refused = send.attempts.filter(({ outcome }) => outcome?.type === 'fail' && outcome.code !== 'conflict')
      if (refused.length === 0) continue
      findings.judged += refused.length
      if (certainlyFailed(send)) {
        const { row } = send
        if (row === undefined) continue
        findings.report(
          () => `message ${send.clientId} was refused (${refused[0]?.outcome?.code ?? '?'}), and is seq ${row.seq}`,
          [...refused.slice(0, 1), row],
          refused[0]?.outcome?.t,
        )
        continue
      }
      const [other, ...others] = send.attempts.filter(({ outcome }) => outcome?.type !== 'fail')
      if (other?.outcome?.type !== 'ok' || !other.outcome.isDuplicate || others.length > 0) continue
      // An attempt can only be a duplicate of attempts that were refused before it began.
      const earlier = refused.filter(({ outcome }) => (outcome?.t ?? 0) <= other.t)
      if (earlier.length !== send.attempts.length - 1) continue
      findings.report(
        () =>
          `message ${send.clientId} was refused (${earlier[0]?.outcome?.code ?? '?'}), and the next attempt was answered as a duplicate`,
        [...earlier.slice(0, 1), other],
        other.outcome.t,
      )
    }
  },
}

/**
 * Returns whether the error is temporary, so that the client must retry (`retry: later` in the
 * error catalogue).
 */
function isPassing(code: string | undefined): boolean {
  return code === 'unavailable' || code === 'unknown' || code === 'rate-limited'
}
