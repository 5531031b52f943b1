/**
 * Tests the change log on both engines: idempotence, order and refusals. For faults see
 * change-log-faults.test.ts.
 */
import { randomUUID } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import pg from 'pg'
import { v7 as uuidv7 } from 'uuid'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ChangeLog } from './change-log.ts'
import { readRange } from './read-changes.ts'
import { readMessage, readMessagePage } from './read-messages.ts'
import { type LogObservations, LogFixture, openLog } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

describe.each(testEngines)('the change log on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  /** Log of a second server. */
  let secondLog: ChangeLog
  let ada: Id
  let bob: Id
  let group: Id

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    secondLog = openLog(await store.openSecond())
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
  })
  afterAll(() => store.close())

  const newGroup = async (): Promise<void> => {
    group = await fixture.group([ada, bob])
  }

  describe('appends of messages', () => {
    beforeAll(newGroup)

    it('[ACK1] acknowledges a message only after COMMIT, with synchronous_commit on', async () => {
      const appended = await fixture.send(group, ada, 'committed?')
      // Another connection sees only committed rows.
      const second = await store.openSecond()
      const [row] = await second.query<{ text: string; at: string }>({
        text: 'select text, at from changes where conversation = $1 and seq = $2',
        values: [group, appended.seq],
      })
      expect(row).toEqual({ text: 'committed?', at: new Date(appended.at).toISOString() })
      const [setting] = await store.database.lane(0).run<{ commit: string; isolation: string }>(
        {
          text: `select current_setting('synchronous_commit') as commit, current_setting('transaction_isolation') as isolation`,
        },
        1_000,
      )
      expect(setting).toEqual({ commit: 'on', isolation: 'read committed' })
    })

    it('[IDEM1] stores a repeated message once and repeats the first response', async () => {
      const clientId = randomUUID()
      const first = await fixture.send(group, ada, 'once', { clientId })
      const again = await fixture.send(group, ada, 'once', { clientId })
      expect(first.outcome).toBe('stored')
      expect(again).toMatchObject({ outcome: 'duplicate', seq: first.seq, at: first.at })
      const other = await fixture.send(group, ada, 'something else', { clientId })
      expect(other).toMatchObject({ outcome: 'conflict' })
      expect(await fixture.send(group, ada, 'once', { clientId, data: { a: 1 } })).toMatchObject({
        outcome: 'conflict',
      })
      // The same clientId from another user or in another conversation is another message.
      expect(await fixture.send(group, bob, 'once', { clientId })).toMatchObject({ outcome: 'stored' })
      const elsewhere = await fixture.group([ada])
      expect(await fixture.send(elsewhere, ada, 'once', { clientId })).toMatchObject({ outcome: 'stored' })
    })

    it('[IDEM1] gives two copies of a message in one batch the same seq', async () => {
      const clientId = randomUUID()
      const copies = await Promise.all([1, 2, 3].map(() => fixture.send(group, ada, 'twin', { clientId })))
      expect(new Set(copies.map(({ seq }) => seq)).size).toBe(1)
      expect(copies.map(({ outcome }) => outcome)).toEqual(['stored', 'duplicate', 'duplicate'])
      const mixed = randomUUID()
      const [kept, refused] = await Promise.all([
        fixture.send(group, ada, 'this', { clientId: mixed }),
        fixture.send(group, ada, 'that', { clientId: mixed }),
      ])
      expect([kept.outcome, refused.outcome]).toEqual(['stored', 'conflict'])
    })

    it('[IDEM1] gives two copies sent to two servers at once the same seq', async () => {
      for (let round = 0; round < 20; round++) {
        const clientId = randomUUID()
        const copies = await Promise.all([
          fixture.send(group, ada, 'both', { clientId }),
          fixture.send(group, ada, 'both', { clientId, log: secondLog }),
        ])
        expect(copies[0].seq).toBe(copies[1].seq)
        expect(copies.map(({ outcome }) => outcome).sort()).toEqual(['duplicate', 'stored'])
      }
    })

    it('[IDEM1] recognises a repeated message after edits, deletion or removal of its sender', async () => {
      const clientId = randomUUID()
      const place = await fixture.group([ada, bob])
      const first = await fixture.send(place, bob, 'as written', { clientId })
      await fixture.apply({ op: 'edit', conversation: place, actor: bob, target: first.seq, text: 'as edited' })
      expect(await fixture.send(place, bob, 'as written', { clientId })).toMatchObject({
        outcome: 'duplicate',
        seq: first.seq,
      })
      expect(await fixture.send(place, bob, 'as edited', { clientId })).toMatchObject({ outcome: 'conflict' })
      await fixture.apply({ op: 'delete', conversation: place, actor: bob, target: first.seq })
      expect(await fixture.send(place, bob, 'as written', { clientId })).toMatchObject({
        outcome: 'duplicate',
        seq: first.seq,
      })
      await fixture.apply({ op: 'remove-member', conversation: place, actor: ada, user: bob })
      expect(await fixture.send(place, bob, 'as written', { clientId })).toMatchObject({
        outcome: 'duplicate',
        seq: first.seq,
        at: first.at,
      })
      expect(await fixture.send(place, bob, 'something new')).toMatchObject({ outcome: 'not-found', seq: 0 })
    })

    it('[ORD1] assigns seqs to changes without gaps, also when rows are refused', async () => {
      const place = await fixture.group([ada, bob])
      const stranger = await fixture.user()
      const [start] = (await fixture.seqs(place)).slice(-1)
      const clientId = randomUUID()
      const appends: Promise<{ outcome: string; seq: number; at: string }>[] = []
      for (let index = 0; index < 300; index++) {
        const log = index % 2 === 0 ? fixture.log : secondLog
        const actor = index % 3 === 0 ? ada : bob
        if (index % 10 === 3) appends.push(fixture.send(place, stranger, 'no', { log }))
        else if (index % 10 === 5) appends.push(fixture.send(place, ada, 'once', { clientId, log }))
        else if (index % 10 === 7) appends.push(fixture.send(place, ada, 'no such', { replyTo: 999_999, log }))
        else appends.push(fixture.send(place, actor, `message ${index}`, { log }))
        // Waits for the event loop, so that several batches form.
        if (index % 40 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      const settled = await Promise.all(appends)
      const seqs = await fixture.seqs(place)
      expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => index + 1))
      const stored = settled.filter(({ outcome }) => outcome === 'stored')
      expect(seqs.length).toBe(start! + stored.length)
      expect(new Set(stored.map(({ seq }) => seq)).size).toBe(stored.length)
      expect(settled.filter(({ outcome }) => outcome === 'not-found')).toHaveLength(30)
      expect(settled.filter(({ outcome }) => outcome === 'invalid-reply')).toHaveLength(30)
      const times = await fixture.sql<{ at: string; xid: string }>(
        'select at, xid::text as xid from changes where conversation = $1 order by seq',
        [place],
      )
      expect(times.map(({ at }) => at)).toEqual(times.map(({ at }) => at).sort())
    })

    it('[ORD2] keeps the messages of one sender in order', async () => {
      const place = await fixture.group([ada, bob])
      const observed: LogObservations = { batches: [], failures: [] }
      const log = openLog(store.database, observed)
      const appends: Promise<{ seq: number }>[] = []
      for (let index = 0; index < 1_200; index++) appends.push(fixture.send(place, ada, String(index), { log }))
      const seqs = (await Promise.all(appends)).map(({ seq }) => seq)
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b))
      // No batch exceeds the maximum of 500 rows (LIM1).
      expect(Math.max(...observed.batches)).toBe(500)
      const page = await readRange(store.database, { conversation: place, from: seqs[0]!, to: seqs[4]! }, 10)
      expect(page.map(({ json }) => (JSON.parse(json) as { message: { text: string } }).message.text)).toEqual([
        '0',
        '1',
        '2',
        '3',
        '4',
      ])
    })

    it('[ORD2] delays messages behind a delayed message of the same conversation', async () => {
      const place = await fixture.group([ada, bob])
      const clientId = randomUUID()
      // A batch contains each clientId once, so Bob's first message waits for the next batch. His
      // second message must wait, too.
      await Promise.all([
        fixture.send(place, ada, 'of ada', { clientId }),
        fixture.send(place, bob, 'first of bob', { clientId }),
        fixture.send(place, bob, 'second of bob'),
      ])
      const stored = await fixture.sql<{ text: string }>(
        `select text from changes where conversation = $1 and actor = $2 and type = 'message.created' order by seq`,
        [place, bob],
      )
      expect(stored.map(({ text }) => text)).toEqual(['first of bob', 'second of bob'])
    })

    it('[ORD3] orders a message after an earlier acknowledged one, across servers', async () => {
      let last = 0
      for (let index = 0; index < 30; index++) {
        const { seq } = await fixture.send(group, index % 2 === 0 ? ada : bob, 'next', {
          log: index % 2 === 0 ? fixture.log : secondLog,
        })
        expect(seq).toBeGreaterThan(last)
        last = seq
      }
    })

    it('[BAD1] refuses an invalid row and stores the other rows of its batch', async () => {
      const place = await fixture.group([ada, bob])
      // The schemas of the protocol already refuse both texts, but the log must not rely on that.
      // The first text fails as a parameter of the batch, the second one in a cast.
      const settled = await Promise.allSettled([
        fixture.send(place, ada, 'before'),
        fixture.send(place, ada, 'a NUL \u0000 in the text'),
        fixture.send(place, bob, 'between'),
        fixture.apply({ op: 'rename', conversation: place, actor: ada, name: 'a NUL \u0000 in the name' }),
        fixture.apply({ op: 'react', conversation: place, actor: ada, target: 1, emoji: '👍' }),
        fixture.send(place, 'no uuid', 'nobody'),
      ])
      expect(settled.map(({ status }) => status)).toEqual([
        'fulfilled',
        'rejected',
        'fulfilled',
        'rejected',
        'fulfilled',
        'rejected',
      ])
      for (const outcome of settled) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'invalid', retry: 'never' })
      }
      const seqs = await fixture.seqs(place)
      expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => index + 1))
      const page = await readMessagePage(store.database, ada, place, { kind: 'newest' }, 10)
      expect(page?.messages.map(({ text }) => text)).toEqual(['before', 'between'])
    })

    it('stores JSON data of a message unchanged, whatever its shape', async () => {
      const data = { nested: [1, 'two', { three: null }], quote: '"', unicode: '🦉' }
      const { seq } = await fixture.send(group, ada, '', { data })
      expect((await readMessage(store.database, ada, group, seq))?.data).toEqual(data)
    })

    it.runIf(engine === 'postgres')(
      'refuses to append under repeatable read, where rules are checked on old data',
      async () => {
        const client = new pg.Client({ connectionString: store.url })
        await client.connect()
        try {
          await client.query('begin isolation level repeatable read')
          await expect(
            client.query(`select * from append_changes('{}','{}','{}','{}','{}','{}','{}','{}','[]')`),
          ).rejects.toThrow(/read committed/)
        } finally {
          await client.end()
        }
      },
    )
  })

  describe('changes to messages', () => {
    beforeAll(newGroup)

    it('an edit changes the message in place; an equal edit changes nothing', async () => {
      const { seq: target } = await fixture.send(group, bob, 'frist')
      const edited = await fixture.apply({ op: 'edit', conversation: group, actor: bob, target, text: 'first' })
      expect(edited).toMatchObject({ outcome: 'stored', detail: { text: 'first', version: edited.seq } })
      const again = await fixture.apply({ op: 'edit', conversation: group, actor: bob, target, text: 'first' })
      expect(again).toMatchObject({ outcome: 'unchanged', seq: edited.seq })
      expect(await readMessage(store.database, ada, group, target)).toMatchObject({
        seq: target,
        version: edited.seq,
        text: 'first',
        editedAt: new Date(edited.at).toISOString(),
      })
      expect(await fixture.apply({ op: 'edit', conversation: group, actor: ada, target, text: 'mine' })).toMatchObject({
        outcome: 'forbidden',
      })
      expect(
        await fixture.apply({ op: 'edit', conversation: group, actor: bob, target: 99_999, text: 'x' }),
      ).toMatchObject({ outcome: 'not-found' })
      // Seq 1 is a change that is not a message, so it cannot be edited.
      expect(await fixture.apply({ op: 'edit', conversation: group, actor: bob, target: 1, text: 'x' })).toMatchObject({
        outcome: 'not-found',
      })
    })

    it('deletes text, data and reactions of a deleted message from the database', async () => {
      const { seq: target } = await fixture.send(group, bob, 'a secret', { data: { secret: 'also' } })
      await fixture.apply({ op: 'react', conversation: group, actor: ada, target, emoji: '👀' })
      const third = await fixture.user()
      await fixture.apply({ op: 'put-member', conversation: group, actor: ada, user: third, role: null })
      expect(await fixture.apply({ op: 'delete', conversation: group, actor: third, target })).toMatchObject({
        outcome: 'forbidden',
      })
      const deleted = await fixture.apply({ op: 'delete', conversation: group, actor: ada, target })
      expect(deleted.outcome).toBe('stored')
      expect(await fixture.apply({ op: 'delete', conversation: group, actor: bob, target })).toMatchObject({
        outcome: 'unchanged',
        seq: deleted.seq,
      })
      for (const operation of [
        { op: 'edit', text: 'back' },
        { op: 'react', emoji: '👍' },
        { op: 'unreact', emoji: '👀' },
      ] as const) {
        expect(await fixture.apply({ ...operation, conversation: group, actor: bob, target })).toMatchObject({
          outcome: 'not-found',
        })
      }
      const rows = await fixture.sql('select 1 from changes where text like $1 or data::text like $1', ['%secret%'])
      expect(rows).toEqual([])
      expect(await readMessage(store.database, ada, group, target)).toMatchObject({
        text: '',
        data: null,
        deletedAt: new Date(deleted.at).toISOString(),
        reactions: [],
      })
    })

    it('a repeated reaction by one user changes nothing', async () => {
      const { seq: target } = await fixture.send(group, bob, 'nice')
      const first = await fixture.apply({ op: 'react', conversation: group, actor: ada, target, emoji: '👍' })
      expect(await fixture.apply({ op: 'react', conversation: group, actor: ada, target, emoji: '👍' })).toMatchObject({
        outcome: 'unchanged',
        seq: first.seq,
      })
      await fixture.apply({ op: 'react', conversation: group, actor: bob, target, emoji: '👍' })
      await fixture.apply({ op: 'react', conversation: group, actor: bob, target, emoji: '🎉' })
      expect((await readMessage(store.database, ada, group, target))?.reactions).toEqual([
        { emoji: '👍', count: 2, mine: true },
        { emoji: '🎉', count: 1, mine: false },
      ])
      const back = await fixture.apply({ op: 'unreact', conversation: group, actor: ada, target, emoji: '👍' })
      expect(
        await fixture.apply({ op: 'unreact', conversation: group, actor: ada, target, emoji: '👍' }),
      ).toMatchObject({ outcome: 'unchanged', seq: back.seq })
      expect((await readMessage(store.database, ada, group, target))?.reactions).toEqual([
        { emoji: '👍', count: 1, mine: false },
        { emoji: '🎉', count: 1, mine: false },
      ])
    })

    it('[LIM1] accepts at most fifty different emoji on one message', async () => {
      const { seq: target } = await fixture.send(group, bob, 'popular')
      const outcomes = await Promise.all(
        Array.from({ length: 52 }, (_, index) =>
          fixture.apply({
            op: 'react',
            conversation: group,
            actor: ada,
            target,
            emoji: String.fromCodePoint(0x1f600 + index),
          }),
        ),
      )
      expect(outcomes.filter(({ outcome }) => outcome === 'stored')).toHaveLength(50)
      expect(outcomes.filter(({ outcome }) => outcome === 'too-large')).toHaveLength(2)
      // A second user may still add an emoji that the message already has.
      expect(
        await fixture.apply({
          op: 'react',
          conversation: group,
          actor: bob,
          target,
          emoji: String.fromCodePoint(0x1f600),
        }),
      ).toMatchObject({ outcome: 'stored' })
    })
  })

  it('[LIM1] counts an emoji only while a user has it', async () => {
    const place = await fixture.group([ada, bob])
    const { seq: target } = await fixture.send(place, bob, 'popular')
    const emoji = (index: number): string => String.fromCodePoint(0x1f600 + index)
    const react = (op: 'react' | 'unreact', actor: Id, index: number) =>
      fixture.apply({ op, conversation: place, actor, target, emoji: emoji(index) })
    for (let index = 0; index < 50; index++) await react('react', ada, index)
    await react('react', bob, 7)
    expect((await react('react', bob, 50)).outcome).toBe('too-large')
    await react('unreact', ada, 7)
    expect((await react('react', bob, 50)).outcome).toBe('too-large')
    await react('unreact', bob, 7)
    expect((await react('react', bob, 50)).outcome).toBe('stored')
    expect((await react('react', ada, 7)).outcome).toBe('too-large')
  })

  describe('changes of membership', () => {
    it('[LIM1] limits a user to ten thousand conversations, by creation or addition', async () => {
      const [busy, full] = (await fixture.users(2)) as [Id, Id]
      await fixture.sql(
        `with made as (
           insert into conversations (id, kind) select gen_random_uuid(), 'group' from generate_series(1, 10000) returning id)
         insert into members (conversation, user_id, role, joined_seq)
         select id, u, 'member', 1 from made, unnest($1::uuid[]) u`,
        [[busy, full]],
      )
      await fixture.sql(
        `update members set left_seq = 2
          where user_id = $1 and conversation = (select conversation from members where user_id = $1 limit 1)`,
        [busy],
      )
      const create = (members: readonly Id[], kind: 'group' | 'direct' = 'group') => {
        const directKey = kind === 'direct' ? [...members].sort().join(':') : null
        const [actor] = members as [Id]
        return fixture.apply({ op: 'create', conversation: uuidv7(), actor, kind, name: null, directKey, members })
      }
      const count = async (): Promise<number> =>
        (await fixture.sql<{ n: number }>('select count(*)::int as n from conversations'))[0]!.n
      const before = await count()
      expect((await create([ada, full])).outcome).toBe('too-large')
      expect((await create([ada, full], 'direct')).outcome).toBe('too-large')
      expect((await create([full])).outcome).toBe('too-large')
      expect(await count()).toBe(before)
      expect((await create([ada, busy])).outcome).toBe('stored')
      expect((await create([ada, busy])).outcome).toBe('too-large')
      const group = await fixture.group([ada, bob])
      expect(
        await fixture.apply({ op: 'put-member', conversation: group, actor: ada, user: full, role: null }),
      ).toMatchObject({ outcome: 'too-large' })
    })

    beforeAll(newGroup)

    it("[ACL1] checks the sender's membership at the message's position in the log", async () => {
      const place = await fixture.group([ada, bob])
      const [before, removal, after, later] = await Promise.all([
        fixture.send(place, bob, 'before'),
        fixture.apply({ op: 'remove-member', conversation: place, actor: ada, user: bob }),
        fixture.send(place, bob, 'after'),
        fixture.send(place, ada, 'alone'),
      ])
      expect([before.outcome, removal.outcome, after.outcome, later.outcome]).toEqual([
        'stored',
        'stored',
        'not-found',
        'stored',
      ])
      expect(before.seq).toBeLessThan(removal.seq)
      const newcomer = await fixture.user()
      const [early, joined, first] = await Promise.all([
        fixture.send(place, newcomer, 'too early'),
        fixture.apply({ op: 'put-member', conversation: place, actor: ada, user: newcomer, role: null }),
        fixture.send(place, newcomer, 'hello'),
      ])
      expect([early.outcome, joined.outcome, first.outcome]).toEqual(['not-found', 'stored', 'stored'])
    })

    it('[ACL1] a change of membership is the last row of its batch', async () => {
      const observed: LogObservations = { batches: [], failures: [] }
      const log = openLog(store.database, observed)
      const place = await fixture.group([ada, bob])
      const third = await fixture.user()
      const others = [
        fixture.send(place, ada, '1', { log }),
        log.apply({ op: 'react', conversation: place, actor: ada, target: 1, emoji: 'x' }),
        log.apply({ op: 'put-member', conversation: place, actor: ada, user: third, role: null }),
        log.apply({ op: 'put-member', conversation: place, actor: ada, user: third, role: 'moderator' }),
        fixture.send(place, third, '2', { log }),
        log.apply({ op: 'remove-member', conversation: place, actor: ada, user: third }),
        fixture.send(place, ada, '3', { log }),
      ]
      await Promise.all(others)
      expect(observed.batches).toEqual([3, 1, 2, 1])
    })

    it('a creation stores member roles, and one direct conversation per pair', async () => {
      const place = await fixture.group([ada, bob])
      const members = await fixture.sql(
        'select user_id, role, joined_seq, read_seq from members where conversation = $1 order by joined_seq',
        [place],
      )
      expect(members).toEqual([
        { user_id: ada, role: 'owner', joined_seq: 2, read_seq: 2 },
        { user_id: bob, role: 'member', joined_seq: 3, read_seq: 3 },
      ])
      const key = [ada, bob].sort().join(':')
      const create = (log: ChangeLog) =>
        log.apply({
          op: 'create',
          conversation: uuidv7(),
          actor: ada,
          kind: 'direct',
          name: null,
          directKey: key,
          members: [ada, bob],
        })
      const created = await Promise.all([
        create(fixture.log),
        create(secondLog),
        create(fixture.log),
        create(secondLog),
      ])
      expect(new Set(created.map(({ detail }) => detail?.conversation)).size).toBe(1)
      expect(created.map(({ outcome }) => outcome).sort()).toEqual(['stored', 'unchanged', 'unchanged', 'unchanged'])
      const nobody = uuidv7()
      const refused = await fixture.apply({
        op: 'create',
        conversation: nobody,
        actor: ada,
        kind: 'group',
        name: 'x',
        directKey: null,
        members: [ada, uuidv7()],
      })
      expect(refused.outcome).toBe('not-found')
      expect(await fixture.sql('select 1 from conversations where id = $1', [nobody])).toEqual([])
    })

    it('[IDEM2] stores a repeated creation once, in any order of members', async () => {
      const [creator, one, two] = (await fixture.users(3)) as [Id, Id, Id]
      const clientId = uuidv7()
      const create = (log: ChangeLog, others: readonly Id[], name = 'once', by = creator) =>
        log.apply({
          op: 'create',
          conversation: uuidv7(),
          actor: by,
          kind: 'group',
          name,
          directKey: null,
          members: [by, ...others],
          clientId,
        })
      const attempts = await Promise.all([
        create(fixture.log, [one, two]),
        create(secondLog, [two, one]),
        create(fixture.log, [one, two]),
      ])
      expect(attempts.map(({ outcome }) => outcome).sort()).toEqual(['stored', 'unchanged', 'unchanged'])
      expect(new Set(attempts.map(({ detail }) => detail?.conversation)).size).toBe(1)
      expect((await create(fixture.log, [one])).outcome).toBe('conflict')
      expect((await create(fixture.log, [one, two], 'other')).outcome).toBe('conflict')
      const [row] = await fixture.sql<{ count: number }>(
        'select count(*)::int as count from conversations where creator = $1',
        [creator],
      )
      expect(row).toEqual({ count: 1 })
      // The clientId is unique per creator, so other users may use the same one.
      expect((await create(fixture.log, [two], 'once', one)).outcome).toBe('stored')
      expect((await create(fixture.log, [creator, one], 'once', two)).outcome).toBe('stored')
    })

    it('[IDEM2] creates a new conversation for each creation without clientId', async () => {
      const groups = await Promise.all([fixture.group([ada, bob]), fixture.group([ada, bob])])
      expect(new Set(groups).size).toBe(2)
    })

    it('[ORD1] numbers the joins of a hundred-member creation without gaps', async () => {
      const members = await fixture.users(100)
      const made = await fixture.group(members)
      const rows = await fixture.sql<{ seq: number; type: string; user_id: Id | null; role: string | null }>(
        'select seq, type, user_id, role from changes where conversation = $1 order by seq',
        [made],
      )
      expect(rows[0]).toMatchObject({ seq: 1, type: 'conversation.created' })
      expect(rows.slice(1)).toEqual(
        members.map((user, index) => ({
          seq: index + 2,
          type: 'member.joined',
          user_id: user,
          role: index === 0 ? 'owner' : 'member',
        })),
      )
      const [counts] = await fixture.sql(
        'select seq, member_count, member_version, last_message_seq from conversations where id = $1',
        [made],
      )
      expect(counts).toEqual({ seq: 101, member_count: 100, member_version: 101, last_message_seq: 0 })
      expect((await fixture.send(made, members[99] as Id)).seq).toBe(102)
    })

    it('[LIM3] stores messages without waiting for queued creations', async () => {
      await newGroup()
      const members = await fixture.users(100)
      const answered: string[] = []
      const creations = Array.from({ length: 20 }, async () => {
        await fixture.group(members)
        answered.push('creation')
      })
      for (let sent = 0; sent < 3; sent++) {
        await fixture.send(group, ada)
        answered.push('send')
      }
      // The embedded database has a single connection, so messages and creations take turns.
      // Postgres has several connections, and creations use a separate one.
      if (engine === 'embedded') expect(answered.filter((what) => what === 'creation').length).toBeLessThanOrEqual(6)
      else expect(answered.filter((what) => what === 'creation').length).toBeLessThan(20)
      await Promise.all(creations)
    })

    const ownersOf = async (conversation: Id): Promise<Id[]> => {
      const rows = await fixture.sql<{ user_id: Id }>(
        `select user_id from members where conversation = $1 and role = 'owner' and left_seq is null`,
        [conversation],
      )
      return rows.map(({ user_id }) => user_id)
    }

    it('[OWN1] makes the first user to join an abandoned channel its owner', async () => {
      const [first, second, third] = (await fixture.users(3)) as [Id, Id, Id]
      const channel = await fixture.group([first], 'channel')
      const leave = (user: Id) => fixture.apply({ op: 'remove-member', conversation: channel, actor: user, user })
      const join = (log: ChangeLog, user: Id) =>
        log.apply({ op: 'put-member', conversation: channel, actor: user, user, role: null })
      expect((await leave(first)).outcome).toBe('stored')
      const joins = await Promise.all([join(fixture.log, second), join(secondLog, third)])
      const [earlier, later] = joins[0].seq < joins[1].seq ? joins : [joins[1], joins[0]]
      expect(earlier.detail).toMatchObject({ role: 'owner', joined: true, member: { role: 'owner' } })
      expect(later.detail).toMatchObject({ role: 'member' })
      expect(await ownersOf(channel)).toHaveLength(1)
      // The former owner rejoins, now with the role `member`.
      expect((await join(fixture.log, first)).detail).toMatchObject({ role: 'member' })
    })

    it('[OWN1] keeps one owner when two owners leave at once', async () => {
      const [first, second, third] = (await fixture.users(3)) as [Id, Id, Id]
      const channel = await fixture.group([first, second, third], 'channel')
      await fixture.apply({ op: 'put-member', conversation: channel, actor: first, user: second, role: 'owner' })
      const leave = (log: ChangeLog, user: Id) =>
        log.apply({ op: 'remove-member', conversation: channel, actor: user, user })
      const left = await Promise.all([leave(fixture.log, first), leave(secondLog, second)])
      expect(left.map(({ outcome }) => outcome).sort()).toEqual(['forbidden', 'stored'])
      expect(await ownersOf(channel)).toHaveLength(1)
    })

    it('[OWN1] promotes the longest-serving moderator when the owner is disabled', async () => {
      const [owner, member, moderator] = (await fixture.users(3)) as [Id, Id, Id]
      const shared = await fixture.group([owner, member, moderator])
      await fixture.apply({ op: 'put-member', conversation: shared, actor: owner, user: moderator, role: 'moderator' })
      const alone = await fixture.group([owner], 'channel')
      await fixture.sql('update users set disabled_at = now() where id = $1', [owner])
      expect((await ownersOf(shared)).sort()).toEqual([owner, moderator].sort())
      const [handed] = (await readRange(store.database, { conversation: shared, from: 6, to: 6 }, 1)).map(
        ({ json }) => JSON.parse(json) as object,
      )
      expect(handed).toMatchObject({ type: 'member.updated', user: moderator, role: 'owner', actor: owner })
      expect((await fixture.send(shared, member)).seq).toBe(7)
      // A channel without other members gets an owner when the next user joins.
      const join = { op: 'put-member', conversation: alone, actor: member, user: member, role: null } as const
      expect((await fixture.apply(join)).detail).toMatchObject({ role: 'owner' })
    })

    it('[OWN1] does not let the last enabled owner leave', async () => {
      const [first, second, third] = (await fixture.users(3)) as [Id, Id, Id]
      const shared = await fixture.group([first, second, third])
      const put = (user: Id, role: 'owner' | 'member') =>
        fixture.apply({ op: 'put-member', conversation: shared, actor: first, user, role })
      const remove = (user: Id) => fixture.apply({ op: 'remove-member', conversation: shared, actor: first, user })
      expect((await put(second, 'owner')).outcome).toBe('stored')
      await fixture.sql('update users set disabled_at = now() where id = $1', [second])
      expect(await ownersOf(shared)).toHaveLength(2)
      expect((await remove(first)).outcome).toBe('forbidden')
      expect((await put(first, 'member')).outcome).toBe('forbidden')
      // An owner whose account is disabled can be removed.
      expect((await remove(second)).outcome).toBe('stored')
    })

    it('only owners assign roles, and the last owner cannot give up the role', async () => {
      const [carol, dan] = (await fixture.users(2)) as [Id, Id]
      const place = await fixture.group([ada, bob, carol])
      const put = (actor: Id, user: Id, role: 'owner' | 'moderator' | 'member' | null) =>
        fixture.apply({ op: 'put-member', conversation: place, actor, user, role })
      const remove = (actor: Id, user: Id) => fixture.apply({ op: 'remove-member', conversation: place, actor, user })
      expect((await put(bob, bob, 'owner')).outcome).toBe('forbidden')
      expect((await put(bob, dan, null)).outcome).toBe('forbidden')
      expect((await put(dan, dan, null)).outcome).toBe('not-found')
      expect((await put(ada, ada, 'member')).outcome).toBe('forbidden')
      expect((await remove(ada, ada)).outcome).toBe('forbidden')
      expect((await put(ada, bob, 'moderator')).outcome).toBe('stored')
      expect((await put(bob, dan, null)).outcome).toBe('stored')
      expect((await put(bob, dan, 'moderator')).outcome).toBe('forbidden')
      expect((await put(bob, await fixture.user(), 'moderator')).outcome).toBe('forbidden')
      expect((await remove(bob, ada)).outcome).toBe('forbidden')
      expect((await remove(carol, dan)).outcome).toBe('forbidden')
      expect((await remove(bob, carol)).outcome).toBe('stored')
      expect((await remove(bob, carol)).outcome).toBe('not-found')
      expect((await put(ada, bob, 'owner')).outcome).toBe('stored')
      // Both owners give up the role at once: one of them must stay owner.
      const both = await Promise.all([
        put(ada, ada, 'member'),
        secondLog.apply({ op: 'put-member', conversation: place, actor: bob, user: bob, role: 'member' }),
      ])
      expect(both.map(({ outcome }) => outcome).sort()).toEqual(['forbidden', 'stored'])
    })

    it('lets the last member leave a group, which then no user can join', async () => {
      const place = await fixture.group([ada])
      expect((await fixture.apply({ op: 'remove-member', conversation: place, actor: ada, user: ada })).outcome).toBe(
        'stored',
      )
      expect(
        (await fixture.apply({ op: 'put-member', conversation: place, actor: ada, user: ada, role: null })).outcome,
      ).toBe('not-found')
    })

    it('any user may join a channel, no user a group; direct conversations have no roles', async () => {
      const [stranger] = (await fixture.users(1)) as [Id]
      const channel = await fixture.group([ada], 'channel')
      const join = (conversation: Id, role: 'owner' | null = null) =>
        fixture.apply({ op: 'put-member', conversation, actor: stranger, user: stranger, role })
      expect((await join(channel, 'owner')).outcome).toBe('forbidden')
      const joined = await join(channel)
      expect(joined).toMatchObject({ outcome: 'stored', detail: { role: 'member', joined: true } })
      expect(await join(channel)).toMatchObject({ outcome: 'unchanged', seq: joined.seq })
      expect((await join(await fixture.group([ada]))).outcome).toBe('not-found')
      const other = await fixture.user()
      const direct = await fixture.group([ada, other], 'direct')
      expect(
        (await fixture.apply({ op: 'put-member', conversation: direct, actor: ada, user: stranger, role: null }))
          .outcome,
      ).toBe('forbidden')
      expect((await fixture.apply({ op: 'remove-member', conversation: direct, actor: ada, user: ada })).outcome).toBe(
        'forbidden',
      )
      expect((await fixture.apply({ op: 'rename', conversation: direct, actor: ada, name: 'x' })).outcome).toBe(
        'forbidden',
      )
    })

    it('only moderators and owners rename; an equal name changes nothing', async () => {
      const renamed = await fixture.apply({ op: 'rename', conversation: group, actor: ada, name: 'new' })
      expect(renamed.outcome).toBe('stored')
      expect((await fixture.apply({ op: 'rename', conversation: group, actor: ada, name: 'new' })).outcome).toBe(
        'unchanged',
      )
      expect((await fixture.apply({ op: 'rename', conversation: group, actor: bob, name: 'no' })).outcome).toBe(
        'forbidden',
      )
    })

    it('keeps the member count correct during concurrent joins and removals', async () => {
      const people = await fixture.users(12)
      const place = await fixture.group([ada], 'channel')
      await Promise.all(
        people.flatMap((user, index) => {
          const log = index % 2 === 0 ? fixture.log : secondLog
          return [
            log.apply({ op: 'put-member', conversation: place, actor: user, user, role: null }),
            ...(index % 3 === 0 ? [log.apply({ op: 'remove-member', conversation: place, actor: user, user })] : []),
          ]
        }),
      )
      const [counted] = await fixture.sql<{ member_count: number; real: number }>(
        `select member_count, (select count(*)::int from members where conversation = id and left_seq is null) as real
           from conversations where id = $1`,
        [place],
      )
      expect(counted).toEqual({ member_count: 9, real: 9 })
      const seqs = await fixture.seqs(place)
      expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => index + 1))
    })
  })
})
