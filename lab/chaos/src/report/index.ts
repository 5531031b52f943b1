/** Reports of the chaos test: one run as text and as JSON, and summaries of many runs. */
export { reportHistory } from './report-history.ts'
export { type RunReport, toTerminal, writeReport } from './report-run.ts'
