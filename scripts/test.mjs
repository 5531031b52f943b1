/**
 * `npm test`: everything, from a bare checkout. Installs npm packages and, on Debian as root, what tests need of the
 * system; builds; checks; then runs unit, API, cluster and browser tests, with a Postgres of the run's own beside the
 * embedded database. The last line of the summary is `N passed, N failed`; the status is non-zero when anything failed.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { checkStages, processStages, runStages, unitStage } from './setup/stages.mjs'
import {
  buildForTests,
  fail,
  forwardSignals,
  installPackages,
  requireNode,
  root,
  run,
  say,
  seconds,
  SetupError,
  withSetupLock,
} from './setup/steps.mjs'

/** What the tests start, as Debian packages. */
const systemPackages = ['postgresql', 'chromium', 'fonts-noto-color-emoji']

function isDebian() {
  return existsSync('/etc/debian_version') && /^ID(_LIKE)?=.*debian/m.test(readFileSync('/etc/os-release', 'utf8'))
}

function missingSystemPackages() {
  return systemPackages.filter((name) => {
    const { status, stdout } = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' })
    return status !== 0 || stdout !== 'installed'
  })
}

async function installSystemPackages() {
  if (!isDebian()) return
  const missing = missingSystemPackages()
  if (missing.length === 0) return
  if (process.getuid() !== 0) {
    say(`not installed: ${missing.join(', ')}; what needs them fails or is skipped (install them, or run as root)`)
    return
  }
  const startedAt = performance.now()
  say(`installing ${missing.join(', ')} (apt-get)`)
  const options = {
    stdio: ['ignore', 2, 2],
    // RUNLEVEL=1: do not start a Postgres of the system's own.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  }
  for (const args of [
    ['-q', 'update'],
    ['-q', '-y', '--no-install-recommends', 'install', ...missing],
  ]) {
    const { status } = await run('apt-get', args, options)
    if (status !== 0)
      throw new SetupError(`unable to install ${missing.join(', ')}; apt-get ended with status ${status}`)
  }
  say(`installed ${missing.join(', ')} in ${seconds(performance.now() - startedAt)}`)
}

try {
  requireNode()
  forwardSignals()
  await withSetupLock(async () => {
    await installPackages()
    await installSystemPackages()
    await buildForTests()
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
  const isGood = await runStages([...checkStages, unitStage, ...processStages])
  await postgres?.remove()
  process.exit(isGood ? 0 : 1)
} catch (error) {
  fail(error)
}
