/**
 * `npm run chaos`: injects faults into a cluster of real processes while clients exchange messages,
 * and checks what the clients received. First installs missing packages and builds outdated parts.
 * Then runs the chaos lab (lab/chaos) as a child process in this process's own group, so that
 * ending the group ends everything it started.
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
