/**
 * Tests the responses of the change log when the database fails. A wrapper between the change log
 * and the real database injects the faults.
 */
import { randomUUID } from 'node:crypto'
import type { ChorusError, Id } from '@chorus/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { appendQueueLimits } from './append-queue.ts'
import { ChangeLog } from './change-log.ts'
import type { Database, Lane, Statement } from '../database/database.ts'
import { DatabaseError, type DatabaseErrorKind } from '../database/database-errors.ts'
import { type LogObservations, LogFixture, openLog } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

type Fault =
  /** The statement fails before it reaches the database. */
  | { readonly kind: 'before'; readonly error: DatabaseErrorKind }
  /** The statement is committed, but its result is lost. */
  | { readonly kind: 'after' }
  /**
   * The statement is committed, and the database then reports this SQLSTATE: a real error, raised
   * by a second statement.
   */
  | { readonly kind: 'after-code'; readonly code: string }
  /** The statement fails if it contains this text. */
  | { readonly kind: 'on-text'; readonly text: string; readonly error: DatabaseErrorKind }
  /** The database never answers. */
  | { readonly kind: 'silence'; readonly lasting?: boolean }

/**
 * Wraps a database so that it fails as listed. Each attempt consumes one fault; attempts after the
 * last fault succeed.
 */
function withFaults(database: Database, faults: Fault[], timeouts: number[] = []): Database {
  const wrap = (lane: Lane): Lane => ({
    async run<Row>(statement: Statement, timeoutMs: number): Promise<Row[]> {
      timeouts.push(timeoutMs)
      const fault = faults[0]
      if (fault === undefined) return lane.run<Row>(statement, timeoutMs)
      switch (fault.kind) {
        case 'before':
          faults.shift()
          throw new DatabaseError(fault.error, new Error('injected'))
        case 'after':
          faults.shift()
          await lane.run(statement, timeoutMs)
          throw new DatabaseError('lost', new Error('the connection was cut at COMMIT'))
        case 'after-code':
          faults.shift()
          await lane.run(statement, timeoutMs)
          return lane.run<Row>(
            { text: `do $$ begin raise exception using errcode = '${fault.code}'; end $$` },
            timeoutMs,
          )
        case 'on-text':
          if (JSON.stringify(statement.values).includes(fault.text))
            throw new DatabaseError(fault.error, new Error('injected'))
          return lane.run<Row>(statement, timeoutMs)
        case 'silence':
          if (fault.lasting !== true) faults.shift()
          await new Promise((resolve) => setTimeout(resolve, timeoutMs))
          throw new DatabaseError('lost', new Error('timeout'))
      }
    },
  })
  return new Proxy(database, {
    get: (target, key) => {
      if (key === 'lane') return (index: number) => wrap(target.lane(index))
      const value = Reflect.get(target, key, target) as unknown
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
}

/**
 * Rejects if the response takes longer than two seconds. The timer runs in the same event loop as
 * the deadline, so a busy machine delays both equally.
 */
async function withinTwoSeconds<Answer>(answer: Promise<Answer>): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('unable to get an answer; two seconds are over')), 2_000)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

describe.each(testEngines)('the change log with a failing database, on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let ada: Id
  let bob: Id
  let group: Id
  let faults: Fault[]
  let faulty: LogFixture
  let observed: LogObservations

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
  })
  beforeEach(async () => {
    faults = []
    observed = { batches: [], failures: [] }
    group = await fixture.group([ada, bob])
    faulty = new LogFixture(
      store.database,
      openLog(withFaults(store.database, faults), observed, () => performance.now()),
    )
  })
  afterAll(() => store.close())

  const textsOf = async (conversation: Id): Promise<string[]> =>
    (
      await fixture.sql<{ text: string }>(
        `select text from changes where conversation = $1 and type = 'message.created' order by seq`,
        [conversation],
      )
    ).map(({ text }) => text)

  it.each(['retryable', 'refused'] as const)(
    '[ACK2] retries after a temporary fault (%s) and stores the message once',
    async (error) => {
      faults.push({ kind: 'before', error }, { kind: 'before', error })
      expect(await faulty.send(group, ada, 'in the end')).toMatchObject({ outcome: 'stored' })
      expect(observed.failures.map(({ kind }) => kind)).toEqual([error, error])
      expect(await textsOf(group)).toEqual(['in the end'])
    },
  )

  it('[ACK2] an append never reports refused after SQLSTATE 57P01, 57P02, 57014 or 08*', async () => {
    // Here the database commits the message and then reports one of these errors. Every retry then
    // fails because the connection is refused. Without the first error, a refused connection would
    // prove that nothing was stored.
    const codes = ['57P01', '57P02', '57014', '08000', '08003', '08006', '08P01']
    const answers = await Promise.all(
      codes.map(async (code) => {
        const place = await fixture.group([ada, bob])
        const itsFaults: Fault[] = [
          { kind: 'after-code', code },
          ...Array.from({ length: 200 }, (): Fault => ({ kind: 'before', error: 'refused' })),
        ]
        const database = withFaults(store.database, itsFaults)
        const log = new LogFixture(
          store.database,
          openLog(database, observed, () => performance.now()),
        )
        const answer = await log.send(place, ada, 'perhaps').catch((error: unknown) => (error as ChorusError).code)
        return [code, answer, await textsOf(place)]
      }),
    )
    expect(answers).toEqual(codes.map((code) => [code, 'unknown', ['perhaps']]))
  })

  it('[ACK2, IDEM1] an append finds its message after a lost COMMIT and returns the seq', async () => {
    faults.push({ kind: 'after' })
    const clientId = randomUUID()
    const appended = await faulty.send(group, ada, 'cut', { clientId })
    expect(appended.outcome).toBe('stored')
    expect(await textsOf(group)).toEqual(['cut'])
    expect(await fixture.send(group, ada, 'cut', { clientId })).toMatchObject({
      outcome: 'duplicate',
      seq: appended.seq,
      at: appended.at,
    })
  })

  it("[ACK2] returns the seq of every row after a batch's lost COMMIT", async () => {
    faults.push({ kind: 'after' })
    const appended = await Promise.all(['a', 'b', 'c'].map((text) => faulty.send(group, ada, text)))
    expect(appended.map(({ outcome }) => outcome)).toEqual(['stored', 'stored', 'stored'])
    expect(await textsOf(group)).toEqual(['a', 'b', 'c'])
    expect(appended.map(({ seq }) => seq)).toEqual((await fixture.seqs(group)).slice(-3))
  })

  it('[ACK2] reports no refusal for a change whose COMMIT got no answer', async () => {
    faults.push({ kind: 'after' })
    const removed = faulty.apply({ op: 'remove-member', conversation: group, actor: ada, user: bob })
    // The server cannot know whether this request or an earlier one removed the member. So it does
    // not answer `not-found`, which would mean that this request changed nothing.
    await expect(removed).rejects.toMatchObject({ code: 'unknown', retry: 'later' })
    const { seq: target } = await fixture.send(group, ada, 'x')
    faults.push({ kind: 'after' })
    expect(await faulty.apply({ op: 'delete', conversation: group, actor: ada, target })).toMatchObject({
      outcome: 'unchanged',
    })
    faults.push({ kind: 'after' })
    const conversation = randomUUID()
    expect(
      await faulty.apply({
        op: 'create',
        conversation,
        actor: ada,
        kind: 'group',
        name: 'x',
        directKey: null,
        members: [ada, bob],
      }),
    ).toMatchObject({ outcome: 'stored', seq: 3, detail: { conversation } })
  })

  it('[ACK2] [CARD1] an act whose COMMIT got no answer is found, or refused for sure', async () => {
    const request = { conversation: group, actor: ada, hash: 'ab' } as const
    const content = { version: 1, actions: [{ id: 'go', label: 'Go' }], acted: null }
    const card = { text: '', data: null, card: JSON.stringify(content) }
    faults.push({ kind: 'after' })
    const { outcome, seq: target } = await faulty.apply({
      op: 'send-card',
      ...request,
      clientId: randomUUID(),
      ...card,
    })
    expect(outcome).toBe('unchanged')
    const act = { op: 'act', ...request, target, version: 1, action: 'go' } as const
    faults.push({ kind: 'after' })
    expect(await faulty.apply({ ...act, clientId: randomUUID() })).toMatchObject({
      outcome: 'unchanged',
      seq: target + 1,
    })
    faults.push({ kind: 'after' })
    expect(await faulty.apply({ ...act, clientId: randomUUID() })).toMatchObject({ outcome: 'stale' })
    expect((await fixture.seqs(group)).at(-1)).toBe(target + 1)
  })

  it('[ACK2] an append answers unavailable within two seconds if nothing was stored', async () => {
    faults.push(...Array.from({ length: 200 }, (): Fault => ({ kind: 'before', error: 'refused' })))
    const error = await withinTwoSeconds(
      faulty.send(group, ada, 'refused').then(
        () => undefined,
        (thrown: ChorusError) => thrown,
      ),
    )
    expect(error).toMatchObject({ code: 'unavailable', retry: 'later' })
    expect(error?.retryAfterMs).toBeGreaterThan(0)
    expect(await textsOf(group)).toEqual([])
  })

  it('[ACK2] an append answers unknown within two seconds if the database is silent', async () => {
    faults.push({ kind: 'silence' })
    const answers: string[] = []
    const send = (text: string): Promise<void> =>
      withinTwoSeconds(
        faulty.send(group, ada, text).then(
          () => void answers.push('stored'),
          (error: ChorusError) => void answers.push(error.code),
        ),
      )
    const first = send('first')
    await new Promise((resolve) => setTimeout(resolve, 300))
    // The second message waits behind the batch that gets no result. It is stored once the
    // connection is free again.
    const second = send('second')
    await Promise.all([first, second])
    expect(answers).toEqual(['unknown', 'stored'])
    expect(await textsOf(group)).toEqual(['second'])
  })

  it('[ACK2] an append rejects a row at its deadline and stores later rows', async () => {
    let nowMs = 0
    const timeouts: number[] = []
    const lanes = withFaults(store.database, faults, timeouts)
    const quiet = { batchCommitted: () => undefined, batchFailed: () => undefined }
    const log = new ChangeLog(lanes, quiet, () => nowMs)
    const old = fixture.send(group, ada, 'old', { log }).catch((error: ChorusError) => error.code)
    nowMs = appendQueueLimits.deadlineMs - 1
    const young = fixture.send(group, ada, 'young', { log })
    faults.push({ kind: 'before', error: 'refused' })
    const failed = new Promise<void>((resolve) => setTimeout(resolve, 1))
    await failed
    nowMs = appendQueueLimits.deadlineMs + 1
    expect(await old).toMatch(/^un(known|available)$/)
    expect(await young).toMatchObject({ outcome: 'stored' })
    // Both rows were in one batch. The timeout of its statement was the time until the deadline of
    // the newest row, not of the oldest.
    expect(timeouts[0]).toBe(appendQueueLimits.deadlineMs)
    expect(await textsOf(group)).toEqual(['young'])
  })

  it.each(['data', 'bug'] as const)(
    '[BAD1] a row that always fails (%s) does not fail other rows of its batch',
    async (error) => {
      faults.push({ kind: 'on-text', text: 'poison', error })
      const settled = await Promise.allSettled(['a', 'poison', 'b'].map((text) => faulty.send(group, ada, text)))
      expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(settled[1]).toMatchObject({ reason: { code: error === 'data' ? 'invalid' : 'unavailable' } })
      expect(await textsOf(group)).toEqual(['a', 'b'])
    },
  )

  it('[ACK2] an append rejects a row after an internal error and stores later rows', async () => {
    const broken = faulty.send(group, ada, 'x', { data: { big: 1n } as never })
    await expect(broken).rejects.toMatchObject({ code: 'unavailable' })
    expect(await faulty.send(group, ada, 'fine')).toMatchObject({ outcome: 'stored' })
  })

  it.runIf(engine === 'embedded')(
    '[LIM1] refuses rows beyond the queue limit, and answers every queued row',
    async () => {
      faults.push({ kind: 'silence', lasting: true })
      const first = faulty.send(group, ada, 'first').catch(() => undefined)
      await new Promise((resolve) => setImmediate(resolve))
      const waiting: Promise<unknown>[] = []
      for (let index = 0; index < appendQueueLimits.waitingRowsMax; index++) {
        waiting.push(faulty.apply({ op: 'rename', conversation: group, actor: bob, name: 'x' }).catch(() => undefined))
      }
      await expect(faulty.send(group, ada, 'one too many')).rejects.toMatchObject({ code: 'unavailable' })
      expect(faulty.log.waitingRows).toBe(appendQueueLimits.waitingRowsMax)
      await first
      await faulty.log.drain()
      await Promise.all(waiting)
      expect(faulty.log.waitingRows).toBe(0)
    },
  )
})
