/**
 * The benchmark scenario `idle`: measures a server's memory per silent connection. With Chorus each
 * client is signed in and a member of several conversations; with the compared Socket.IO server all
 * clients are in one room.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { readResidentBytes } from '@chorus/testkit'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { pairedRatio } from '../report/statistics.ts'
import { chorusSettings } from '../targets/chorus.ts'
import { inTurn, measure } from './measure.ts'
import { openTargets } from './open-targets.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const ratioGoal = 1
const conversationsEach = 5
/**
 * Pause before the clients connect, and again after they have connected. During the pause, the idle
 * server collects its garbage and returns unused memory. Otherwise garbage of earlier work would
 * distort the measured memory of the connections. The benchmark itself forces no garbage collection.
 */
const restMs = 20_000

export async function runIdle(options: Options, progress: Progress): Promise<ScenarioRun> {
  const rounds: Round[] = []
  let described: Pick<ScenarioResult, 'targets' | 'settings'> = { targets: {}, settings: {} }
  let versions: Readonly<Record<string, string>> = {}
  for (let round = 1; round <= options.rounds; round++) {
    // Start new servers in each round: the heap of a server does not shrink to its former size.
    const open = await openTargets(['socket-io-memory', 'chorus'], options)
    try {
      for (const target of inTurn(open.targets, round)) {
        const audience = await target.idle(options.connections, conversationsEach)
        const pid = target.processes.find(({ role }) => role === 'server')?.pid ?? 0
        await pause(restMs)
        const beforeBytes = readResidentBytes(pid)
        const measurement = await measure(target, audience, { kind: 'idle' }, { ...options, warmUpMs: restMs })
        const heldMb = measurement.figures.serverResidentMb ?? 0
        const kbEach = (heldMb * 1_024 - beforeBytes / 1_024) / options.connections
        rounds.push({
          round,
          target: target.name,
          variant: '',
          ...measurement,
          figures: { ...measurement.figures, kbPerConnection: Math.round(kbEach * 10) / 10 },
        })
        progress(`round ${round}, ${target.name}: ${measurement.invalid ?? `${kbEach.toFixed(1)} kB a connection`}`)
      }
      described = {
        targets: Object.fromEntries(open.targets.map(({ name, description }) => [name, description])),
        settings: { chorus: chorusSettings, connections: options.connections, conversationsEach },
      }
      versions = open.versions
    } finally {
      await open.stop()
    }
  }
  return {
    result: {
      scenario: 'idle',
      ...described,
      rounds,
      goals: judge(rounds),
      notes: [
        'resident memory of the server with all clients connected, minus its memory before, per connection; both sides include garbage that is not collected yet',
      ],
    },
    versions,
  }
}

function judge(rounds: readonly Round[]): Goal[] {
  const ratio = pairedRatio(rounds, {
    target: 'chorus',
    peer: 'socket-io-memory',
    variant: '',
    figure: 'kbPerConnection',
  })
  return [
    {
      id: 'P3',
      met: ratio !== undefined && ratio <= ratioGoal,
      text:
        ratio === undefined
          ? 'a round is not valid, see above'
          : `${ratio.toFixed(2)} × the memory of stock Socket.IO per idle connection (goal ${ratioGoal} ×)`,
    },
  ]
}
