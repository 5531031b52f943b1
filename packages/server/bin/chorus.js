#!/usr/bin/env node
/**
 * The command `chorus`: runs the server with the V8 options that `npm start` uses. Settings come
 * from the environment, see docs/reference/configuration.md. Forwards signals, and exits with the
 * server's status.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
// A larger young generation: most objects of a message are dead before the next collection.
const child = spawn(process.execPath, ['--max-semi-space-size=64', main, ...process.argv.slice(2)], {
  stdio: 'inherit',
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.once('error', (error) => {
  process.stderr.write(`unable to start; ${error.message}\n`)
  process.exit(1)
})
child.once('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
