/**
 * The report of a chaos run, in three forms: a table for the terminal, JSON for later summaries,
 * and a Markdown file with the same name. Each verdict comes with the number n of judged cases, and
 * with the claim that no violation in n cases allows.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CheckResult, LatencySummary, RuleResult } from '../checker/index.ts'

export interface RunReport {
  readonly format: 1
  readonly name: string
  readonly seed: number
  readonly commit: string
  readonly machine: string
  readonly startedAt: string
  readonly settings: { readonly [name: string]: string | number | boolean }
  readonly mutant?: string
  readonly peer?: string
  readonly result: CheckResult
}

/**
 * Returns the report as text for the terminal: a line per rule, with the first violations of broken
 * rules.
 */
export function toTerminal({ result, seed, name }: RunReport): string {
  const { counts, latencies } = result
  const lines = [`${name}, seed ${seed}: ${describeCounts(counts)}`, '']
  for (const rule of result.rules) {
    const verdict = rule.verdict.padEnd(10)
    const judged = rule.verdict === 'not judged' ? '' : `${String(rule.judged).padStart(9)} ${rule.unit}`
    lines.push(`${rule.id.padEnd(4)} ${rule.name.padEnd(26)} ${verdict} ${judged}${noteOf(rule)}`.trimEnd())
    if (rule.violations === 0) continue
    lines.push(`       ${rule.violations} times, such as`)
    for (const { text, places, atSeconds } of rule.witnesses) {
      const at = atSeconds === undefined ? '' : `at ${atSeconds} s: `
      lines.push(`       - ${at}${text}${places.length > 0 ? `  [${places.join(', ')}]` : ''}`)
    }
  }
  lines.push('', ...describeLatencies(latencies), '', claim(counts.acknowledged, counts.faults, result.isKept))
  const broken = result.rules.filter(({ verdict }) => verdict === 'broken').map(({ id }) => id)
  lines.push(broken.length === 0 ? 'all rules kept' : `broken: ${broken.join(', ')}`)
  return lines.join('\n')
}

export function toMarkdown(report: RunReport): string {
  const { result, name, seed, commit, machine, startedAt, settings, mutant, peer } = report
  const { counts, latencies } = result
  const rows = result.rules.map(
    (rule) =>
      `| ${rule.id} | ${rule.name} | ${rule.verdict} | ${rule.verdict === 'not judged' ? '' : rule.judged} | ${rule.violations} | ${rule.unit}${noteOf(rule)} |`,
  )
  const witnesses = result.rules.flatMap((rule) =>
    rule.witnesses.map(
      ({ text, places, atSeconds }) => `- ${rule.id}, ${atSeconds ?? '?'} s: ${text} (${places.join(', ')})`,
    ),
  )
  return [
    `# ${name}, seed ${seed}`,
    '',
    `${describeCounts(counts)}.`,
    '',
    `Commit ${commit}; ${machine}; ${startedAt}; ${Object.entries(settings)
      .map(([key, value]) => `${key} ${value}`)
      .join(', ')}${mutant === undefined ? '' : `; mutant ${mutant}`}${peer === undefined ? '' : `; peer ${peer}`}.`,
    '',
    '| rule | | verdict | judged | violations | what |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    ...describeLatencies(latencies).map((line) => `- ${line.trim()}`),
    '',
    claim(counts.acknowledged, counts.faults, result.isKept),
    ...(witnesses.length > 0 ? ['', '## Witnesses', '', ...witnesses] : []),
    '',
  ].join('\n')
}

/** Writes the report as `<name>.json` and `<name>.md`. Returns the path of the Markdown file. */
export function writeReport(folder: string, fileName: string, report: RunReport): string {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${fileName}.json`), `${JSON.stringify(report, undefined, 2)}\n`)
  const path = join(folder, `${fileName}.md`)
  writeFileSync(path, toMarkdown(report))
  return path
}

/**
 * Returns the claim that no violation in n cases allows: with 95 % confidence, the true rate is
 * below 3/n. No more may be claimed.
 */
export function ruleOfThree(n: number): string {
  if (n === 0) return 'no bound'
  const [mantissa = '3', exponent = '0'] = (3 / n).toExponential(1).split('e')
  return `fewer than ${mantissa}e${exponent} of them at 95 % confidence`
}

export function describeLatency({ n, p50Ms, p99Ms, maxMs }: LatencySummary): string {
  return `p50 ${p50Ms} ms, p99 ${p99Ms} ms, max ${maxMs} ms (n ${n})`
}

function claim(acknowledged: number, faults: number, isKept: boolean): string {
  if (!isKept) return `${acknowledged} acknowledged messages, ${faults} faults; a rule is broken, so there is no claim.`
  return `0 of ${acknowledged} acknowledged messages lost, doubled or out of order: ${ruleOfThree(acknowledged)}. 0 of ${faults} faults broke a rule: ${ruleOfThree(faults)}.`
}

function describeCounts(counts: CheckResult['counts']): string {
  const { acknowledged, refused, unknown, deliveries, faults, removals, revocations, durationSeconds, streams } = counts
  const kinds = Object.entries(counts.faultsByKind)
    .sort(([left], [right]) => left.localeCompare(right, 'en', { numeric: true }))
    .map(([kind, n]) => `${kind} ${n}`)
    .join(', ')
  return `${acknowledged} messages acknowledged (${refused} refused, ${unknown} unknown), ${deliveries} deliveries to ${streams} streams, ${faults} faults${kinds === '' ? '' : ` (${kinds})`}, ${removals} removals, ${revocations} revocations, ${durationSeconds} s`
}

function describeLatencies({ acknowledgement, delivery, heals }: CheckResult['latencies']): string[] {
  return [
    ...(acknowledgement === undefined ? [] : [`sent to acknowledged: ${describeLatency(acknowledgement)}`]),
    ...(delivery === undefined ? [] : [`acknowledged to delivered, without faults: ${describeLatency(delivery)}`]),
    ...Object.entries(heals).map(([kind, latency]) => `healed to caught up, ${kind}: ${describeLatency(latency)}`),
  ]
}

function noteOf({ note }: RuleResult): string {
  return note === undefined ? '' : `  (${note})`
}
