/**
 * `npm run chaos`: injects faults into a cluster of real parts while clients exchange messages, and
 * checks what they received. Installs and builds missing parts, then runs the lab as a child in
 * this process's own group, so that ending the group ends everything it started.
 */
import { buildForChaos, runBuilt } from './setup/steps.mjs'
import { clusterPackages, installSystemPackages } from './setup/system-packages.mjs'

await runBuilt({
  prepare: () => installSystemPackages(clusterPackages),
  build: buildForChaos,
  entry: 'lab/chaos/dist/main.js',
  nodeArguments: ['--max-old-space-size=8192'],
  args: process.argv.slice(2),
})
