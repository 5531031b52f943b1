/**
 * Checker rule A16: a server's memory or open files leaked or grew without a limit. Compares each
 * server's resident memory and open files with their first values after the warm-up: at the end
 * when all is quiet, and with a wider limit at any time. In addition, Redis must contain no Chorus
 * key without an expiry.
 */
import type { Rule } from '../rule.ts'

export const resources: Rule = {
  id: 'A16',
  name: 'resources',
  unit: 'parts measured',
  needs: 'resources at baseline and when quiet, or a scan of the keys of Redis',
  blindTo:
    'growth below the bound, and unmeasured parts; the memory of a process is its resident memory, not its used memory',
  check({ history }, settings, findings) {
    const baselines = new Map<string, (typeof history.resources)[number]>()
    for (const measure of history.resources) {
      if (measure.phase === 'baseline' && !baselines.has(measure.part)) baselines.set(measure.part, measure)
    }
    for (const measure of history.resources) {
      const baseline = baselines.get(measure.part)
      if (measure.phase === 'baseline' || baseline === undefined) continue
      const isQuiet = measure.phase === 'quiet'
      if (isQuiet) findings.judged += 1
      const grownBytes = measure.rssBytes - baseline.rssBytes
      if (grownBytes > (isQuiet ? settings.rssGrowthMaxBytes : settings.rssPeakMaxBytes)) {
        findings.report(
          () =>
            `${measure.part} held ${toMegabytes(grownBytes)} MB more than at the baseline (${toMegabytes(measure.rssBytes)} MB)`,
          [baseline, measure],
          measure.t,
        )
      }
      if (isQuiet && measure.fds - baseline.fds > settings.fdGrowthMax) {
        findings.report(
          () => `${measure.part} holds ${measure.fds} open files; ${baseline.fds} at the baseline`,
          [baseline, measure],
          measure.t,
        )
      }
    }
    for (const keys of history.redisKeys) {
      findings.judged += 1
      if (keys.withoutExpiry === 0) continue
      findings.report(
        () =>
          `${keys.redis} holds ${keys.withoutExpiry} keys that never expire, such as ${keys.samples.slice(0, 3).join(', ')}`,
        [keys],
        keys.t,
      )
    }
  },
}

function toMegabytes(bytes: number): number {
  return Math.round(bytes / 1024 / 1024)
}
