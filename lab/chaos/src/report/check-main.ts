/**
 * `node lab/chaos/dist/report/check-main.js <folder>`: checks the history of an earlier chaos run
 * again, and prints the result.
 */
import { reportHistory } from './report-history.ts'
import { toTerminal } from './report-run.ts'

const [folder] = process.argv.slice(2)
if (folder === undefined) {
  process.stderr.write('unable to judge; expected the folder of a run\n')
  process.exit(2)
}
const report = reportHistory(folder)
console.log(toTerminal(report))
process.exit(report.result.isKept ? 0 : 1)
