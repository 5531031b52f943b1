/**
 * `npm start`: serves the chat from a bare checkout. Installs and builds what is missing, then runs the server as a
 * child in this process's own group. The environment passes through, signals are handed on, and the server's exit
 * status is the command's.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({
  build: buildForStart,
  entry: 'packages/server/dist/main.js',
  // Most of what a message allocates is dead by the next collection of a roomier nursery: a quarter of the server's time
  // under load went into collecting the default one.
  nodeArguments: ['--max-semi-space-size=64'],
})
