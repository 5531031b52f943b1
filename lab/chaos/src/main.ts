/**
 * `npm run chaos`, the chaos test: breaks a real cluster while clients send, records what every
 * client saw, and lets the checker judge it. Exit status 0: every rule was kept (with `--mutants`:
 * every added bug was found). Status 1: a rule was broken, or a bug was not found. Status 2: there
 * is no verdict.
 */
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { launchAs, findMutant, mutants } from './mutants/mutants.ts'
import type { Mutant } from './mutants/mutant.ts'
import { runMutants } from './mutants/run-mutants.ts'
import { runSocketIoPeer } from './peers/run-socket-io-peer.ts'
import { reportHistory, toTerminal, writeReport } from './report/index.ts'
import type { RunReport } from './report/index.ts'
import { readOptions, usage } from './run/options.ts'
import type { Options } from './run/options.ts'
import { runFaults } from './run/run-faults.ts'
import type { RunOptions } from './run/run.ts'
import { runSlow, runStorm } from './run/scenarios.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/**
 * Maximum number of clients of the Socket.IO comparison server. It has few rooms, so more clients
 * would add nothing.
 */
const peerClientsMax = 20

/**
 * Maximum time to wait until clients of a mutant (Chorus with an added bug) have caught up. With
 * many bugs, clients never catch up, and a longer wait would show nothing more.
 */
const mutantPatienceMs = 10_000

const say = (line: string): void => {
  process.stderr.write(`chaos: ${line}\n`)
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options.isAllMutants) return runAllMutants(options)
  if (options.peer !== undefined) return runPeer(options, options.peer)
  switch (options.scenario) {
    case 'storm':
      return runStorm(toRun(options, 'storm'), say)
    case 'slow':
      return runSlow(toRun(options, 'slow'), say)
    case 'faults': {
      const mutant = options.mutant === undefined ? undefined : findMutant(options.mutant)
      if (options.mutant !== undefined && mutant === undefined)
        throw new Error(
          `unable to read --mutant ${options.mutant}; expected one of ${mutants.map(({ name }) => name).join(', ')}`,
        )
      const report = await runOnce(options, mutant)
      console.log(toTerminal(report))
      return report.result.isKept ? 0 : 1
    }
  }
}

/**
 * Runs every mutant (Chorus with one added bug) for the shortest time that should reveal its bug.
 */
async function runAllMutants(options: Options): Promise<number> {
  const verdicts = await runMutants(
    mutants,
    (mutant) => {
      const { faults, count, rate } = mutant.shownBy
      return runOnce(
        { ...options, only: faults, faults: count, messages: 600, ...(rate !== undefined && { rate }) },
        mutant,
      )
    },
    (line) => console.log(line),
  )
  return verdicts.every(({ isCaught }) => isCaught) ? 0 : 1
}

/**
 * Runs the workload against the Socket.IO comparison server, in which messages must get lost.
 * Returns 0 if the checker finds lost messages, otherwise 1.
 */
async function runPeer(options: Options, peer: string): Promise<number> {
  const run = toRun(options, `peer-${peer}`)
  await runSocketIoPeer({ ...run, clients: Math.min(run.clients, peerClientsMax) })
  const report = reportHistory(run.folder, { peer })
  writeReport(join(run.folder, '..', 'peers'), run.name, report)
  if (!options.isKeeping) rmSync(run.folder, { recursive: true, force: true })
  console.log(toTerminal(report))
  const isLosing = report.result.rules.some(({ id, verdict }) => verdict === 'broken' && (id === 'A1' || id === 'A13'))
  console.log(
    isLosing ? 'the peer loses messages, and the checker detects it' : 'the checker detected no loss of the peer',
  )
  return isLosing ? 0 : 1
}

/**
 * Does one run, from starting the cluster to the report. Deletes the history if no rule was broken,
 * unless the options keep it.
 */
async function runOnce(options: Options, mutant: Mutant | undefined): Promise<RunReport> {
  const run = toRun(options, mutant?.name ?? 'run')
  const results = join(run.folder, '..')
  const asMutant = mutant !== undefined && {
    ...launchAs(mutant, join(run.folder, 'mutant')),
    patienceMs: mutantPatienceMs,
  }
  await runFaults({ ...run, ...asMutant })
  const report = reportHistory(run.folder, {
    ...(mutant !== undefined && { mutant: mutant.name }),
    checkSettings: { slackMs: options.slackMs },
  })
  const path = writeReport(mutant === undefined ? results : join(results, 'mutants'), run.name, report)
  say(`report: ${relative(process.cwd(), path)}`)
  const isWanted = options.isKeeping || (mutant === undefined && !report.result.isKept)
  if (isWanted) say(`history: ${relative(process.cwd(), run.folder)}`)
  else rmSync(run.folder, { recursive: true, force: true })
  return report
}

function toRun(options: Options, what: string): RunOptions {
  const name = `${what}-seed-${options.seed}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`
  return {
    ...options,
    name,
    folder: join(options.out ?? join(root, 'lab/chaos/results'), name),
    commit: readCommit(),
    say,
  }
}

function readCommit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    const changed = git('status', '--porcelain')
      .split('\n')
      .filter((line) => line !== '').length
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed === 0 ? '' : ` with ${changed} changed files`}`
  } catch {
    return 'unknown' // The source folder is a copy without git data.
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const message = error instanceof Error ? error.message : String(error)
    const isUsage = message.startsWith('unable to read --')
    const stack = error instanceof Error ? (error.stack ?? message) : message
    process.stderr.write(isUsage ? `${message}\n${usage}\n` : `${stack}\n`)
    process.exit(2)
  },
)
