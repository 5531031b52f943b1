/**
 * The benchmark scenario `storm`: many clients reconnect at once. All clients are connected and in
 * many conversations. All connections are cut at the same time, messages are stored in every
 * conversation, and all clients reconnect within a second. Chorus must deliver everything that each
 * client missed. The compared Socket.IO server stores nothing, so it only has to accept clients and
 * add them to their rooms.
 *
 * No connection survives the cut, and messages are posted over HTTP. So no server keeps a
 * conversation in memory because a member is still connected.
 */
import { readsOfChanges } from '@chorus/testkit'
import { runStorm } from '../load/run-job.ts'
import type { StormOutcome } from '../load/storm-job.ts'
import { openStatementLink } from '../machine/statement-link.ts'
import type { StatementLink } from '../machine/statement-link.ts'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import { chorusSettings } from '../targets/chorus.ts'
import type { Population, Target } from '../targets/target.ts'
import { inTurn } from './measure.ts'
import { openTargets } from './open-targets.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const secondsGoal = 10
const readsGoal = 2
const roundsMax = 3

const storm = {
  postsPerSecond: 50,
  settleMs: 3_000,
  awayMs: 500,
  spreadMs: 1_000,
  openingMax: 1_000,
  patienceMs: 60_000,
} as const
const plan = { size: 100, history: 200 } as const

export async function runStormScenario(options: Options, progress: Progress): Promise<ScenarioRun> {
  const { missedEach } = options
  const links: StatementLink[] = []
  const linkToDatabase = async (databaseUrl: string): Promise<string> => {
    const url = new URL(databaseUrl)
    const link = await openStatementLink(Number(url.port), readsOfChanges)
    links.push(link)
    url.port = String(link.port)
    return url.href
  }
  const open = await openTargets(['socket-io-redis-adapter', 'chorus'], options, {
    servers: options.servers,
    linkToDatabase,
  })
  try {
    const crowds: { target: Target; crowd: Population }[] = []
    for (const target of open.targets) {
      const crowd = await target.crowd?.({
        ...plan,
        people: options.clients,
        conversationsEach: options.conversationsEach,
      })
      if (crowd === undefined) throw new Error(`unable to measure ${target.name}; it supports no populations`)
      crowds.push({ target, crowd })
    }
    progress(`${options.clients} people in ${crowds[0]?.crowd.conversations.length ?? 0} conversations`)
    const rounds: Round[] = []
    for (let round = 1; round <= Math.min(options.rounds, roundsMax); round++) {
      for (const { target, crowd } of inTurn(crowds, round)) {
        const result = await measureStorm(target, crowd, options, target.name === 'chorus' ? links : [])
        rounds.push({ round, target: target.name, variant: '', ...result })
        const { figures } = result
        progress(
          `round ${round}, ${target.name}: ${result.invalid ?? `all back after ${figures.backSeconds} s`}${figures.readsMost === undefined ? '' : `, at most ${figures.readsMost} reads of a conversation's changes by a server`}`,
        )
      }
    }
    const result: ScenarioResult = {
      scenario: 'storm',
      targets: Object.fromEntries(open.targets.map(({ name, description }) => [name, description])),
      settings: { chorus: chorusSettings, postgres: open.postgresSettings, storm, missedEach, plan, readsOfChanges },
      rounds,
      goals: [judge(rounds, options)],
      notes: [
        `all cut at once; ${missedEach} messages in each conversation while all clients are offline; first attempts spread over ${storm.spreadMs} ms; a client is back when it is ready and has all missed messages; time counts from the first attempt`,
        'the peer stores nothing and resends nothing: its figure is the time until all clients are connected and in their rooms',
        'reads are counted between server and Postgres, by a proxy in the harness that only counts',
      ],
    }
    return { result, versions: open.versions }
  } finally {
    await open.stop()
    for (const link of links) await link.close()
  }
}

async function measureStorm(
  target: Target,
  crowd: Population,
  options: Options,
  links: readonly StatementLink[],
): Promise<Pick<Round, 'figures' | 'invalid' | 'raw'>> {
  let reads: Reads | undefined
  let linkCpu = process.cpuUsage()
  try {
    const { outcome, usage } = await runStorm(
      {
        ...crowd,
        ...storm,
        missedEach: options.missedEach,
        host: '127.0.0.1',
        ports: target.ports,
        textChars: options.textChars,
        drainMs: options.drainMs,
      },
      {
        processes: target.processes,
        onPhase: (phase) => {
          if (phase === 'measuring') {
            for (const link of links) link.reset()
            linkCpu = process.cpuUsage()
          } else {
            linkCpu = process.cpuUsage(linkCpu)
            reads = links.length === 0 ? undefined : sumUp(links, crowd)
          }
        },
      },
    )
    const of = (role: string) => usage.find((used) => used.role === role)
    const { caughtUp } = outcome
    const own = await target.ownFigures()
    const { eventLoopLagMaxMs } = own
    return {
      figures: {
        ...(outcome.away === 0 && { backSeconds: Math.round(caughtUp.maxMs) / 1_000 }),
        backP50Ms: caughtUp.p50Ms,
        backP99Ms: caughtUp.p99Ms,
        missed: outcome.missed,
        refusedHandshakes: outcome.refusedHandshakes,
        refusedSends: outcome.refusedPosts,
        ...(reads !== undefined && { readsMost: reads.most, readsMean: reads.mean }),
        serverCpu: of('server')?.cpuShare ?? 0,
        serverResidentMb: of('server')?.residentMb ?? 0,
        databaseCpu: of('database')?.cpuShare ?? 0,
        redisCpu: of('redis')?.cpuShare ?? 0,
        generatorCpu: outcome.generatorCpuShare,
        linkCpu: Math.round((linkCpu.user + linkCpu.system) / outcome.measuredMs) / 1_000,
        ...(eventLoopLagMaxMs !== undefined && { eventLoopLagMaxMs }),
      },
      invalid: faultOf(outcome),
      raw: { outcome, usage, reads, own },
    }
  } catch (error) {
    return { figures: {}, invalid: error instanceof Error ? error.message : String(error), raw: undefined }
  }
}

interface Reads {
  /** Largest number of reads of one conversation from Postgres by one server. */
  readonly most: number
  readonly mean: number
  readonly mostBy: string
  /** Number of reads by statement name, for all servers together. */
  readonly byStatement: Readonly<Record<string, number>>
}

function sumUp(links: readonly StatementLink[], { conversations }: Population): Reads {
  let most = 0
  let mostBy = ''
  let sum = 0
  const byStatement: Record<string, number> = {}
  for (const [server, { counts }] of links.entries()) {
    // The counted ids can include ids of users, so select only the ids of conversations.
    for (const { id } of conversations) {
      const named = [...(counts.get(id) ?? [])]
      const reads = named.reduce((total, [, count]) => total + count, 0)
      sum += reads
      for (const [statement, count] of named) byStatement[statement] = (byStatement[statement] ?? 0) + count
      if (reads <= most) continue
      most = reads
      mostBy = `server ${server + 1}: ${named.map(([statement, count]) => `${count} ${statement}`).join(', ')}`
    }
  }
  const mean = Math.round((sum / (conversations.length * links.length)) * 100) / 100
  return { most, mean, mostBy, byStatement }
}

function faultOf(outcome: StormOutcome): string | undefined {
  const faults = [
    outcome.away > 0
      ? `${outcome.away} not back within ${storm.patienceMs / 1_000} s (${outcome.firstRefusal ?? ''})`
      : '',
    outcome.lost > 0 ? `${outcome.lost} deliveries lost` : '',
    outcome.doubled > 0 ? `${outcome.doubled} deliveries too many` : '',
    outcome.disconnected > 0 ? `${outcome.disconnected} connections ended` : '',
  ].filter((fault) => fault !== '')
  return faults.length === 0 ? undefined : `${faults.join('; ')} (${outcome.firstProblem ?? ''})`
}

function judge(rounds: readonly Round[], { clients, conversationsEach }: Options): Goal {
  const ours = rounds.filter(({ target }) => target === 'chorus')
  const isWhole = ours.every(({ invalid }) => invalid === undefined)
  const seconds = median(valuesOf(rounds, { target: 'chorus', variant: '', figure: 'backSeconds' }))
  const reads = Math.max(...ours.map(({ figures }) => figures.readsMost ?? Number.POSITIVE_INFINITY))
  return {
    id: 'P5',
    met: isWhole && seconds <= secondsGoal && reads <= readsGoal,
    text: isWhole
      ? `${clients} clients × ${conversationsEach} conversations caught up after ${seconds.toFixed(1)} s (goal ${secondsGoal} s), at most ${reads} reads of changes per conversation and server (goal ${readsGoal}), nothing missed`
      : 'a round is not valid, see above',
  }
}
