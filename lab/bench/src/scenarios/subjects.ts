/**
 * The benchmark scenario `subjects`: an API key looks up the conversations of random subjects, by
 * GET and by PUT, in a database of 10 000 conversations and in one of 1 000 000, alternately. A
 * look-up must not cost more among many conversations. Each server is called over one open
 * connection.
 */
import { Agent, request } from 'node:http'
import { createApiKey, startPostgres, startServer } from '@chorus/testkit'
import type { Postgres, ServerProcess } from '@chorus/testkit'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const ratioGoal = 1.2
const sizes = { few: 10_000, many: 1_000_000 } as const
type Size = keyof typeof sizes
const names = ['few', 'many'] as const
const methods = ['GET', 'PUT'] as const
const lookUpsPerRound = 300
const insertedTogether = 100_000
const timeoutMs = 20_000

export async function runSubjects(options: Options, progress: Progress): Promise<ScenarioRun> {
  const postgres = await startPostgres()
  const opened: SubjectReader[] = []
  try {
    const open = async (size: Size): Promise<SubjectReader> => {
      const reader = await openReader(postgres, size, options, progress)
      opened.push(reader)
      return reader
    }
    const readers = { few: await open('few'), many: await open('many') }
    const rounds: Round[] = []
    // The first round warms up servers, plans and caches.
    for (let round = 0; round <= options.rounds; round++) {
      for (const method of methods) {
        const took = { few: [] as number[], many: [] as number[] }
        for (let lookUp = 0; lookUp < lookUpsPerRound; lookUp++)
          for (const name of lookUp % 2 === 0 ? names : names.toReversed())
            took[name].push(await readers[name].lookUp(method, Math.ceil(Math.random() * sizes[name])))
        if (round === 0) continue
        for (const name of names) {
          const lookUpP50Ms = Math.round(median(took[name]) * 1_000) / 1_000
          rounds.push({
            round,
            target: 'chorus',
            variant: `${method}, ${name}`,
            figures: { lookUpP50Ms },
            raw: undefined,
          })
        }
        progress(`round ${round}, ${method}: ${median(took.few).toFixed(2)} and ${median(took.many).toFixed(2)} ms`)
      }
    }
    const result: ScenarioResult = {
      scenario: 'subjects',
      targets: { chorus: 'one server for each database, Postgres' },
      settings: { sizes, lookUpsPerRound },
      rounds,
      goals: [judge(rounds)],
      notes: ['one request at a time; a PUT of an existing subject stores title, url and data again'],
    }
    return { result, versions: {} }
  } finally {
    for (const reader of opened) await reader.close()
    await postgres.remove()
  }
}

async function openReader(
  postgres: Postgres,
  size: Size,
  options: Options,
  progress: Progress,
): Promise<SubjectReader> {
  const databaseUrl = await postgres.createDatabase()
  const env = { NODE_ENV: 'production', LIMIT_KEY_REQUESTS: '0', LIMIT_MEMBERS: '0', ...options.serverEnvironment }
  const server = await startServer({ databaseUrl, env })
  try {
    const key = await createApiKey(server.database)
    progress(`inserting ${sizes[size]} conversations with subjects`)
    for (let from = 0; from < sizes[size]; from += insertedTogether)
      await postgres.query(fillSql, [key.id, from + 1, Math.min(from + insertedTogether, sizes[size])], databaseUrl)
    await postgres.query('vacuum analyze', [], databaseUrl)
    return new SubjectReader(server, key.secret)
  } catch (error) {
    await server.remove()
    throw error
  }
}

/** Calls the server API over one connection. */
class SubjectReader {
  readonly #server: ServerProcess
  readonly #secret: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })

  constructor(server: ServerProcess, secret: string) {
    this.#server = server
    this.#secret = secret
  }

  /** Looks up the conversation of a subject. Resolves to the time in milliseconds. */
  lookUp(method: (typeof methods)[number], subject: number): Promise<number> {
    const path = `/v1/admin/subjects/order/${subject}/conversation`
    const body =
      method === 'GET' ? undefined : JSON.stringify({ kind: 'group', title: `Order ${subject}`, members: [] })
    const startedAtMs = performance.now()
    return new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(path, this.#server.url),
        {
          method,
          agent: this.#agent,
          headers: {
            authorization: `Bearer ${this.#secret}`,
            ...(body !== undefined && {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(body),
            }),
          },
        },
        (incoming) => {
          let text = ''
          incoming.setEncoding('utf8')
          incoming.on('data', (piece: string) => {
            text += piece
          })
          incoming.once('error', reject)
          incoming.once('end', () => {
            if (incoming.statusCode === 200) resolve(performance.now() - startedAtMs)
            else reject(new Error(`unable to ${method} ${path}; the server answered ${incoming.statusCode} ${text}`))
          })
        },
      )
      outgoing.once('error', reject)
      outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`unable to ${method} ${path}; no answer`)))
      outgoing.end(body)
    })
  }

  async close(): Promise<void> {
    this.#agent.destroy()
    await this.#server.remove()
  }
}

/**
 * Inserts conversations of orders, in the form in which the server stores them: the bot of the key
 * is their owner. Parameters: $1 id of the key, $2 and $3 first and last number of an order.
 */
const fillSql = `
  with made as (
    select gen_random_uuid() as id, n::text as subject, bot_user as bot
      from generate_series($2::int, $3::int) as n, api_keys where api_keys.id = $1
  ), new_conversations as (
    insert into conversations (id, kind, seq, member_version, member_count, subject_type, subject_id, subject_title)
    select id, 'group', 2, 2, 1, 'order', subject, 'Order ' || subject from made
  ), created as (
    insert into changes (conversation, seq, at, type, actor)
    select id, 1, clock_timestamp(), 'conversation.created', bot from made
  ), joined as (
    insert into changes (conversation, seq, at, type, actor, user_id, role)
    select id, 2, clock_timestamp(), 'member.joined', bot, bot, 'owner' from made
  )
  insert into members (conversation, user_id, role, joined_seq, read_seq)
  select id, bot, 'owner', 2, 2 from made`

function judge(rounds: readonly Round[]): Goal {
  const of = (variant: string): number => median(valuesOf(rounds, { target: 'chorus', variant, figure: 'lookUpP50Ms' }))
  const ratios = methods.map((method) => of(`${method}, many`) / of(`${method}, few`))
  const figures = methods.map((method, index) => `${method} ${ratios[index]?.toFixed(2)} ×`).join(', ')
  return {
    id: 'P12',
    met: ratios.every((ratio) => ratio <= ratioGoal),
    text: `look-up of a subject among ${sizes.many.toLocaleString('en')} conversations: ${figures} (goal ${ratioGoal} × that among ${sizes.few.toLocaleString('en')})`,
  }
}
