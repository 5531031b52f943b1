/**
 * The benchmark scenario `direct`: direct messages between pairs of users. The first user of each
 * pair sends to the second, with a fixed number of unacknowledged messages, so the load adapts to
 * the speed of the measured system. Chorus stores each message durably before it acknowledges it;
 * the names of the compared systems tell what they do.
 */
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { pairedRatio } from '../report/statistics.ts'
import { chorusSettings } from '../targets/chorus.ts'
import type { PeerName } from '../targets/target.ts'
import { inTurn, measure } from './measure.ts'
import { openTargets } from './open-targets.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const insertRatioGoal = 3
const adapterRatioGoal = 1.5

export async function runDirect(options: Options, progress: Progress): Promise<ScenarioRun> {
  const open = await openTargets(['socket-io-redis-adapter', 'socket-io-insert', 'chorus'], options)
  try {
    const people = []
    for (const target of open.targets) people.push({ target, audience: await target.pairs(options.pairs) })
    const rounds: Round[] = []
    for (let round = 1; round <= options.rounds; round++) {
      for (const window of options.windows) {
        for (const { target, audience } of inTurn(people, round)) {
          const measurement = await measure(target, audience, { kind: 'window', window }, options)
          rounds.push({ round, target: target.name, variant: `window ${window}`, ...measurement })
          progress(
            `round ${round}, window ${window}, ${target.name}: ${measurement.invalid ?? `${measurement.figures.ackPerSecond} acked/s`}`,
          )
        }
      }
    }
    const result: ScenarioResult = {
      scenario: 'direct',
      targets: Object.fromEntries(open.targets.map(({ name, description }) => [name, description])),
      settings: { chorus: chorusSettings, postgres: open.postgresSettings },
      rounds,
      goals: judge(rounds, options),
      notes: ['chorus sends each message to two connections (also to the sender), the peers to one'],
    }
    return { result, versions: open.versions }
  } finally {
    await open.stop()
  }
}

function judge(rounds: readonly Round[], { windows }: Options): Goal[] {
  if (!windows.includes(8)) return []
  const against = (peer: PeerName, goal: number, what: string): Goal => {
    const ratio = pairedRatio(rounds, { target: 'chorus', peer, variant: 'window 8', figure: 'ackPerSecond' })
    return {
      id: 'P2',
      met: ratio !== undefined && ratio >= goal,
      text:
        ratio === undefined
          ? 'a round is not valid, see above'
          : `${ratio.toFixed(2)} × the acknowledged sends of ${what} (goal ${goal} ×)`,
    }
  }
  return [
    against('socket-io-redis-adapter', adapterRatioGoal, 'the Redis-adapter peer, which stores nothing'),
    against('socket-io-insert', insertRatioGoal, 'the peer with one INSERT per message'),
  ]
}
