/**
 * `npm run restore`: to be run after a backup was put back, with every server stopped. Installs and builds what is
 * missing, then gives the database a new epoch, so that every client loads again instead of trusting an old cursor.
 */
import { join } from 'node:path'
import {
  buildForStart,
  fail,
  forwardSignals,
  installPackages,
  requireNode,
  root,
  run,
  withSetupLock,
} from './setup/steps.mjs'

try {
  requireNode()
  forwardSignals()
  await withSetupLock(async () => {
    await installPackages()
    await buildForStart()
  })
  const restore = await run(process.execPath, [join(root, 'packages/server/dist/restore.js')], {
    cwd: process.cwd(),
    stdio: 'inherit',
  })
  process.exit(restore.status)
} catch (error) {
  fail(error)
}
