/**
 * The benchmark scenario `history`: reads pages of messages over HTTP from random positions of a
 * long and of a short conversation, alternately. A page must not cost more in a long conversation.
 * All requests use one open connection: opening a connection costs as much as a page, and would
 * hide a difference.
 */
import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { HttpUser, startPostgres, startServer } from '@chorus/testkit'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import { chorusSettings } from '../targets/chorus.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const ratioGoal = 1.2
const lengths = { short: 10_000, long: 1_000_000 } as const
const pagesPerRound = 300
const pageMessages = 50
const pageTimeoutMs = 20_000

export async function runHistory(options: Options, progress: Progress): Promise<ScenarioRun> {
  const postgres = await startPostgres()
  try {
    const databaseUrl = await postgres.createDatabase()
    const server = await startServer({ databaseUrl, env: { ...chorusSettings, ...options.serverEnvironment } })
    try {
      const person = await HttpUser.signUp(server.url)
      const reader = new PageReader(server.port, person.cookie ?? '')
      const conversations: Record<keyof typeof lengths, string> = {
        short: await person.createConversation('group', [], 'short'),
        long: await person.createConversation('group', [], 'long'),
      }
      for (const name of ['short', 'long'] as const) {
        progress(`filling the ${name} conversation with ${lengths[name]} messages`)
        await postgres.query(fillSql, [conversations[name], person.id, lengths[name], randomUUID()], databaseUrl)
      }
      await postgres.query('vacuum analyze', [], databaseUrl)
      const rounds: Round[] = []
      for (let round = 1; round <= options.rounds; round++) {
        const took = { short: [] as number[], long: [] as number[] }
        for (let page = 0; page < pagesPerRound; page++) {
          for (const name of page % 2 === 0 ? (['short', 'long'] as const) : (['long', 'short'] as const)) {
            const before = pageMessages + 10 + Math.floor(Math.random() * (lengths[name] - pageMessages))
            const path = `/v1/conversations/${conversations[name]}/messages?before=${before}&limit=${pageMessages}`
            const startedAtMs = performance.now()
            const body = await reader.read(path)
            took[name].push(performance.now() - startedAtMs)
            const { messages } = JSON.parse(body) as { messages: unknown[] }
            if (messages.length !== pageMessages) throw new Error(`unable to measure; ${path} is not a full page`)
          }
        }
        for (const name of ['short', 'long'] as const) {
          const pageP50Ms = Math.round(median(took[name]) * 1_000) / 1_000
          rounds.push({ round, target: 'chorus', variant: name, figures: { pageP50Ms }, raw: undefined })
        }
        progress(`round ${round}: ${median(took.short).toFixed(2)} ms and ${median(took.long).toFixed(2)} ms`)
      }
      reader.close()
      const result: ScenarioResult = {
        scenario: 'history',
        targets: { chorus: 'a page of 50 messages over HTTP, Postgres' },
        settings: { lengths, pagesPerRound, pageMessages },
        rounds,
        goals: judge(rounds),
        notes: ['one request at a time over one connection; pages begin at random places'],
      }
      return { result, versions: {} }
    } finally {
      await server.stop()
      await server.remove()
    }
  } finally {
    await postgres.remove()
  }
}

class PageReader {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  readonly #port: number
  readonly #cookie: string

  constructor(port: number, cookie: string) {
    this.#port = port
    this.#cookie = cookie
  }

  read(path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        { host: '127.0.0.1', port: this.#port, path, agent: this.#agent, headers: { cookie: this.#cookie } },
        (incoming) => {
          let body = ''
          incoming.setEncoding('utf8')
          incoming.on('data', (text: string) => {
            body += text
          })
          incoming.once('error', reject)
          incoming.once('end', () => {
            if (incoming.statusCode === 200) resolve(body)
            else reject(new Error(`unable to read ${path}; the server answered ${incoming.statusCode} ${body}`))
          })
        },
      )
      outgoing.once('error', reject)
      outgoing.setTimeout(pageTimeoutMs, () => outgoing.destroy(new Error(`unable to read ${path}; no answer`)))
      outgoing.end()
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

/**
 * Inserts messages in the form in which the server stores them. Parameters: $1 conversation, $2
 * sender, $3 number of messages, $4 seed of the client ids.
 */
const fillSql = `
  with before as (select seq from conversations where id = $1::uuid),
  added as (
    insert into changes (conversation, seq, at, type, actor, client_id, version, text)
    select $1::uuid, before.seq + n, now(), 'message.created', $2::uuid, md5($4::text || n)::uuid, before.seq + n,
           'message number ' || n || ' says about as much as people say in a line of chat'
      from before, generate_series(1, $3::int) as n
    returning 1)
  update conversations set seq = seq + (select count(*) from added),
         last_message_seq = seq + (select count(*) from added), last_xid = pg_current_xact_id()
   where id = $1::uuid`

function judge(rounds: readonly Round[]): Goal[] {
  const of = (variant: string): number => median(valuesOf(rounds, { target: 'chorus', variant, figure: 'pageP50Ms' }))
  const ratio = of('long') / of('short')
  return [
    {
      id: 'P6',
      met: ratio <= ratioGoal,
      text: `${ratio.toFixed(2)} × the time for a page out of ${lengths.long.toLocaleString('en')} messages (goal ${ratioGoal} × that out of ${lengths.short.toLocaleString('en')})`,
    },
  ]
}
