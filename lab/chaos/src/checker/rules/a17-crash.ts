/**
 * Checker rule A17: a server crashed, or logged an uncaught exception or an unhandled rejection.
 * Exits that a fault caused on purpose are allowed.
 */
import type { Rule } from '../rule.ts'

export const crash: Rule = {
  id: 'A17',
  name: 'crash',
  unit: 'server logs scanned',
  needs: 'server logs that were scanned to their end',
  blindTo: 'errors that are logged as ordinary lines',
  check({ history }, _settings, findings) {
    for (const finding of history.servers) {
      switch (finding.what) {
        case 'scanned':
          findings.judged += 1
          break
        case 'expected-exit':
          break
        case 'unhandled-rejection':
        case 'uncaught-exception':
        case 'unexpected-exit':
          findings.report(() => `${finding.server}: ${finding.what}: ${finding.text ?? ''}`, [finding], finding.t)
          break
      }
    }
  },
}
