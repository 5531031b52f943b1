/**
 * The benchmark scenario `embedded-sends`: measures a single Chorus server with its embedded
 * database, as `npm start` runs it on a machine without Postgres and Redis. Counts acknowledged
 * messages per second and the delay of the event loop.
 */
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import { chorusSettings, startChorus } from '../targets/chorus.ts'
import { measure } from './measure.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const window = 8
const perSecondGoal = 3_000

export async function runEmbeddedSends(options: Options, progress: Progress): Promise<ScenarioRun> {
  const target = await startChorus({ environment: options.serverEnvironment, profileDir: options.profileDir })
  try {
    const audience = await target.pairs(options.embeddedPairs)
    const variant = `window ${window}`
    const rounds: Round[] = []
    for (let round = 1; round <= options.rounds; round++) {
      const measurement = await measure(target, audience, { kind: 'window', window }, options)
      rounds.push({ round, target: target.name, variant, ...measurement })
      progress(`round ${round}: ${measurement.invalid ?? `${measurement.figures.ackPerSecond} acked/s`}`)
    }
    const result: ScenarioResult = {
      scenario: 'embedded-sends',
      targets: { [target.name]: target.description },
      settings: { chorus: chorusSettings, pairs: options.embeddedPairs, window },
      rounds,
      goals: [judge(rounds, variant, target.name)],
      notes: ['the embedded database survives crashes of the process, but not power loss: it makes no fsync'],
    }
    return { result, versions: {} }
  } finally {
    await target.stop()
  }
}

function judge(rounds: readonly Round[], variant: string, target: string): Goal {
  const values = valuesOf(rounds, { target, variant, figure: 'ackPerSecond' })
  const isWhole = values.length === rounds.length
  const perSecond = median(values)
  return {
    id: 'E1',
    met: isWhole && perSecond >= perSecondGoal,
    text: isWhole
      ? `embedded database: ${Math.round(perSecond)} acknowledged sends/s (goal ${perSecondGoal})`
      : 'embedded database: a round is not valid, see above',
  }
}
