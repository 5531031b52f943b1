/**
 * Runs the stages of a test run (a check such as `lint`, or a group of tests), shows their output
 * and duration, and prints a summary. All stages run even if one fails; the exit status reports the
 * failure. Stages that mostly wait may run in parallel with stages that mostly compute.
 */
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { root, run, seconds } from './steps.mjs'

const bin = (name) => join(root, 'node_modules', '.bin', name)
const tsc = [process.execPath, join('node_modules', 'typescript', 'bin', 'tsc')]

/** Returns a stage that runs commands as one check. It passes if all commands succeed. */
function check(name, ...commands) {
  return {
    name,
    async run(output) {
      for (const [command, ...args] of commands) {
        const { status } = await run(command, args, output)
        if (status !== 0) return { passed: 0, failed: 1, skipped: 0 }
      }
      return { passed: 1, failed: 0, skipped: 0 }
    },
  }
}

/** Returns a stage that runs the tests of a Vitest project and counts them. */
function tests(project, folders, more = []) {
  return {
    name: `tests: ${project}`,
    async run(output) {
      if (!folders.some((folder) => hasTests(join(root, folder))))
        return { passed: 0, failed: 0, skipped: 0, note: 'none yet' }
      const reports = mkdtempSync(join(tmpdir(), 'chorus-report-'))
      const report = join(reports, 'report.json')
      try {
        const args = ['run', '--project', project, '--reporter=default', '--reporter=json', ...more]
        const { status } = await run(bin('vitest'), [...args, `--outputFile.json=${report}`], output)
        const counts = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : {}
        const failed = counts.numFailedTests ?? 0
        return {
          passed: counts.numPassedTests ?? 0,
          // If Vitest fails without a failed test, count one failure: an error outside of any test
          // must fail the run, too.
          failed: status !== 0 && failed === 0 ? 1 : failed,
          skipped: (counts.numPendingTests ?? 0) + (counts.numTodoTests ?? 0),
          failures: failuresOf(counts),
        }
      } finally {
        rmSync(reports, { recursive: true, force: true })
      }
    },
  }
}

const reasonLinesMax = 8
const placesMax = 5

/**
 * Returns one text for each failed test: the first line of its error, the last lines before the
 * stack (a process that did not start prints its reason last), and the places in our own files.
 */
function failuresOf({ testResults = [] }) {
  return testResults.flatMap(({ name: path, status, message, assertionResults = [] }) => {
    const failed = assertionResults.filter((test) => test.status === 'failed')
    const whole = failed.length === 0 && status === 'failed' ? [{ fullName: '', failureMessages: [message] }] : []
    return [...failed, ...whole].map(({ fullName, failureMessages }) => {
      const lines = (failureMessages[0] ?? '').split('\n')
      const isPlace = (line) => /^ +at /.test(line)
      const [reason = '', ...others] = lines.filter((line) => !isPlace(line))
      const places = lines.filter((line) => isPlace(line) && line.includes(root) && !line.includes('node_modules'))
      const where = [relative(root, path), ...(fullName === '' ? [] : [fullName])].join(': ')
      const shown = [...others.slice(-reasonLinesMax), ...places.slice(0, placesMax).map((line) => line.trim())]
      return [`${where}: ${reason}`, ...shown].join('\n    ')
    })
  })
}

function hasTests(folder) {
  if (!existsSync(folder)) return false
  return readdirSync(folder, { recursive: true }).some(
    (path) => /[.]test[.]tsx?$/.test(path) && !path.includes('node_modules'),
  )
}

const script = (name) => [process.execPath, join('scripts', name)]

export const checkStages = [
  check('format', [bin('biome'), 'format', '.']),
  // Run ESLint without its cache. The cache only notices changes of a file's own text, but a type
  // that the file uses may have changed in another file.
  check('lint', [bin('eslint'), '--max-warnings', '0', '.']),
  check(
    'arrows',
    [bin('depcruise'), '--config', '.dependency-cruiser.mjs', 'packages', 'apps', 'lab', 'tests'],
    [bin('depcruise'), '--config', '.dependency-cruiser-folders.mjs', 'packages', 'apps', 'lab'],
  ),
  check(
    'types',
    [...tsc, '-b'],
    [...tsc, '-p', 'tsconfig.check.json'],
    ...(existsSync(join(root, 'apps/web/tsconfig.json')) ? [[...tsc, '-p', 'apps/web', '--noEmit']] : []),
  ),
  check('unused', [bin('knip')]),
  check('rules', script('check-rules.mjs')),
  check('words', script('check-words.mjs')),
  check('docs', script('check-docs.mjs')),
  check('deploy', script('check-deploy.mjs')),
  check('licences', script('check-licences.mjs')),
  check('lockfile', [...script('complete-lockfile.mjs'), '--check']),
  ...(existsSync(join(root, 'apps/web/scripts/check-size.mjs'))
    ? [check('page size', [process.execPath, 'apps/web/scripts/check-size.mjs'])]
    : []),
]

export const unitStage = tests('unit', ['packages', 'apps'])

const apiStage = tests('api', ['tests/api'])

/**
 * All stages of a test run. The API tests mostly wait for timeouts and the checks mostly compute,
 * so these two run in parallel. The other stages need the whole machine for the processes under
 * test.
 */
export const allStages = [
  [checkStages, [apiStage]],
  unitStage,
  tests('cluster', ['tests/cluster']),
  tests('abuse', ['tests/abuse']),
  tests('browser', ['tests/browser']),
  tests('chaos', ['tests/chaos']),
]

/**
 * Returns the checks, and the test stages with these names. Of the unit tests, only those run that
 * import a file that differs from the commit.
 */
export function stagesForChange(names, commit) {
  const projects = {
    api: apiStage,
    unit: tests('unit', ['packages', 'apps'], ['--changed', commit, '--passWithNoTests']),
  }
  return [
    ...checkStages,
    ...names.map((name) => projects[name] ?? allStages.find((stage) => stage.name === `tests: ${name}`)),
  ]
}

/**
 * Runs every stage and prints the summary, whose last line is `N passed, N failed`. Returns whether
 * all stages passed. An element of `stages` may be an array of lists of stages: these lists run in
 * parallel. The output of the last list is shown at once, that of the others when all are done.
 */
export async function runStages(stages) {
  const results = []
  for (const stage of stages) {
    if (Array.isArray(stage)) results.push(...(await runLanes(stage)))
    else results.push(await runStage(stage))
  }
  return summarise(results)
}

async function runLanes(lanes) {
  const folder = mkdtempSync(join(tmpdir(), 'chorus-lanes-'))
  try {
    const results = await Promise.all(
      lanes.map(async (lane, index) => {
        const isShown = index === lanes.length - 1
        const finished = []
        for (const stage of lane) {
          const path = join(folder, `${index}-${finished.length}`)
          finished.push(isShown ? await runStage(stage) : await runHidden(stage, path))
        }
        return finished
      }),
    )
    for (const { name, path, tookMs, failed } of results.flat()) {
      if (path === undefined) continue
      process.stdout.write(`\n== ${name}\n${readFileSync(path, 'utf8')}`)
      sayEnd(name, failed, tookMs)
    }
    return results.flat()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runHidden(stage, path) {
  const file = openSync(path, 'w')
  try {
    return { ...(await measure(stage, { stdio: ['ignore', file, file] })), path }
  } finally {
    closeSync(file)
  }
}

async function runStage(stage) {
  process.stdout.write(`\n== ${stage.name}\n`)
  const result = await measure(stage)
  sayEnd(stage.name, result.failed, result.tookMs)
  return result
}

async function measure(stage, output) {
  const startedAt = performance.now()
  let counts
  try {
    counts = await stage.run(output)
  } catch (error) {
    process.stdout.write(`${error.message}\n`)
    counts = { passed: 0, failed: 1, skipped: 0 }
  }
  return { name: stage.name, tookMs: performance.now() - startedAt, ...counts }
}

function sayEnd(name, failed, tookMs) {
  process.stdout.write(`== ${name}: ${failed === 0 ? 'passed' : 'FAILED'} in ${seconds(tookMs)}\n`)
}

function summarise(results) {
  process.stdout.write('\n')
  let passed = 0
  let failed = 0
  for (const result of results) {
    passed += result.passed
    failed += result.failed
    const skipped = result.skipped > 0 ? `, ${result.skipped} skipped` : ''
    const what = result.note ?? `${result.passed} passed, ${result.failed} failed${skipped}`
    const verdict = result.failed === 0 ? 'ok    ' : 'FAILED'
    process.stdout.write(`${verdict} ${result.name.padEnd(16)} ${seconds(result.tookMs).padStart(7)}  ${what}\n`)
  }
  // Print the failures here at the end: a long log is often shortened to its last lines.
  for (const { failures = [] } of results) for (const failure of failures) process.stdout.write(`  ${failure}\n`)
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  return failed === 0
}
