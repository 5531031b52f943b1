/**
 * Runs one load against one system (Chorus or a compared one). Returns named figures, and the
 * reason if they are not valid.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { runJob } from '../load/run-job.ts'
import type { JobRun } from '../load/run-job.ts'
import type { Load } from '../load/job.ts'
import type { Options } from '../options/options.ts'
import { ProcessWatch } from '../machine/process-watch.ts'
import type { Audience, Target } from '../targets/target.ts'

export interface Measurement {
  readonly figures: Readonly<Record<string, number>>
  readonly invalid: string | undefined
  readonly raw: unknown
}

export async function measure(
  target: Target,
  audience: Audience,
  load: Load,
  options: Pick<Options, 'textChars' | 'warmUpMs' | 'measureMs' | 'drainMs'>,
): Promise<Measurement> {
  const { textChars, warmUpMs, measureMs, drainMs } = options
  await target.ownFigures()
  let run: JobRun
  try {
    run = await runJob(
      { ...audience, host: '127.0.0.1', ports: target.ports, load, textChars, warmUpMs, measureMs, drainMs },
      target.processes,
    )
  } catch (error) {
    await awaitRest(target)
    return { figures: {}, invalid: error instanceof Error ? error.message : String(error), raw: undefined }
  }
  const own = await target.ownFigures()
  if (run.outcome.late > 0) await awaitRest(target)
  const { outcome, usage } = run
  const { measured } = outcome
  const seconds = measured.durationMs / 1_000
  const of = (role: string) => usage.find((used) => used.role === role)
  const database = of('database')
  // Processor time per message is comparable between runs: a busy machine makes all systems slower,
  // but hardly changes their processor time.
  const usPerMessage = (cpuShare: number): number =>
    measured.acknowledged === 0 ? 0 : Math.round((cpuShare * seconds * 1_000_000) / measured.acknowledged)
  return {
    figures: {
      ackPerSecond: Math.round(measured.acknowledged / seconds),
      deliveriesPerSecond: Math.round(measured.delivered / seconds),
      ackP50Ms: measured.acknowledgement.p50Ms,
      ackP99Ms: measured.acknowledgement.p99Ms,
      deliveryP50Ms: measured.delivery.p50Ms,
      deliveryP99Ms: measured.delivery.p99Ms,
      lastDeliveryP50Ms: measured.lastDelivery.p50Ms,
      lastDeliveryP99Ms: measured.lastDelivery.p99Ms,
      serverCpu: of('server')?.cpuShare ?? 0,
      serverUsPerMessage: usPerMessage(of('server')?.cpuShare ?? 0),
      serverResidentMb: of('server')?.residentMb ?? 0,
      serverResidentPeakMb: of('server')?.residentPeakMb ?? 0,
      ...(database !== undefined && {
        databaseCpu: database.cpuShare,
        databaseUsPerMessage: usPerMessage(database.cpuShare),
      }),
      generatorCpu: measured.generatorCpuShare,
      ...own,
    },
    invalid: faultOf(run, load),
    raw: { outcome, usage, own },
  }
}

const restCheckMs = 500
const restMaxMs = 20_000
/** Processor use, in cores, below which the servers together count as idle. */
const restCpuShare = 0.1

/**
 * Waits until the servers are idle, so that the next run does not include remaining work of this
 * run. Gives up after `restMaxMs`.
 */
async function awaitRest(target: Target): Promise<void> {
  const watch = new ProcessWatch(target.processes.filter(({ role }) => role === 'server'))
  const giveUpAtMs = performance.now() + restMaxMs
  while (performance.now() < giveUpAtMs) {
    watch.begin()
    await pause(restCheckMs)
    const [server] = watch.end()
    if (server === undefined || server.cpuShare < restCpuShare) return
  }
}

/**
 * Returns why the figures of a run are not valid; undefined if they are. Figures with missing
 * deliveries are worthless.
 */
function faultOf({ outcome }: JobRun, load: Load): string | undefined {
  const faults = [
    outcome.lost > 0 ? `${outcome.lost} deliveries lost` : '',
    outcome.doubled > 0 ? `${outcome.doubled} deliveries too many` : '',
    outcome.late > 0 ? `${outcome.late} deliveries still outstanding after ${outcome.drainMs} ms` : '',
    outcome.refused > 0 ? `${outcome.refused} sends refused (${outcome.firstRefusal ?? ''})` : '',
    outcome.acknowledged + outcome.refused < outcome.sent
      ? `${outcome.sent - outcome.acknowledged - outcome.refused} sends never answered`
      : '',
    outcome.disconnected > 0 ? `${outcome.disconnected} connections ended (${outcome.firstProblem ?? ''})` : '',
    load.kind !== 'idle' && outcome.measured.acknowledged === 0 ? 'nothing was acknowledged' : '',
  ].filter((fault) => fault !== '')
  return faults.length === 0 ? undefined : faults.join('; ')
}

/**
 * Returns the items in an order that changes from round to round, so that none always comes first
 * or last.
 */
export function inTurn<Item>(items: readonly Item[], round: number): Item[] {
  const first = (round - 1) % items.length
  return [...items.slice(first), ...items.slice(0, first)]
}
