/**
 * `npm run bench`: runs the measurements. Installs and builds missing parts (on Debian as root also
 * system packages), then runs the load harness as a child in this process's own group, so that
 * ending the group ends everything it started.
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
