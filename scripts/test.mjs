/**
 * `npm test`: runs all checks and tests, from a bare checkout. Installs npm packages and, on Debian
 * as root, the system packages of the tests; builds; checks; then runs unit, API, cluster, abuse,
 * browser and chaos tests, on the embedded database and on a Postgres started for this run. The
 * last line of the summary is `N passed, N failed`; the exit status is non-zero when a test or
 * check failed.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { allStages, runStages } from './setup/stages.mjs'
import {
  buildForChaos,
  fail,
  forwardSignals,
  installPackages,
  requireNode,
  root,
  say,
  withSetupLock,
} from './setup/steps.mjs'
import { installSystemPackages, testPackages } from './setup/system-packages.mjs'

try {
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
  const isGood = await runStages(allStages)
  await postgres?.remove()
  process.exit(isGood ? 0 : 1)
} catch (error) {
  fail(error)
}
