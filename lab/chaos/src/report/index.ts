/** Reports: one run for people and for machines, and many runs added up. */
export { reportHistory } from './report-history.ts'
export { type RunReport, toTerminal, writeReport } from './report-run.ts'
