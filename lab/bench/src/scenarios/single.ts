/**
 * The benchmark scenario `single`: sends one message at a time, across two servers, and measures
 * how long a user waits for the acknowledgement of a durable message. The maximum of the
 * performance goal is 1.3 times the sum of two other times, which are measured in the same run: the
 * time of plain Socket.IO servers, and the time of committing one row to Postgres.
 */
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import { chorusSettings } from '../targets/chorus.ts'
import { inTurn, measure } from './measure.ts'
import { openTargets } from './open-targets.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const factor = 1.3
const servers = 2

export async function runSingle(options: Options, progress: Progress): Promise<ScenarioRun> {
  const open = await openTargets(['socket-io-memory', 'socket-io-redis-adapter', 'chorus'], options, { servers })
  try {
    const people = []
    for (const target of open.targets) people.push({ target, audience: await target.pairs(1) })
    const rounds: Round[] = []
    for (let round = 1; round <= options.rounds; round++) {
      const commitP50Ms = await open.measureCommitMs()
      rounds.push({ round, target: 'commit', variant: '', figures: { ackP50Ms: commitP50Ms }, raw: undefined })
      for (const { target, audience } of inTurn(people, round)) {
        const measurement = await measure(target, audience, { kind: 'window', window: 1 }, options)
        rounds.push({ round, target: target.name, variant: '', ...measurement })
        progress(
          `round ${round}, ${target.name}: ${measurement.invalid ?? `ack p50 ${measurement.figures.ackP50Ms} ms, delivery p50 ${measurement.figures.lastDeliveryP50Ms} ms`}`,
        )
      }
    }
    const result: ScenarioResult = {
      scenario: 'single',
      targets: {
        commit: 'one row inserted and committed over one connection',
        ...Object.fromEntries(open.targets.map(({ name, description }) => [name, description])),
      },
      settings: { chorus: chorusSettings, postgres: open.postgresSettings },
      rounds,
      goals: judge(rounds),
      notes: ['sender and receiver are at different servers, except with socket-io-memory, which is one process'],
    }
    return { result, versions: open.versions }
  } finally {
    await open.stop()
  }
}

function judge(rounds: readonly Round[]): Goal[] {
  const of = (target: string, figure: string): number => median(valuesOf(rounds, { target, variant: '', figure }))
  const compare = (what: string, ours: number, theirs: number): Goal => {
    const bound = factor * (theirs + of('commit', 'ackP50Ms'))
    const isWhole =
      Number.isFinite(ours) && Number.isFinite(bound) && rounds.every(({ invalid }) => invalid === undefined)
    return {
      id: 'P4',
      met: isWhole && ours <= bound,
      text: isWhole
        ? `${what} p50 ${ours.toFixed(2)} ms (goal ${bound.toFixed(2)} ms: ${factor} × (the peer's + one commit))`
        : 'a round is not valid, see above',
    }
  }
  return [
    compare('acknowledgement', of('chorus', 'ackP50Ms'), of('socket-io-memory', 'ackP50Ms')),
    compare(
      'delivery across servers',
      of('chorus', 'lastDeliveryP50Ms'),
      of('socket-io-redis-adapter', 'lastDeliveryP50Ms'),
    ),
  ]
}
