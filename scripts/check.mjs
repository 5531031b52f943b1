/**
 * `npm run check`: the checks that a change must pass before it is proposed: format, lint, the
 * import rules between folders, types, unused code, the language of comments, the rule report,
 * documents, deploy files, licences, the lockfile, page size, and unit tests. `npm test` also runs
 * the tests that start real processes.
 */
import { checkStages, runStages, unitStage } from './setup/stages.mjs'
import { buildForStart, fail, forwardSignals, installPackages, requireNode, withSetupLock } from './setup/steps.mjs'

try {
  requireNode()
  forwardSignals()
  await withSetupLock(async () => {
    await installPackages()
    await buildForStart()
  })
  process.exit((await runStages([...checkStages, unitStage])) ? 0 : 1)
} catch (error) {
  fail(error)
}
