/** `npm run chaos`: breaks a real cluster while people talk, and judges what they saw. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readOptions, usage } from './run/options.ts'
import { runFaults } from './run/run-faults.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  const name = `seed-${options.seed}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`
  const folder = options.out ?? join(root, 'lab/chaos/results', name)
  const facts = await runFaults({
    ...options,
    name,
    folder,
    commit: readCommit(),
    say: (line) => process.stderr.write(`chaos: ${line}\n`),
  })
  console.log(JSON.stringify({ ...facts, healMs: Object.fromEntries(facts.healMs) }, undefined, 1))
  return 0
}

function readCommit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim()
  } catch {
    return 'unknown' // A copy without its history.
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    process.stderr.write(`${message}\n${message.includes('unable to read --') ? `${usage}\n` : ''}`)
    process.exit(2)
  },
)
