/**
 * A server is killed twenty times while clients send, on each database engine. Afterwards every
 * acknowledged message is in the log exactly once, and the log has no gap. Every client has caught
 * up, and has reported every change to its application exactly once, in order.
 */
import { randomUUID } from 'node:crypto'
import { createChatClient, createMemoryStore } from '@chorus/client'
import type { ChatClient, Clock } from '@chorus/client'
import { hasPostgres, HttpUser, SocketUser, startServer, usePostgres, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { describe, expect, it } from 'vitest'

const kills = 20
const env = { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_SIGN_INS_ADDRESS: '0', LIMIT_CONNECTIONS: '0' }

/**
 * A clock in real time, but with short random delays, because servers restart faster in this test
 * than in production.
 */
const hastyClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  random: () => Math.random() / 20,
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
}

/**
 * Result of one writer: the seqs of its acknowledged messages by clientId, and the order in which
 * it sent them.
 */
interface Written {
  readonly acknowledged: Map<string, number>
  readonly order: string[]
}

/** A writer that uses the SDK. The outbox of the SDK does all retries. */
class SdkWriter {
  readonly written: Written = { acknowledged: new Map(), order: [] }
  readonly noticed: number[] = []
  readonly errors: unknown[] = []
  limited = 0
  readonly #client: ChatClient
  readonly #conversation: string

  constructor(client: ChatClient, conversation: string) {
    this.#client = client
    this.#conversation = conversation
    client.onChange(({ conversation: changed, change }) => {
      if (changed === conversation) this.noticed.push(change.seq)
    })
    client.onLimited(() => {
      this.limited += 1
    })
  }

  async write(count: number): Promise<void> {
    const sent = await this.#client.conversation(this.#conversation).messages.send({ text: `sdk ${count}` })
    this.written.order.push(sent.clientId)
    sent.acknowledged.then(
      ({ seq }) => this.written.acknowledged.set(sent.clientId, seq),
      (error: unknown) => this.errors.push(error),
    )
  }

  get waiting(): number {
    return this.written.order.length - this.written.acknowledged.size
  }

  get top(): number {
    return this.noticed.at(-1) ?? 0
  }
}

/**
 * Pauses a writer between two messages. Without the pause, a reconnecting client would miss so many
 * messages that it would rightly be `limited`, which means that it gets only the latest state.
 */
const breathe = () => new Promise((resolve) => setTimeout(resolve, 5))

/**
 * Writes with a stock socket.io-client. It repeats each message until that is acknowledged, and
 * only then sends the next one.
 */
async function writeRaw(
  server: ServerProcess,
  user: HttpUser,
  conversation: string,
  isGoing: () => boolean,
): Promise<Written> {
  const written: Written = { acknowledged: new Map(), order: [] }
  const socket = SocketUser.open(server.url, {
    cookie: user.cookie,
    client: { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 300 },
  })
  for (let count = 0; isGoing(); count += 1) {
    const clientId = randomUUID()
    written.order.push(clientId)
    while (!written.acknowledged.has(clientId)) {
      await waitForFact(() => socket.socket.connected, { what: 'a connection', timeoutMs: 30_000, everyMs: 5 })
      const answer = await socket
        .command('send', { conversation, clientId, text: `raw ${count}` }, 1_000)
        .catch(() => undefined)
      if (answer?.ok === true) written.acknowledged.set(clientId, answer.seq as number)
    }
    await breathe()
  }
  socket.close()
  return written
}

/** Writes with HTTP requests only. */
async function writeHttp(user: HttpUser, conversation: string, isGoing: () => boolean): Promise<Written> {
  const written: Written = { acknowledged: new Map(), order: [] }
  for (let count = 0; isGoing(); count += 1) {
    const clientId = randomUUID()
    written.order.push(clientId)
    while (!written.acknowledged.has(clientId)) {
      try {
        written.acknowledged.set(clientId, (await user.send(conversation, `http ${count}`, clientId)).seq)
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    await breathe()
  }
  return written
}

/** Yields the same pseudo-random numbers from 0 to 1 in every run with the same seed. */
function* moments(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    yield state / 2_147_483_648
  }
}

describe.each([
  ['the embedded engine', false],
  ['Postgres', true],
] as const)('kill -9 under load, on %s', (_engine, usesPostgres) => {
  it.skipIf(usesPostgres && !hasPostgres())(
    '[ACK1] [IDEM1] [ORD1] [ORD2] [CLI1] [RES1] twenty kills lose, repeat or reorder no acknowledged message',
    async () => {
      const databaseUrl = usesPostgres ? await (await usePostgres()).createDatabase() : undefined
      const server = await startServer({ env, ...(databaseUrl !== undefined && { databaseUrl }) })
      const clients: ChatClient[] = []
      try {
        const owner = await HttpUser.signUp(() => server.url)
        const other = await HttpUser.signUp(() => server.url)
        const sdkErrors: unknown[] = []
        for (let index = 0; index < 3; index += 1) {
          const client = createChatClient({
            url: server.url,
            store: createMemoryStore(),
            clock: hastyClock,
            onError: (error) => sdkErrors.push(error),
            ...(index === 2 && { transports: ['sse'] as const }),
          })
          clients.push(client)
          await client.start()
          await client.signUp({
            handle: `sdk_${randomUUID().slice(0, 8)}`,
            password: 'a long enough password',
            name: 'Sdk',
          })
        }
        const ids = clients.map((client) => {
          const state = client.session.get()
          if (state.status !== 'signed-in') throw new Error(`signed out: ${state.status}`)
          return state.user.id
        })
        const probe = await SocketUser.connect(server.url, { cookie: owner.cookie })
        const conversation = await owner.createConversation('group', [...ids, other.id], 'under fire')
        await Promise.all(
          clients.map((client) =>
            waitForFact(
              () => client.data.get() === 'live' && client.conversations.get().some(({ id }) => id === conversation),
              { what: 'the conversation in every client' },
            ),
          ),
        )
        const writers = clients.map((client) => new SdkWriter(client, conversation))

        // Wait until every client has a cursor from after it joined the conversation. Then no
        // resume needs to be `limited`.
        const settled = await owner.send(conversation, 'settled')
        for (const writer of writers) await waitForFact(() => writer.top >= settled.seq, { what: 'the first message' })
        const checkpoints = probe.named('checkpoint').length
        await waitForFact(() => probe.named('checkpoint').length > checkpoints, { what: 'a checkpoint' })
        probe.close()
        for (const writer of writers) {
          writer.limited = 0
          await writer.write(-1)
          await waitForFact(() => writer.waiting === 0, { what: 'the first acknowledgement' })
        }

        let isGoing = true
        const raw = writeRaw(server, other, conversation, () => isGoing)
        const http = writeHttp(owner, conversation, () => isGoing)
        const sdk = writers.map(async (writer) => {
          for (let count = 0; isGoing; count += 1) {
            // Keep at most ten messages unacknowledged, so that the outbox does not grow without
            // limit while the server is down.
            await waitForFact(() => !isGoing || writer.waiting < 10, { timeoutMs: 60_000, everyMs: 5 })
            if (isGoing) await writer.write(count)
          }
        })
        const countAcknowledged = () => writers.map(({ written }) => written.acknowledged.size)

        const chance = moments(usesPostgres ? 2 : 1)
        for (let kill = 0; kill < kills; kill += 1) {
          // Wait for every client: on a slow machine, one that has just failed to connect may wait
          // for its next attempt while the others get acknowledgements.
          const before = countAcknowledged()
          await waitForFact(() => countAcknowledged().every((count, who) => count > (before[who] ?? 0)), {
            what: `acknowledgements of every client before kill ${kill}`,
            timeoutMs: 60_000,
            everyMs: 2,
          })
          await new Promise((resolve) => setTimeout(resolve, chance.next().value * 120))
          await server.kill9()
          await server.start()
        }
        isGoing = false
        const written = [await raw, await http]
        await Promise.all(sdk)
        for (const [index, client] of clients.entries()) {
          await waitForFact(
            () =>
              client.outbox.get().every(({ status }) => status.state === 'acknowledged') &&
              writers[index]!.waiting === 0,
            {
              what: 'an empty outbox',
              timeoutMs: 30_000,
            },
          )
          expect(writers[index]!.errors).toEqual([])
        }
        written.push(...writers.map((writer) => writer.written))
        // A barrier: every client must receive this last message.
        const last = await owner.send(conversation, 'barrier')
        for (const writer of writers)
          await waitForFact(() => writer.top >= last.seq, { what: 'the barrier', timeoutMs: 20_000 })

        const log = await other.readLog(conversation)
        expect(log.map(({ seq }) => seq)).toEqual(log.map((_change, index) => index + 1))
        expect(log.at(-1)!.seq).toBe(last.seq)
        const seqOf = new Map<string, number>()
        for (const { message, seq } of log) {
          if (message === undefined) continue
          expect(seqOf.has(message.clientId), `${message.text} is there twice`).toBe(false)
          seqOf.set(message.clientId, seq)
        }
        for (const { acknowledged, order } of written) {
          for (const [clientId, seq] of acknowledged) expect(seqOf.get(clientId)).toBe(seq)
          expect(acknowledged.size).toBe(order.length)
          const seqs = order.map((clientId) => seqOf.get(clientId)!)
          expect(seqs).toEqual([...seqs].sort((a, b) => a - b))
        }
        const invoked = new Set(written.flatMap(({ order }) => order))
        expect([...seqOf.keys()].filter((clientId) => !invoked.has(clientId))).toHaveLength(2) // The first message and the barrier.
        for (const writer of writers) {
          const first = writer.noticed[0]!
          expect(writer.limited).toBe(0)
          expect(writer.noticed).toEqual(Array.from({ length: last.seq - first + 1 }, (_, index) => first + index))
        }
        expect(sdkErrors).toEqual([])
      } finally {
        await Promise.all(clients.map((client) => client.stop()))
        await server.remove()
      }
    },
    240_000,
  )
})
