/**
 * The benchmark scenario `outbox`: an integrator commits messages in transactions of its own
 * database, a relay posts them through the server API, and a socket client receives them. The
 * integrator and Chorus have a Postgres each. A round is valid only if each committed message was
 * received exactly once.
 *
 * The time of a message is from sending `commit` to the event at the client, both in this process.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { createChorusClient, createOutboxTable, postInTransaction, startOutboxRelay } from '@chorus/backend'
import {
  createApiKey,
  makeClaims,
  signToken,
  SocketUser,
  startPostgres,
  startServer,
  waitForFact,
} from '@chorus/testkit'
import pg from 'pg'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const p50MaxMs = 300
const conversations = 20
/** Mean time between two commits. The times differ, so commits meet every phase of the relay's polls. */
const meanPauseMs = 25
const target = 'chorus'

export async function runOutbox(options: Options, progress: Progress): Promise<ScenarioRun> {
  const ends: (() => Promise<unknown>)[] = []
  try {
    const outbox = await openOutbox(options, ends)
    await postUntil(outbox, performance.now() + options.warmUpMs)
    const rounds: Round[] = []
    for (let round = 1; round <= options.rounds; round++) {
      const sent = await postUntil(outbox, performance.now() + options.measureMs)
      const took = sent.map(({ id, atMs }) => (outbox.received.get(id)?.[0] ?? Number.POSITIVE_INFINITY) - atMs)
      const sorted = took.toSorted((left, right) => left - right)
      const figures = {
        deliveryP50Ms: toTenths(median(took)),
        deliveryP99Ms: toTenths(sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN),
        messages: sent.length,
      }
      const lost = sent.filter(({ id }) => !outbox.received.has(id)).length
      const doubled = sent.filter(({ id }) => (outbox.received.get(id)?.length ?? 0) > 1).length
      const invalid = lost + doubled > 0 ? `${lost} messages lost, ${doubled} received twice` : undefined
      rounds.push({ round, target, variant: '', figures, invalid, raw: { sent: sent.length, lost, doubled } })
      progress(`round ${round}: ${invalid ?? `${figures.deliveryP50Ms} ms`}`)
    }
    const result: ScenarioResult = {
      scenario: 'outbox',
      targets: { [target]: 'one server, one relay, two Postgres' },
      settings: { conversations, meanPauseMs },
      rounds,
      goals: [judge(rounds)],
      notes: ['relay with its default settings, in the process that measures'],
    }
    return { result, versions: {} }
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

interface Outbox {
  readonly pool: pg.Pool
  readonly conversations: readonly string[]
  /** Times at which the client received each message, by its `clientId`. */
  readonly received: ReadonlyMap<string, readonly number[]>
  readonly drainMs: number
}

async function openOutbox(options: Options, ends: (() => Promise<unknown>)[]): Promise<Outbox> {
  const [own, integrators] = [await startPostgres(), await startPostgres()]
  ends.push(own.remove, integrators.remove)
  const server = await startServer({
    databaseUrl: await own.createDatabase(),
    env: { NODE_ENV: 'production', LIMIT_SENDS: '0', ...options.serverEnvironment },
  })
  ends.push(server.remove)
  const key = await createApiKey(server.database)
  const client = createChorusClient({ url: server.url, secret: key.secret })
  await client.users.put('buyer', { name: 'Buyer' })
  const created = await Promise.all(
    Array.from({ length: conversations }, (_, n) =>
      client.subjects.putConversation({ type: 'order', id: String(n) }, { kind: 'group', members: ['buyer'] }),
    ),
  )
  const received = new Map<string, number[]>()
  const user = await SocketUser.connect(server.url, {
    client: { auth: { token: signToken(key.signing, makeClaims('buyer')) } },
  })
  ends.push(async () => user.close())
  user.socket.on('changes', ({ changes }: { changes: readonly { message?: { clientId: string } }[] }) => {
    const atMs = performance.now()
    for (const { message } of changes)
      if (message !== undefined) received.set(message.clientId, [...(received.get(message.clientId) ?? []), atMs])
  })
  const pool = new pg.Pool({ connectionString: await integrators.createDatabase() })
  ends.push(() => pool.end())
  await createOutboxTable(pool)
  await pool.query('create table orders (id uuid primary key, at timestamptz not null default now())')
  const relay = startOutboxRelay({ pool, client })
  ends.push(() => relay.stop())
  return { pool, conversations: created.map(({ conversation }) => conversation.id), received, drainMs: options.drainMs }
}

interface SentMessage {
  readonly id: string
  readonly atMs: number
}

/** Commits messages until a time, one after another, then waits until all are received. */
async function postUntil(outbox: Outbox, endMs: number): Promise<SentMessage[]> {
  const sent: SentMessage[] = []
  while (sent.length === 0 || performance.now() < endMs) {
    sent.push(await postOne(outbox, sent.length))
    await pause(Math.random() * 2 * meanPauseMs)
  }
  // Late messages show in the round.
  await waitForFact(() => sent.every(({ id }) => outbox.received.has(id)), {
    what: 'all messages',
    timeoutMs: outbox.drainMs,
  }).catch(() => undefined)
  return sent
}

async function postOne({ pool, conversations: ids }: Outbox, count: number): Promise<SentMessage> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await client.query('insert into orders (id) values ($1)', [randomUUID()])
    const conversation = ids[count % ids.length] ?? ''
    const { id } = await postInTransaction(client, { conversation, text: `Your order is on its way: update ${count}.` })
    const atMs = performance.now()
    await client.query('commit')
    return { id, atMs }
  } finally {
    client.release()
  }
}

const toTenths = (ms: number): number => Math.round(ms * 10) / 10

function judge(rounds: readonly Round[]): Goal {
  const values = valuesOf(rounds, { target, variant: '', figure: 'deliveryP50Ms' })
  const isWhole = values.length === rounds.length
  const p50Ms = median(values)
  return {
    id: 'P11',
    met: isWhole && p50Ms <= p50MaxMs,
    text: isWhole
      ? `${p50Ms.toFixed(0)} ms from commit to delivery at p50 (goal ${p50MaxMs} ms)`
      : 'a round failed, see above',
  }
}
