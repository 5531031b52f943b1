/**
 * The benchmark scenario `hot-room`: one room in which every member receives every message. Some
 * members send at a fixed rate, regardless of responses. The rate is raised until the p99 latency
 * of deliveries exceeds its maximum or the server falls behind. Then the limit is narrowed down.
 * The result is the highest rate without overload, in deliveries per second.
 */
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { pairedRatio } from '../report/statistics.ts'
import { chorusSettings } from '../targets/chorus.ts'
import { whyNoNchan } from '../targets/nchan.ts'
import type { Audience, PeerName, Target } from '../targets/target.ts'
import { inTurn, measure } from './measure.ts'
import type { Measurement } from './measure.ts'
import { openTargets } from './open-targets.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const ratioGoal = 10
/** Deliveries per second of the first and lowest rate. */
const firstDeliveriesPerSecond = 20_000
/**
 * Minimum share of the sent messages that a server must acknowledge during the measurement. Below
 * it, the server counts as overloaded.
 */
const servedShare = 0.95
const doublingsMax = 12
const narrowings = 3

/** Systems that are measured for information, in addition to those that the goal compares with. */
const furtherPeers = ['socket-io-streams-adapter', 'nchan'] as const

interface Step {
  readonly perSecond: number
  readonly served: boolean
  readonly why: string
  readonly measurement: Measurement
}

export async function runHotRoom(options: Options, progress: Progress): Promise<ScenarioRun> {
  const whyNot = whyNoNchan()
  const further = furtherPeers.filter((name) => name !== 'nchan' || whyNot === undefined)
  const open = await openTargets(['socket-io-redis-adapter', 'one-channel', 'chorus', ...further], options, {
    servers: options.servers,
  })
  try {
    const people = []
    for (const target of open.targets)
      people.push({ target, audience: await target.room(options.receivers, options.senders) })
    const rounds: Round[] = []
    for (let round = 1; round <= options.rounds; round++) {
      for (const { target, audience } of inTurn(people, round)) {
        if (round > 1 && further.some((name) => name === target.name)) continue
        const steps = await climb(target, audience, options, (line) => progress(`round ${round}, ${line}`))
        rounds.push(toRound(round, target, steps))
      }
    }
    const result: ScenarioResult = {
      scenario: 'hot-room',
      targets: Object.fromEntries(open.targets.map(({ name, description }) => [name, description])),
      settings: { chorus: chorusSettings, postgres: open.postgresSettings, p99MaxMs: options.p99MaxMs, servedShare },
      rounds,
      goals: judge(rounds),
      notes: [
        `the figure is the highest offered rate that was served: p99 ≤ ${options.p99MaxMs} ms, at least ${servedShare * 100} % of it acknowledged, nothing lost`,
        `${furtherPeers.join(' and ')} run in the first round only, for orientation; they have no goal`,
        ...(whyNot === undefined ? [] : [whyNot]),
      ],
    }
    return { result, versions: open.versions }
  } finally {
    await open.stop()
  }
}

async function climb(target: Target, audience: Audience, options: Options, progress: Progress): Promise<Step[]> {
  const steps: Step[] = []
  const tryRate = async (rate: number): Promise<boolean> => {
    // Try each rate again after a failure. A single failure can come from a short disturbance of
    // the machine; two failures mean that the rate is too high.
    return (await tryOnce(rate)) || (await tryOnce(rate))
  }
  const tryOnce = async (rate: number): Promise<boolean> => {
    const perSecond = Math.max(1, Math.round(rate))
    const measurement = await measure(target, audience, { kind: 'rate', perSecond }, options)
    const why = whyNotServed(measurement, perSecond, options)
    steps.push({ perSecond, served: why === '', why, measurement })
    progress(
      `${target.name} at ${perSecond} messages/s: ${why === '' ? `served, p99 ${measurement.figures.deliveryP99Ms} ms` : why}`,
    )
    return why === ''
  }
  let low = 0
  let high = firstDeliveriesPerSecond / options.receivers
  for (let doubling = 0; doubling < doublingsMax; doubling++) {
    if (!(await tryRate(high))) break
    low = high
    high *= 2
  }
  for (let narrowing = 0; narrowing < narrowings && high - low > 1; narrowing++) {
    const middle = low === 0 ? high / 2 : Math.sqrt(low * high)
    if (await tryRate(middle)) low = middle
    else high = middle
  }
  return steps
}

function whyNotServed({ figures, invalid }: Measurement, perSecond: number, { p99MaxMs }: Options): string {
  if (invalid !== undefined) return invalid
  const p99 = figures.deliveryP99Ms ?? 0
  if (p99 > p99MaxMs) return `p99 ${p99} ms`
  const acknowledged = figures.ackPerSecond ?? 0
  return acknowledged < perSecond * servedShare ? `only ${acknowledged} messages/s acknowledged` : ''
}

function toRound(round: number, target: Target, steps: readonly Step[]): Round {
  let best: Step | undefined
  for (const step of steps) if (step.served && step.perSecond > (best?.perSecond ?? 0)) best = step
  // A lost message is an error and no sign of overload. It makes the whole round invalid, even if
  // other rates lost nothing.
  const loss = steps.find(({ measurement }) => / lost| too many/.test(measurement.invalid ?? ''))
  const raw = steps.map(({ perSecond, served, why, measurement }) => ({ perSecond, served, why, ...measurement }))
  if (best === undefined)
    return { round, target: target.name, variant: '', figures: {}, invalid: 'no rate was served', raw }
  return {
    round,
    target: target.name,
    variant: '',
    figures: { ...best.measurement.figures, messagesPerSecond: best.perSecond },
    invalid: loss && `at ${loss.perSecond} messages/s: ${loss.why}`,
    raw,
  }
}

/** Judges the performance goal: compares Chorus with the faster of the two compared systems. */
function judge(rounds: readonly Round[]): Goal[] {
  const ratioOf = (peer: PeerName) =>
    pairedRatio(rounds, { target: 'chorus', peer, variant: '', figure: 'deliveriesPerSecond' })
  const ratios = [ratioOf('socket-io-redis-adapter'), ratioOf('one-channel')]
  const isWhole = ratios.every((ratio) => ratio !== undefined)
  const ratio = Math.min(...ratios.map((each) => each ?? 0))
  return [
    {
      id: 'P1',
      met: isWhole && ratio >= ratioGoal,
      text: isWhole
        ? `${ratio.toFixed(2)} × the deliveries of the better peer (goal ${ratioGoal} ×)`
        : 'a round is not valid, see above',
    },
  ]
}
