/**
 * `node lab/chaos/dist/report/summarise-main.js [results] [docs/chaos.md]`: sums up the reports of
 * all chaos runs of a folder.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { readReports, summariseRuns } from './summarise-runs.ts'

const [folder = 'lab/chaos/results', path = 'docs/chaos.md'] = process.argv.slice(2)
const reports = readReports(folder)
if (reports.length === 0) {
  process.stderr.write(`unable to sum up; ${folder} holds no report of a run\n`)
  process.exit(1)
}
mkdirSync(dirname(path), { recursive: true })
writeFileSync(path, summariseRuns(reports))
console.log(`${reports.length} runs added up in ${path}`)
