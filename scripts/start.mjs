/**
 * `npm start`: serves the chat from a bare checkout. Installs and builds what is missing, then runs the server as a
 * child in this process's own group. The environment passes through, signals are handed on, and the server's exit
 * status is the command's.
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
  // The caller's working directory stays, so that a relative DATA_DIR means what the caller sees. npm runs this in the
  // repository's root.
  // Most of what a message allocates is dead by the next collection of a roomier nursery: a quarter of the server's time
  // under load went into collecting the default one.
  const server = await run(process.execPath, ['--max-semi-space-size=32', join(root, 'packages/server/dist/main.js')], {
    cwd: process.cwd(),
    stdio: 'inherit',
  })
  process.exit(server.status)
} catch (error) {
  fail(error)
}
