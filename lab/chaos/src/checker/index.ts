/** The chaos test's checker: takes the history of a run and returns a verdict for each rule. */
export { type CheckResult, checkHistory } from './check-history.ts'
export { loadHistory } from './history.ts'
export type { LatencySummary } from './latencies.ts'
export type { CheckSettings, RuleId, RuleResult, Verdict } from './rule.ts'
