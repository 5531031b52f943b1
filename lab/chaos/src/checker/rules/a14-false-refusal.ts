/**
 * A14: a refusal that was not true. Every attempt at a message was refused for certain, and its row is there; or a
 * client's first attempt that did not fail was answered as a duplicate, so that a refused one must have been stored; or the
 * SDK told its application that a message had failed for a reason that asks to try again.
 */
import type { Rule } from '../rule.ts'
import { certainlyFailed } from '../send-facts.ts'

export const falseRefusal: Rule = {
  id: 'A14',
  name: 'false refusal',
  unit: 'refusals',
  needs: 'attempts answered with a failure that says nothing was stored',
  blindTo: 'attempts inside of the SDK’s outbox, which tells only the end',
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
      // Only what was refused before this attempt began can be what it duplicates.
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

/** Codes whose answer is to try again (the catalogue's `retry: later`). */
function isPassing(code: string | undefined): boolean {
  return code === 'unavailable' || code === 'unknown' || code === 'rate-limited'
}
