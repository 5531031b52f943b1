/**
 * The benchmark scenario `interest`: measures the bytes through Redis per message while servers are
 * added to which no member of the conversation is connected. First members are connected to both of
 * two servers, then to the same two of four servers.
 */
import { startPostgres, startRedis } from '@chorus/testkit'
import type { Redis } from '@chorus/testkit'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import { chorusSettings, startChorus } from '../targets/chorus.ts'
import { measure } from './measure.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const ratioGoal = 1.1
const serving = 2
const serverCounts = [2, 4] as const
const messagesPerSecond = 200

export async function runInterest(options: Options, progress: Progress): Promise<ScenarioRun> {
  const rounds: Round[] = []
  const postgres = await startPostgres()
  try {
    for (let round = 1; round <= options.rounds; round++) {
      for (const servers of serverCounts) {
        const redis = await startRedis()
        const target = await startChorus({
          databases: postgres,
          servers,
          redisUrl: redis.url,
          environment: options.serverEnvironment,
        })
        try {
          const audience = await target.room(serving, serving)
          const atSome = { ...target, ports: target.ports.slice(0, serving) }
          const load = { kind: 'rate', perSecond: messagesPerSecond } as const
          // Measure an equally long period without messages, to subtract the bytes that servers
          // exchange anyway.
          const idleBytes = await bytesDuring(redis, () => measure(atSome, audience, { kind: 'idle' }, options))
          const { bytes, result } = await bytesDuring(redis, () => measure(atSome, audience, load, options))
          const sent = (result.raw as { outcome?: { acknowledged?: number } } | undefined)?.outcome?.acknowledged ?? 0
          const bytesPerMessage = sent === 0 ? 0 : Math.round((bytes - idleBytes.bytes) / sent)
          rounds.push({
            round,
            target: 'chorus',
            variant: `${servers} servers`,
            figures: { bytesPerMessage, ...result.figures },
            invalid: result.invalid,
            raw: { bytes, idleBytes: idleBytes.bytes, ...(result.raw as object) },
          })
          progress(`round ${round}, ${servers} servers: ${result.invalid ?? `${bytesPerMessage} bytes a message`}`)
        } finally {
          await target.stop()
          await redis.remove()
        }
      }
    }
    const result: ScenarioResult = {
      scenario: 'interest',
      targets: { chorus: `a conversation served by ${serving} of the servers` },
      settings: { chorus: chorusSettings, messagesPerSecond },
      rounds,
      goals: judge(rounds),
      notes: [
        'bytes in and out of Redis by its own count, minus the bytes of the same servers in the same time without messages',
      ],
    }
    return { result, versions: {} }
  } finally {
    await postgres.remove()
  }
}

async function bytesDuring<Result>(
  redis: Redis,
  run: () => Promise<Result>,
): Promise<{ readonly bytes: number; readonly result: Result }> {
  const read = async (): Promise<number> =>
    Number(await redis.info('total_net_input_bytes')) + Number(await redis.info('total_net_output_bytes'))
  const before = await read()
  const result = await run()
  return { bytes: (await read()) - before, result }
}

function judge(rounds: readonly Round[]): Goal[] {
  const of = (servers: number): number =>
    median(valuesOf(rounds, { target: 'chorus', variant: `${servers} servers`, figure: 'bytesPerMessage' }))
  const [few, many] = serverCounts
  const ratio = of(many) / of(few)
  return [
    {
      id: 'P7',
      met: ratio <= ratioGoal,
      text: `${of(many)} bytes through Redis per message with ${many} servers, ${of(few)} with ${few} (${ratio.toFixed(2)} ×, goal ${ratioGoal} ×)`,
    },
  ]
}
