/**
 * `npm start`: starts the chat server, even from a fresh checkout. First installs missing packages
 * and builds outdated parts. Then runs the server as a child process in this process's own group.
 * The server gets the environment variables and all signals, and the command ends with the exit
 * status of the server.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({
  build: buildForStart,
  entry: 'packages/server/dist/main.js',
  // Give V8 a larger young generation (the memory for new objects): most memory of a message is
  // unused again by the next collection. With the default size, garbage collection took a quarter
  // of the server's time under load.
  nodeArguments: ['--max-semi-space-size=64'],
})
