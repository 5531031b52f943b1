/**
 * `npm run pack`: writes the tarball of every published package into dist-packages/, as `npm
 * publish` would upload it. Builds everything from nothing first, so that a tarball contains the
 * current web application and no output of a source that was deleted. `tests/api/packages.test.ts`
 * installs such tarballs and runs them.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  buildForPack,
  fail,
  forwardSignals,
  installPackages,
  requireNode,
  root,
  run,
  say,
  SetupError,
  withSetupLock,
} from './setup/steps.mjs'

const packages = ['protocol', 'client', 'react', 'backend', 'server']

try {
  requireNode()
  forwardSignals()
  await withSetupLock(async () => {
    await installPackages()
    for (const name of packages) rmSync(join(root, 'packages', name, 'dist'), { recursive: true, force: true })
    await buildForPack()
  })
  const folder = join(root, 'dist-packages')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  for (const name of packages) {
    const { status } = await run('npm', ['pack', '--silent', '--pack-destination', folder, '-w', `@chorus/${name}`])
    if (status !== 0) throw new SetupError(`unable to pack ${name}; npm ended with status ${status}`)
  }
  say(`packed ${packages.length} packages into ${folder}`)
} catch (error) {
  fail(error)
}
