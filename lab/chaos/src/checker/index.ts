/** The checker: takes a history and returns a verdict per rule. */
export { type CheckResult, checkHistory } from './check-history.ts'
export { loadHistory } from './history.ts'
export type { LatencySummary } from './latencies.ts'
export type { CheckSettings, RuleId, RuleResult, Verdict } from './rule.ts'
