/**
 * Checks the history of a chaos run by every rule, and computes its counts and latencies. Takes O(n
 * log n): a few seconds for a million events. An error in a rule's code is a bug of the checker, so
 * it is thrown: no verdict is better than a partial one.
 */
import { convergenceOf } from './convergence.ts'
import { Facts } from './facts.ts'
import type { History } from './history.ts'
import { Latencies, type LatencySummary } from './latencies.ts'
import { type CheckSettings, defaultSettings, Findings, type RuleResult } from './rule.ts'
import { rules } from './rules/rules.ts'

export interface CheckResult {
  readonly rules: readonly RuleResult[]
  /**
   * True if the history breaks no rule. A rule that found nothing to judge does not count as
   * broken.
   */
  readonly isKept: boolean
  readonly counts: {
    readonly events: number
    readonly sends: number
    readonly acknowledged: number
    readonly refused: number
    /** Number of sent messages whose outcome is unknown. */
    readonly unknown: number
    readonly deliveries: number
    readonly pages: number
    readonly rows: number
    readonly streams: number
    readonly removals: number
    readonly revocations: number
    readonly faults: number
    readonly faultsByKind: { readonly [kind: string]: number }
    readonly durationSeconds: number
  }
  readonly latencies: {
    /** Times between a message's acknowledgement and its delivery, outside of faults. */
    readonly delivery: LatencySummary | undefined
    /** Times between sending a message and its acknowledgement, over the whole run. */
    readonly acknowledgement: LatencySummary | undefined
    /**
     * Times between the end of a fault and the moment when all clients have caught up, by kind of
     * fault.
     */
    readonly heals: { readonly [kind: string]: LatencySummary }
  }
}

export function checkHistory(history: History, overrides: Partial<CheckSettings> = {}): CheckResult {
  const settings: CheckSettings = { ...defaultSettings, ...overrides }
  const facts = new Facts(history)
  const results = rules.map((rule) => {
    const findings = new Findings(history, settings.witnessesMax)
    rule.check(facts, settings, findings)
    return findings.toResult(rule)
  })
  return {
    rules: results,
    isKept: results.every(({ verdict }) => verdict !== 'broken'),
    counts: count(facts),
    latencies: measure(facts, settings),
  }
}

function count({ history, faultSpans }: Facts): CheckResult['counts'] {
  let acknowledged = 0
  let refused = 0
  let unknown = 0
  for (const { attempts } of history.sends.values()) {
    if (attempts.some(({ outcome }) => outcome?.type === 'ok')) acknowledged += 1
    else if (attempts.every(({ outcome }) => outcome?.type === 'fail')) refused += 1
    else unknown += 1
  }
  const faultsByKind: Record<string, number> = {}
  for (const { kind } of faultSpans) faultsByKind[kind] = (faultsByKind[kind] ?? 0) + 1
  const done = (op: string) =>
    history.operations.filter(({ invoke, outcome }) => invoke.op === op && outcome?.type === 'ok').length
  const streams = new Set([...history.observers.values()].map(({ stream }) => stream))
  return {
    events: history.events,
    sends: history.sends.size,
    acknowledged,
    refused,
    unknown,
    deliveries: history.deliveries.length,
    pages: history.pages.length,
    rows: history.rowCount,
    streams: streams.size,
    removals: done('member-remove'),
    revocations: done('revoke'),
    faults: faultSpans.length,
    faultsByKind,
    durationSeconds: history.events === 0 ? 0 : Math.max(0, Math.round((history.lastT - history.firstT) / 1_000_000)),
  }
}

function measure(facts: Facts, settings: CheckSettings): CheckResult['latencies'] {
  const { tail, heals } = convergenceOf(facts, settings)
  const acknowledgements = new Latencies()
  for (const { attempts } of facts.history.sends.values()) {
    for (const { t, outcome } of attempts) if (outcome?.type === 'ok') acknowledgements.add((outcome.t - t) / 1_000)
  }
  const healSummaries: Record<string, LatencySummary> = {}
  for (const [kind, latencies] of [...heals].sort(([left], [right]) => left.localeCompare(right, 'en'))) {
    const summary = latencies.summary()
    if (summary !== undefined) healSummaries[kind] = summary
  }
  return { delivery: tail.summary(), acknowledgement: acknowledgements.summary(), heals: healSummaries }
}
