/**
 * The benchmark scenario `start`: measures how long a user waits for the server to start, first
 * with an empty data directory, then with the data of the first start. Each time ends when the
 * server prints its address. Everything is installed and built before. The measured command is the
 * one that `npm start` runs (npm itself takes some tenths of a second more).
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { makeTempDir, removeTempDir } from '@chorus/testkit'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const startTimeoutMs = 120_000
const goals = [
  { id: 'S1', variant: 'first', maxSeconds: 10 },
  { id: 'S2', variant: 'second', maxSeconds: 3 },
] as const

export async function runStart(options: Options, progress: Progress, root: string): Promise<ScenarioRun> {
  const rounds: Round[] = []
  for (let round = 1; round <= options.rounds; round++) {
    const dataDir = makeTempDir('start')
    try {
      for (const { variant } of goals) {
        const seen = await startOnce(root, dataDir)
        rounds.push({ round, target: 'chorus-embedded', variant, raw: seen, ...seen })
        progress(`round ${round}, ${variant} start: ${seen.invalid ?? `${seen.figures.listeningSeconds} s`}`)
      }
    } finally {
      removeTempDir(dataDir)
    }
  }
  const result: ScenarioResult = {
    scenario: 'start',
    targets: { 'chorus-embedded': 'npm start, embedded database' },
    settings: {},
    rounds,
    goals: goals.map((goal) => judge(rounds, goal)),
    notes: ['installed and built before; caches of the operating system were not emptied'],
  }
  return { result, versions: {} }
}

interface Start {
  readonly figures: Readonly<Record<string, number>>
  readonly invalid: string | undefined
}

async function startOnce(root: string, dataDir: string): Promise<Start> {
  const startedAtMs = performance.now()
  const child = spawn(process.execPath, [join(root, 'scripts/start.mjs')], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, DATA_DIR: dataDir, PORT: '0' },
  })
  const exited = once(child, 'exit')
  const printed: string[] = []
  const listening = new Promise<number>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => {
        if (printed.length < 100) printed.push(line)
        if (line.includes('listening on http://')) resolve(performance.now() - startedAtMs)
      })
  })
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), startTimeoutMs)
  })
  const tookMs = await Promise.race([listening, late, exited.then(() => undefined)])
  clearTimeout(timer)
  child.kill('SIGTERM')
  await exited
  if (tookMs === undefined)
    return { figures: {}, invalid: `it did not listen: ${printed.slice(-3).join(' / ').slice(0, 500)}` }
  // If a source file has changed since the build, the command builds first and its time is not
  // valid.
  const built = printed.find((line) => / building | installing /.test(line))
  if (built !== undefined) return { figures: {}, invalid: `it was not built before: ${built}` }
  return { figures: { listeningSeconds: Math.round(tookMs) / 1_000 }, invalid: undefined }
}

function judge(rounds: readonly Round[], { id, variant, maxSeconds }: (typeof goals)[number]): Goal {
  const values = valuesOf(rounds, { target: 'chorus-embedded', variant, figure: 'listeningSeconds' })
  const isWhole = values.length === rounds.filter((round) => round.variant === variant).length
  const took = median(values)
  return {
    id,
    met: isWhole && took <= maxSeconds,
    text: isWhole
      ? `${variant} start: listening after ${took.toFixed(1)} s (goal ${maxSeconds} s)`
      : `${variant} start: a start failed, see above`,
  }
}
