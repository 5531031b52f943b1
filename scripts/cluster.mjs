/**
 * `npm run cluster -- --servers 3 [--redis-cluster] [--nginx] [--port N]`: starts a whole cluster
 * on this machine, even from a fresh checkout. First installs missing packages and builds outdated
 * parts. Then runs the cluster as a child process in this process's own group. Prints a line for
 * each process of the cluster, then `ready`. Ctrl-C stops and removes everything it started.
 */
import { buildForTests, runBuilt } from './setup/steps.mjs'
import { clusterPackages, installSystemPackages } from './setup/system-packages.mjs'

await runBuilt({
  prepare: () => installSystemPackages(clusterPackages),
  build: buildForTests,
  entry: 'packages/testkit/dist/cluster-main.js',
  args: process.argv.slice(2),
})
