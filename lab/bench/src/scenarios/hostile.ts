/**
 * The benchmark scenario `hostile`: measures how one hostile account affects other users. Pairs of
 * users send messages at a steady rate, first undisturbed. Then one signed-in account repeats one
 * command after another, at twice the rate that its limits allow, with the most expensive inputs
 * that the command's schema allows. All limits have their default values.
 */
import { listCommandAttacks, startPostgres } from '@chorus/testkit'
import type { Attacker, CommandAttack } from '@chorus/testkit'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import { defaultLimitSettings, startChorus } from '../targets/chorus.ts'
import type { Audience, Target } from '../targets/target.ts'
import { measure } from './measure.ts'
import type { Measurement } from './measure.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const ratioGoal = 3
const quiet = 'quiet'
const hostile = {
  pairs: 20,
  /**
   * Messages per second of all pairs of users together. Each user stays below the limit for
   * sending.
   */
  messagesPerSecond: 200,
  attackPerSecond: 200,
  warmUpMs: 500,
  measureMs: 5_000,
  /** Maximum number of rounds. One round of all attacks takes seven minutes. */
  roundsMax: 3,
  /**
   * Number of attacks after which the undisturbed state is measured again, because the speed of the
   * machine changes over time.
   */
  quietEvery: 8,
  /** Time between the first request of an attack and the start of the measured load. */
  leadMs: 1_000,
} as const

export async function runHostile(options: Options, progress: Progress): Promise<ScenarioRun> {
  const attacks = selectAttacks(options.attacks)
  const postgres = await startPostgres()
  const target = await startChorus({
    databases: postgres,
    hasDefaultLimits: true,
    environment: options.serverEnvironment,
    profileDir: options.profileDir,
    processes: [{ role: 'database', pid: postgres.pid }],
  })
  try {
    const audience = await target.pairs(hostile.pairs)
    const attacker = await target.attacker?.()
    if (attacker === undefined) throw new Error('unable to attack; the target supports no attackers')
    const rounds: Round[] = []
    for (let round = 1; round <= Math.min(options.rounds, hostile.roundsMax); round++) {
      const add = (variant: string, measurement: Measurement): void => {
        rounds.push({ round, target: target.name, variant, ...measurement })
        progress(`${round}. ${variant}: ${measurement.invalid ?? `ack p99 ${measurement.figures.ackP99Ms} ms`}`)
      }
      for (const [index, attack] of attacks.entries()) {
        if (index % hostile.quietEvery === 0) add(quiet, await measureQuiet(target, audience, options))
        add(toVariant(attack), await measureUnder(attack, target, audience, attacker, options))
      }
    }
    const result: ScenarioResult = {
      scenario: 'hostile',
      targets: { [target.name]: 'everything on, default limits, one server, Postgres with fsync' },
      settings: { chorus: defaultLimitSettings, hostile },
      rounds,
      goals: [judge(rounds)],
      notes: ['the attacker shares the two cores with the measured users: part of the cost is its own work'],
    }
    return { result, versions: {} }
  } finally {
    await target.stop()
    await postgres.remove()
  }
}

const toVariant = ({ command, transport }: CommandAttack): string => `${command} over ${transport}`

/** Returns the attacks with these commands, or all attacks if `names` is empty. */
function selectAttacks(names: readonly string[]): CommandAttack[] {
  const attacks = listCommandAttacks()
  if (names.length === 0) return attacks
  const unknown = names.find((name) => !attacks.some(({ command }) => command === name))
  if (unknown !== undefined) throw new Error(`unable to attack with ${unknown}; there is no such command`)
  return attacks.filter(({ command }) => names.includes(command))
}

function measureQuiet(target: Target, audience: Audience, options: Options): Promise<Measurement> {
  const load = { kind: 'rate', perSecond: hostile.messagesPerSecond } as const
  return measure(target, audience, load, { ...options, warmUpMs: hostile.warmUpMs, measureMs: hostile.measureMs })
}

async function measureUnder(
  attack: CommandAttack,
  target: Target,
  audience: Audience,
  attacker: Attacker,
  options: Options,
): Promise<Measurement> {
  const forMs = hostile.leadMs + hostile.warmUpMs + hostile.measureMs
  const url = `http://127.0.0.1:${target.ports[0] ?? 0}`
  const attacking = attack.run(url, attacker, { forMs, perSecond: hostile.attackPerSecond })
  const measurement = await measureQuiet(target, audience, options)
  await attacking
  return measurement
}

/**
 * Compares the median latency under each attack with the median latency of all undisturbed rounds.
 * Medians are needed because one pause of the disk can decide the p99 of a single round.
 */
function judge(rounds: readonly Round[]): Goal {
  const medianOf = (variant: string): number =>
    median(valuesOf(rounds, { target: 'chorus', variant, figure: 'ackP99Ms' }))
  const quietMs = medianOf(quiet)
  const broken = rounds.find(({ invalid }) => invalid !== undefined)
  const variants = [...new Set(rounds.map(({ variant }) => variant))].filter((variant) => variant !== quiet)
  const ratios = variants.map((variant) => ({ variant, ratio: medianOf(variant) / quietMs }))
  const worst = ratios.reduce((one, other) => (other.ratio > one.ratio ? other : one))
  return {
    id: 'P10',
    met: broken === undefined && worst.ratio <= ratioGoal,
    text:
      broken === undefined
        ? `p99 of the sends of all other users at most ${worst.ratio.toFixed(2)} × quiet (${quietMs} ms), under ${worst.variant} (goal ${ratioGoal} ×), none refused`
        : `under ${broken.variant}: ${broken.invalid ?? ''}`,
  }
}
