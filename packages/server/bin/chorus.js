#!/usr/bin/env node
/**
 * The command `chorus`: runs the server with the V8 options that `npm start` uses. `chorus keys` and
 * `chorus webhooks` are the operator's commands, as with `npm run`. Settings come from the
 * environment, see docs/reference/configuration.md. Forwards signals, and exits with the status of
 * the program.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const programs = { keys: 'keys-command.js', webhooks: 'webhooks-command.js' }
const [name, ...rest] = process.argv.slice(2)
if (name !== undefined && !Object.hasOwn(programs, name)) {
  process.stderr.write(`unable to run ${name}; expected keys, webhooks, or nothing to start the server\n`)
  process.exit(2)
}
const file = fileURLToPath(new URL(`../dist/${name === undefined ? 'main.js' : programs[name]}`, import.meta.url))
// A larger young generation: most objects of a message are dead before the next collection.
const child = spawn(process.execPath, ['--max-semi-space-size=64', file, ...rest], { stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.once('error', (error) => {
  process.stderr.write(`unable to start; ${error.message}\n`)
  process.exit(1)
})
child.once('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
