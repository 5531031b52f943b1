/**
 * `npm start`: serves the chat from a bare checkout. Installs and builds missing parts, then runs
 * the server as a child in this process's own group. The environment is passed through, signals are
 * forwarded, and the command ends with the server's exit status.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({
  build: buildForStart,
  entry: 'packages/server/dist/main.js',
  // Use a larger young generation: most memory of a message is garbage by its next collection. With
  // the default size, a quarter of the server's time under load went into garbage collection.
  nodeArguments: ['--max-semi-space-size=64'],
})
