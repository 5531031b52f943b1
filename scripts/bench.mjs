/**
 * `npm run bench`: measures. Installs and builds what is missing, then runs the load harness as a child in this process's
 * own group, so that ending the group ends everything it started.
 */
import { buildForBench, runBuilt } from './setup/steps.mjs'

await runBuilt({ build: buildForBench, entry: 'lab/bench/dist/main.js', args: process.argv.slice(2) })
