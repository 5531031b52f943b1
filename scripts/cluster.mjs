/**
 * `npm run cluster -- --servers 3 [--redis-cluster] [--nginx] [--port N]`: a whole cluster on this machine, from a bare
 * checkout. Installs and builds what is missing, then runs it as a child in this process's own group. Prints a line for
 * each part and `ready`; Ctrl-C stops and removes everything it started.
 */
import { buildForTests, runBuilt } from './setup/steps.mjs'
import { clusterPackages, installSystemPackages } from './setup/system-packages.mjs'

await runBuilt({
  prepare: () => installSystemPackages(clusterPackages),
  build: buildForTests,
  entry: 'packages/testkit/dist/cluster-main.js',
  args: process.argv.slice(2),
})
