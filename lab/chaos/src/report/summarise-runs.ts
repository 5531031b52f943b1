/**
 * Sums up the reports of several chaos runs: `node lab/chaos/dist/report/summarise-main.js <folder>
 * [docs/chaos.md]`. Skips runs of mutants and comparison servers. Lists the runs that broke a rule.
 * Quantiles of several runs cannot be combined, so the table shows the worst run's quantile, and
 * the number of values.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RuleId, Verdict } from '../checker/index.ts'
import { type RunReport, ruleOfThree } from './report-run.ts'

/** Maximum number of reports that a summary includes. */
const runsMax = 10_000

export function readReports(folder: string): readonly RunReport[] {
  const reports: RunReport[] = []
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!name.endsWith('.json') || reports.length >= runsMax) continue
    const report = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Partial<RunReport> | null
    if (report?.format !== 1 || report.result === undefined) continue
    reports.push(report as RunReport)
  }
  return reports.filter(({ mutant, peer }) => mutant === undefined && peer === undefined)
}

/** Returns the summary as the text of docs/chaos.md. */
export function summariseRuns(reports: readonly RunReport[]): string {
  const sum = (of: (report: RunReport) => number) => reports.reduce((total, report) => total + of(report), 0)
  const acknowledged = sum(({ result }) => result.counts.acknowledged)
  const faults = sum(({ result }) => result.counts.faults)
  const broken = reports.filter(({ result }) => !result.isKept)
  const unique = (of: (report: RunReport) => string) => [...new Set(reports.map(of))].join('; ')
  const claim =
    broken.length === 0
      ? `No rule was broken: of ${acknowledged} acknowledged messages ${ruleOfThree(acknowledged)} were lost, doubled, reordered or shown to the wrong person; of ${faults} faults ${ruleOfThree(faults)} broke a rule.`
      : `${broken.length} of ${reports.length} runs broke a rule (seeds ${broken.map(({ seed }) => seed).join(', ')}); no claim.`
  return [
    '# Fault runs',
    '',
    'Written by the lab from the reports of its runs. A run can be repeated with its seed.',
    '',
    `${reports.length} runs, ${acknowledged} acknowledged messages, ${sum(({ result }) => result.counts.deliveries)} deliveries, ${faults} faults, ${sum(({ result }) => result.counts.removals)} removals, ${sum(({ result }) => result.counts.revocations)} revocations, ${Math.round(sum(({ result }) => result.counts.durationSeconds) / 60)} minutes.`,
    '',
    claim,
    '',
    `Commits: ${unique(({ commit }) => commit)}. Machine: ${unique(({ machine }) => machine.replace(/, load before.*/, ''))}. Seeds: ${reports.map(({ seed }) => seed).join(', ')}.`,
    '',
    '## Rules',
    '',
    '| rule | | kept in | not judged in | broken in | judged | violations | what |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...ruleRows(reports),
    '',
    '## Faults',
    '',
    '| kind | injected | healed to caught up: streams | largest p50 | largest p99 | largest |',
    '| --- | --- | --- | --- | --- | --- |',
    ...faultRows(reports),
    '',
    '## Runs',
    '',
    '| seed | started | acknowledged | deliveries | faults | delivery p99 | verdict |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...reports.map(({ seed, startedAt, result: { counts, latencies, isKept, rules } }) => {
      const verdict = isKept
        ? 'kept'
        : rules
            .filter(({ verdict: one }) => one === 'broken')
            .map(({ id }) => id)
            .join(', ')
      return `| ${seed} | ${startedAt} | ${counts.acknowledged} | ${counts.deliveries} | ${counts.faults} | ${latencies.delivery?.p99Ms ?? '-'} ms | ${verdict} |`
    }),
    '',
  ].join('\n')
}

function ruleRows(reports: readonly RunReport[]): string[] {
  const ids = reports[0]?.result.rules.map(({ id }) => id) ?? []
  return ids.map((id: RuleId) => {
    const results = reports.flatMap(({ result }) => result.rules.filter((rule) => rule.id === id))
    const count = (verdict: Verdict) => results.filter((rule) => rule.verdict === verdict).length
    const judged = results.reduce((total, rule) => total + rule.judged, 0)
    const violations = results.reduce((total, rule) => total + rule.violations, 0)
    return `| ${id} | ${results[0]?.name ?? ''} | ${count('kept')} | ${count('not judged')} | ${count('broken')} | ${judged} | ${violations} | ${results[0]?.unit ?? ''} |`
  })
}

function faultRows(reports: readonly RunReport[]): string[] {
  const kinds = new Set(
    reports.flatMap(({ result }) => [
      ...Object.keys(result.counts.faultsByKind),
      ...Object.keys(result.latencies.heals),
    ]),
  )
  return [...kinds]
    .sort((left, right) => left.localeCompare(right, 'en', { numeric: true }))
    .map((kind) => {
      const heals = reports.flatMap(({ result }) => result.latencies.heals[kind] ?? [])
      const largest = (of: (heal: (typeof heals)[number]) => number) =>
        heals.length === 0 ? '-' : `${Math.max(...heals.map(of))} ms`
      const injected = reports.reduce((total, { result }) => total + (result.counts.faultsByKind[kind] ?? 0), 0)
      const n = heals.reduce((total, heal) => total + heal.n, 0)
      return `| ${kind} | ${injected} | ${n} | ${largest(({ p50Ms }) => p50Ms)} | ${largest(({ p99Ms }) => p99Ms)} | ${largest(({ maxMs }) => maxMs)} |`
    })
}
