/**
 * `npm run bench`: runs the benchmark scenarios one after another. Writes all measurements to one
 * JSON file, and prints tables and one line per performance goal. Exit status 1 means that a goal
 * was missed, 2 that the measurement failed.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { drawCurves } from './curves/draw-curves.ts'
import { runCurves } from './curves/run-curves.ts'
import { describeEnvironment } from './machine/environment.ts'
import { readOptions, usage } from './options/options.ts'
import type { Options, ScenarioName } from './options/options.ts'
import { printReport } from './report/print-report.ts'
import type { BenchResult, ScenarioResult } from './report/result.ts'
import { runBulkUsers } from './scenarios/bulk-users.ts'
import { runDirect } from './scenarios/direct.ts'
import { runEmbeddedSends } from './scenarios/embedded-sends.ts'
import { runHistory } from './scenarios/history.ts'
import { runHostile } from './scenarios/hostile.ts'
import { runHotRoom } from './scenarios/hot-room.ts'
import { runIdle } from './scenarios/idle.ts'
import { runInterest } from './scenarios/interest.ts'
import { runOutbox } from './scenarios/outbox.ts'
import type { Progress, ScenarioRun } from './scenarios/scenario.ts'
import { runSingle } from './scenarios/single.ts'
import { runStart } from './scenarios/start.ts'
import { runStormScenario } from './scenarios/storm.ts'
import { runSubjects } from './scenarios/subjects.ts'
import { runTokens } from './scenarios/tokens.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))

function run(scenario: ScenarioName, options: Options, progress: Progress): Promise<ScenarioRun> {
  switch (scenario) {
    case 'direct':
      return runDirect(options, progress)
    case 'hot-room':
      return runHotRoom(options, progress)
    case 'single':
      return runSingle(options, progress)
    case 'idle':
      return runIdle(options, progress)
    case 'storm':
      return runStormScenario(options, progress)
    case 'history':
      return runHistory(options, progress)
    case 'interest':
      return runInterest(options, progress)
    case 'embedded-sends':
      return runEmbeddedSends(options, progress)
    case 'hostile':
      return runHostile(options, progress)
    case 'start':
      return runStart(options, progress, root)
    case 'tokens':
      return runTokens(options, progress)
    case 'bulk-users':
      return runBulkUsers(options, progress)
    case 'subjects':
      return runSubjects(options, progress)
    case 'outbox':
      return runOutbox(options, progress)
    case 'curves':
      return runCurves(options, progress, root)
  }
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options.isDrawing) {
    for (const file of drawCurves(options.curvesDir)) console.log(`drew ${file}`)
    return 0
  }
  const environment = describeEnvironment(root)
  const scenarios: ScenarioResult[] = []
  let versions = environment.versions
  for (const scenario of options.scenarios) {
    const ran = await run(scenario, options, (line) => process.stderr.write(`bench: ${scenario}: ${line}\n`))
    scenarios.push(ran.result)
    versions = { ...versions, ...ran.versions }
  }
  const result: BenchResult = { format: 1, environment: { ...environment, versions }, options, scenarios }
  const file =
    options.out ??
    join(root, 'lab/bench/results', `${environment.at.replaceAll(/[:.]/g, '-')}-${environment.commit}.json`)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(result, undefined, 1)}\n`)
  printReport(result, (line) => console.log(line))
  console.log(`result: ${relative(process.cwd(), file)}`)
  return scenarios.every(({ goals }) => goals.every(({ met }) => met)) ? 0 : 1
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const message = error instanceof Error ? error.message : String(error)
    process.stderr.write(`${message}\n${message.startsWith('unable to read --') ? `${usage}\n` : ''}`)
    process.exit(2)
  },
)
