/** The promises of the outbox (rule OUT1), for every kind of database that integrators may have. */
import { randomUUID } from 'node:crypto'
import { waitForFact } from '@chorus/testkit'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createChorusClient } from '../api/chorus-client.ts'
import type { QueryClient, StatementClient } from '../outbox/database.ts'
import {
  type OutboxProblem,
  type OutboxRelay,
  type OutboxRelayOptions,
  relayBounds,
  startOutboxRelay,
} from '../outbox/outbox-relay.ts'
import { createOutboxTable, readOutboxState, retryDeadLetters } from '../outbox/outbox-table.ts'
import { postInTransaction } from '../outbox/post-in-transaction.ts'
import { problem, type RecordedPost, type RecordedRequest, StandIn } from './stand-in.ts'

export interface OutboxDatabase {
  readonly client: QueryClient
  transaction<Result>(work: (client: StatementClient) => Promise<Result>): Promise<Result>
  close(): Promise<void>
}

export const testSecret = 'sk_0123456789abcdef_abcdefghijklmnop'

/** Returns whether a request stores a message in this conversation. */
export function isPostTo(conversation: string, { method, path }: RecordedRequest): boolean {
  return method === 'POST' && path.includes(conversation)
}

export function describeOutbox(name: string, open: () => Promise<OutboxDatabase>): void {
  describe(`the outbox in ${name}`, () => {
    let database: OutboxDatabase
    let server: StandIn
    let problems: OutboxProblem[]
    const relays: OutboxRelay[] = []

    beforeAll(async () => {
      database = await open()
      await createOutboxTable(database.client)
    })
    beforeEach(async () => {
      problems = []
      server = await new StandIn().start()
    })
    afterEach(async () => {
      await Promise.all(relays.splice(0).map((relay) => relay.stop({ timeoutMs: 0 })))
      await server.stop()
      await database.client.query('truncate chorus_outbox, chorus_outbox_lane, chorus_outbox_dead')
    })
    afterAll(() => database.close())

    const start = (options: Partial<OutboxRelayOptions> = {}): OutboxRelay => {
      const relay = startOutboxRelay({
        pool: database.client,
        client: createChorusClient({ url: server.url, secret: testSecret }),
        onProblem: (found) => problems.push(found),
        pollMs: 10,
        timeoutMs: 1_000,
        ...options,
      })
      relays.push(relay)
      return relay
    }
    const post = (conversation: string, text: string): Promise<{ id: string }> =>
      database.transaction((client) => postInTransaction(client, { conversation, text }))
    const state = () => readOutboxState(database.client)
    const whenEmpty = () => waitForFact(async () => (await state()).waiting === 0, { what: 'an empty outbox' })
    const heldLanes = async (): Promise<number> =>
      (await database.client.query('select 1 from chorus_outbox_lane where held_by is not null')).rows.length

    it('[OUT1] posts a committed row with its id as clientId', async () => {
      const conversation = randomUUID()
      const card = { type: 'quote', title: 'Bike', state: 'open', actions: [{ id: 'accept', label: 'Accept' }] }
      const { id } = await database.transaction((client) =>
        postInTransaction(client, { conversation, as: 'seller', text: 'Grüße 👋', card }),
      )
      start()
      await whenEmpty()
      expect(server.posts).toEqual([{ conversation, clientId: id, text: 'Grüße 👋', card, as: 'seller' }])
    })

    it('[OUT1] posts nothing of a transaction that rolled back', async () => {
      const conversation = randomUUID()
      start()
      const rolledBack = database.transaction(async (client) => {
        await postInTransaction(client, { conversation, text: 'never' })
        throw new Error('the order failed')
      })
      await expect(rolledBack).rejects.toThrow('the order failed')
      await post(conversation, 'barrier')
      await waitForFact(() => server.posts.length > 0)
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['barrier'])
    })

    it('[OUT1] keeps the order within and between transactions', async () => {
      const conversation = randomUUID()
      await database.transaction(async (client) => {
        for (const text of ['1', '2', '3']) await postInTransaction(client, { conversation, text })
      })
      for (let index = 4; index <= 80; index += 1) await post(conversation, String(index))
      start()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(Array.from({ length: 80 }, (_, index) => String(index + 1)))
    })

    it('[OUT1] posts once when the response is lost', async () => {
      const conversation = randomUUID()
      let losses = 3
      server.fault = () => {
        losses -= 1
        return losses >= 0 ? { kind: 'lose' } : undefined
      }
      for (const text of ['1', '2', '3']) await post(conversation, text)
      start()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['1', '2', '3'])
      expect(server.attempts).toBeGreaterThan(3)
    })

    it('[OUT1] makes rows that cannot succeed dead letters, which hold back nothing', async () => {
      const conversation = randomUUID()
      const gone = randomUUID()
      server.fault = (request) => {
        if (isPostTo(gone, request)) return problem('not-found', 404)
        const { as, text } = (request.body ?? {}) as Partial<RecordedPost>
        if (as === 'unknown-user') return problem('not-found', 404)
        return (text?.length ?? 0) > 20_000 ? problem('too-large', 413) : undefined
      }
      const lost = await post(gone, 'conversation gone')
      const unknown = await database.transaction((client) =>
        postInTransaction(client, { conversation, as: 'unknown-user', text: 'user gone' }),
      )
      const large = await post(conversation, 'x'.repeat(1_000_000))
      const huge = await post(conversation, 'x'.repeat(2_000_000))
      await post(conversation, 'after')
      start()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['after'])
      const { rows } = await database.client.query(
        'select id::text, reason, attempts from chorus_outbox_dead order by created_at',
      )
      expect(rows).toEqual([
        { id: lost.id, reason: 'not-found: unable to do this; not-found', attempts: 1 },
        { id: unknown.id, reason: 'not-found: unable to do this; not-found', attempts: 1 },
        { id: large.id, reason: 'too-large: unable to do this; too-large', attempts: 1 },
        { id: huge.id, reason: 'too-large: unable to post; the row has 2000000 bytes', attempts: 1 },
      ])
      expect(problems.map(({ kind }) => kind)).toEqual(Array.from({ length: 4 }, () => 'dead-letter'))
      expect(await state()).toEqual({ waiting: 0, oldestS: 0, dead: 4 })
    })

    it('[OUT1] posts dead letters again after a repair', async () => {
      const conversation = randomUUID()
      server.fault = () => problem('forbidden', 403)
      for (const text of ['1', '2', '3']) await post(conversation, text)
      start()
      await waitForFact(async () => (await state()).dead === 3)
      server.fault = () => undefined
      expect(await retryDeadLetters(database.client, [])).toBe(0)
      expect(await retryDeadLetters(database.client)).toBe(3)
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['1', '2', '3'])
      expect((await state()).dead).toBe(0)
    })

    it('[OUT1] holds a conversation in order while its first row fails, and no other', async () => {
      const failing = randomUUID()
      const other = randomUUID()
      let failures = 2
      server.fault = (request) => {
        if (!isPostTo(failing, request) || failures === 0) return undefined
        failures -= 1
        return problem('unavailable', 503)
      }
      for (const text of ['1', '2']) await post(failing, text)
      await post(other, 'passes')
      start()
      await waitForFact(() => server.textsOf(other).length === 1)
      await whenEmpty()
      expect(server.textsOf(failing)).toEqual(['1', '2'])
      expect(problems.map(({ kind }) => kind)).toEqual(['delayed', 'delayed'])
    })

    it('[OUT1] passes a conversation whose posts hang', async () => {
      const hanging = randomUUID()
      const other = randomUUID()
      server.fault = (request) => (isPostTo(hanging, request) ? { kind: 'hang' } : undefined)
      await post(hanging, 'hangs')
      start({ timeoutMs: 300, concurrency: 2 })
      await waitForFact(() => server.attempts > 0)
      for (let index = 0; index < 20; index += 1) await post(other, String(index))
      await waitForFact(() => server.textsOf(other).length === 20)
      server.fault = () => undefined
      await whenEmpty()
      expect(server.textsOf(hanging)).toEqual(['hangs'])
    })

    it('[OUT1] keeps a conversation during a post that takes longer than its lease', async () => {
      const conversation = randomUUID()
      const leaseEndS = async (): Promise<number> => {
        const text = 'select extract(epoch from held_until)::float8 as s from chorus_outbox_lane'
        const [lane] = (await database.client.query(text)).rows as { s: number }[]
        return lane?.s ?? 0
      }
      let answer = (): void => undefined
      const answered = new Promise<void>((resolve) => (answer = resolve))
      server.fault = () => ({ kind: 'hold', until: answered })
      for (const text of ['1', '2']) await post(conversation, text)
      start({ timeoutMs: 60_000 })
      await waitForFact(() => server.attempts === 1)
      const firstEndS = await leaseEndS()
      start()
      // The first lease has ended a second ago, or more.
      const leaseS = relayBounds.leaseMs / 1_000
      await waitForFact(async () => (await leaseEndS()) > firstEndS + leaseS + 1, { timeoutMs: 20_000 })
      expect(server.attempts).toBe(1)
      answer()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['1', '2'])
      expect(server.attempts).toBe(2)
    })

    it('[OUT1] keeps all rows while the key is refused', async () => {
      const conversation = randomUUID()
      server.fault = () => problem('unauthenticated', 401)
      for (const text of ['1', '2']) await post(conversation, text)
      start()
      await waitForFact(() => server.requests.length >= 2, { timeoutMs: 15_000 })
      expect(await state()).toMatchObject({ waiting: 2, dead: 0 })
      expect(problems).toEqual([expect.objectContaining({ kind: 'paused', cause: 'refused-key' })])
      server.fault = () => undefined
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['1', '2'])
    })

    it('[OUT1] keeps all rows while the server is down', async () => {
      const conversation = randomUUID()
      const port = Number(new URL(server.url).port)
      start()
      await server.stop()
      for (const text of ['1', '2']) await post(conversation, text)
      await waitForFact(() => problems.length > 0)
      expect(problems[0]).toMatchObject({ kind: 'paused', cause: 'unreachable' })
      expect(await state()).toMatchObject({ waiting: 2, dead: 0 })
      await server.start(port)
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['1', '2'])
    })

    it('[OUT1] pauses as long as the rate limit asks', async () => {
      const conversation = randomUUID()
      let refusals = 1
      server.fault = () => {
        refusals -= 1
        const limited = problem('rate-limited', 429)
        return refusals < 0 ? undefined : ({ ...limited, headers: { 'retry-after': '1' } } as typeof limited)
      }
      await post(conversation, '1')
      start()
      await waitForFact(() => server.requests.length === 1)
      const startedMs = performance.now()
      await whenEmpty()
      expect(performance.now() - startedMs).toBeGreaterThan(900)
      expect(server.textsOf(conversation)).toEqual(['1'])
    })

    it('[OUT1] gives a row up that fails for too long', async () => {
      const conversation = randomUUID()
      server.fault = (request) => ((request.body as RecordedPost).text === '1' ? problem('unknown', 504) : undefined)
      for (const text of ['1', '2']) await post(conversation, text)
      start({ giveUpAfterMs: 50 })
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['2'])
      const { rows } = await database.client.query('select reason from chorus_outbox_dead')
      expect(rows).toEqual([{ reason: expect.stringMatching(/^given up after \d attempts?; unknown: /) }])
    })

    it('[OUT1] finds the conversation of a subject', async () => {
      const conversation = randomUUID()
      server.subjects.set('order/A/7', conversation)
      const subject = { type: 'order', id: 'A/7' }
      for (const text of ['1', '2']) {
        await database.transaction((client) => postInTransaction(client, { subject, text }))
      }
      start()
      await whenEmpty()
      await database.transaction((client) => postInTransaction(client, { subject, text: '3' }))
      await waitForFact(() => server.posts.length === 3)
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['1', '2', '3'])
      expect(server.requests.filter(({ method }) => method === 'GET')).toHaveLength(1)
    })

    it('[OUT1] keeps the order of rows that name one conversation in both ways', async () => {
      const conversation = randomUUID()
      server.subjects.set('order/8', conversation)
      const expected: string[] = []
      for (let index = 0; index < 10; index += 1) {
        const text = String(index)
        expected.push(text)
        const to = index % 2 === 0 ? { subject: { type: 'order', id: '8' } } : { conversation }
        await database.transaction((client) => postInTransaction(client, { ...to, text }))
      }
      start()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(expected)
    })

    it('[OUT1] makes rows of an unknown subject dead letters', async () => {
      const conversation = randomUUID()
      const subject = { type: 'order', id: 'unknown' }
      await database.transaction((client) => postInTransaction(client, { subject, text: 'lost' }))
      await post(conversation, 'passes')
      start()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['passes'])
      expect(problems).toEqual([expect.objectContaining({ kind: 'dead-letter', subject, conversation: null })])
    })

    it('[OUT1] makes rows whose subject no address can carry dead letters', async () => {
      const row = `(gen_random_uuid(), 'order', '..', 'x')`
      await database.transaction((client) =>
        client.query(`insert into chorus_outbox (id, subject_type, subject_id, text) values ${row}`),
      )
      start()
      await whenEmpty()
      expect(problems).toEqual([expect.objectContaining({ kind: 'dead-letter', conversation: null })])
    })

    it('[OUT1] passes a subject whose look-up hangs', async () => {
      const conversation = randomUUID()
      server.subjects.set('order/9', randomUUID())
      server.fault = ({ method }) => (method === 'GET' ? { kind: 'hang' } : undefined)
      await database.transaction((client) =>
        postInTransaction(client, { subject: { type: 'order', id: '9' }, text: 'x' }),
      )
      await post(conversation, 'passes')
      start({ timeoutMs: 200 })
      await waitForFact(() => server.textsOf(conversation).length === 1)
      server.fault = () => undefined
      await whenEmpty()
    })

    it('[OUT1] finishes the posts in flight when it stops', async () => {
      const conversation = randomUUID()
      for (let index = 0; index < 50; index += 1) await post(conversation, String(index))
      const relay = start()
      await waitForFact(() => server.attempts > 0)
      await relay.stop()
      const { attempts } = server
      expect(await heldLanes()).toBe(0)
      expect((await state()).waiting).toBe(50 - attempts)
      start()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(Array.from({ length: 50 }, (_, index) => String(index)))
      expect(server.attempts).toBe(50)
    })

    it('[OUT1] gives a hanging post back when it stops', async () => {
      const conversation = randomUUID()
      server.fault = () => ({ kind: 'hang' })
      await post(conversation, 'hangs')
      const relay = start({ timeoutMs: 60_000 })
      await waitForFact(() => server.attempts > 0)
      await relay.stop({ timeoutMs: 50 })
      expect(await heldLanes()).toBe(0)
      server.fault = () => undefined
      start()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['hangs'])
    })

    it('[OUT1] posts once and in order with several relays', async () => {
      const conversations = Array.from({ length: 10 }, () => randomUUID())
      const expected = Array.from({ length: 30 }, (_, index) => String(index))
      for (let index = 0; index < 3; index += 1) start({ concurrency: 3 })
      for (const text of expected) {
        await Promise.all(conversations.map((conversation) => post(conversation, text)))
      }
      await whenEmpty()
      for (const conversation of conversations) expect(server.textsOf(conversation)).toEqual(expected)
      expect(server.attempts).toBe(300)
    })

    it('[OUT1] posts a restored row once', async () => {
      const conversation = randomUUID()
      await post(conversation, '1')
      const dump = await database.client.query('select id::text, conversation::text, text from chorus_outbox')
      start()
      await whenEmpty()
      for (const { id, text } of dump.rows as { id: string; text: string }[])
        await database.transaction((client) => postInTransaction(client, { id, conversation, text }))
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['1'])
      expect(server.attempts).toBe(2)
    })

    it('[OUT1] posts a repeated id once', async () => {
      const conversation = randomUUID()
      const id = randomUUID()
      for (let index = 0; index < 3; index += 1)
        await database.transaction((client) =>
          postInTransaction(client, { id: id.toUpperCase(), conversation, text: 'x' }),
        )
      start()
      await whenEmpty()
      expect(server.attempts).toBe(1)
      expect(server.posts[0]?.clientId).toBe(id)
    })

    it('continues after an error in onProblem', async () => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
      const gone = randomUUID()
      server.fault = (request) => (isPostTo(gone, request) ? problem('not-found', 404) : undefined)
      await post(gone, 'x')
      start({
        onProblem: () => {
          throw new Error('broken callback')
        },
      })
      await waitForFact(async () => (await state()).dead === 1)
      const conversation = randomUUID()
      await post(conversation, 'after')
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['after'])
      expect(warn).toHaveBeenCalled()
      warn.mockRestore()
    })

    it('creates its tables once, also when asked several times', async () => {
      await Promise.all(Array.from({ length: 4 }, () => createOutboxTable(database.client)))
      expect(await state()).toEqual({ waiting: 0, oldestS: 0, dead: 0 })
    })
  })
}
