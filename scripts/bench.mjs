/**
 * `npm run bench`: measures. Installs and builds what is missing, then runs the load harness as a child in this process's
 * own group, so that ending the group ends everything it started.
 */
import { join } from 'node:path'
import {
  buildForBench,
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
    await buildForBench()
  })
  const bench = await run(process.execPath, [join(root, 'lab/bench/dist/main.js'), ...process.argv.slice(2)], {
    cwd: process.cwd(),
    stdio: 'inherit',
  })
  process.exit(bench.status)
} catch (error) {
  fail(error)
}
