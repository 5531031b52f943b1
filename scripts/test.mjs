/**
 * `npm test`: runs all checks and tests, even from a fresh checkout. Installs npm packages and, on
 * Debian as root, the system packages of the tests. Builds all parts and runs the checks. Then runs
 * the unit, API, cluster, abuse, browser and chaos tests, on the embedded database and on a
 * Postgres that it starts. The last line of the summary is `N passed, N failed`. The exit status is
 * non-zero if a test or check failed. `npm test -- --changed [COMMIT]` runs the checks, and only
 * those tests that a change since the commit (default: HEAD) can affect.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { listChangedFiles, stagesOf } from './setup/changed-files.mjs'
import { allStages, runStages, stagesForChange } from './setup/stages.mjs'
import {
  buildForChaos,
  fail,
  forwardSignals,
  installPackages,
  requireNode,
  root,
  say,
  SetupError,
  withSetupLock,
} from './setup/steps.mjs'
import { installSystemPackages, testPackages } from './setup/system-packages.mjs'

/**
 * Returns all stages or, with `--changed`, the checks and the test stages that the changed files
 * can affect. Prints the selected stages.
 */
function selectStages([flag, commit = 'HEAD', ...rest]) {
  if (flag === undefined) return allStages
  if (flag !== '--changed' || rest.length > 0)
    throw new SetupError(`unable to test; ${flag} is not an argument: expected --changed [COMMIT]`)
  const names = stagesOf(listChangedFiles(commit))
  say(`since ${commit}: checks${names.map((name) => `, ${name}`).join('')}`)
  return stagesForChange(names, commit)
}

try {
  const stages = selectStages(process.argv.slice(2))
  requireNode()
  forwardSignals()
  await withSetupLock(async () => {
    await installPackages()
    await installSystemPackages(testPackages)
    await buildForChaos()
  })

  const testkit = await import(pathToFileURL(join(root, 'packages/testkit/dist/index.js')).href)
  let postgres
  if (process.env.TEST_POSTGRES_URL) {
    say('tests on Postgres use TEST_POSTGRES_URL')
  } else if (testkit.hasPostgres()) {
    postgres = await testkit.startPostgres()
    process.env.TEST_POSTGRES_URL = postgres.url
  } else {
    say('Postgres is not installed: tests on Postgres are skipped, only the embedded database is tried')
  }
  const isGood = await runStages(stages)
  await postgres?.remove()
  process.exit(isGood ? 0 : 1)
} catch (error) {
  fail(error)
}
