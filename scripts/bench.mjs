/**
 * `npm run bench`: runs the performance measurements. First installs missing npm packages (on
 * Debian as root also system packages) and builds outdated parts. Then runs the load harness
 * (lab/bench) as a child process in this process's own group, so that ending the group ends
 * everything it started.
 */
import { buildForBench, runBuilt, say } from './setup/steps.mjs'
import { benchComparisonPackages, benchPackages, installSystemPackages } from './setup/system-packages.mjs'

async function prepare() {
  await installSystemPackages(benchPackages)
  try {
    await installSystemPackages(benchComparisonPackages)
  } catch (error) {
    say(`${error.message}; skipping what needs them`)
  }
}

await runBuilt({ prepare, build: buildForBench, entry: 'lab/bench/dist/main.js', args: process.argv.slice(2) })
