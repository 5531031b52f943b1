/**
 * Checks the query plans of reads that must not get slower as the log grows. The reads run as
 * prepared statements with a generic plan, on tables with and without statistics. Also checks
 * appends with plans that were made while the tables were empty.
 */
import { randomUUID } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Database, Lane, Statement } from '../database/database.ts'
import { markRead } from './mark-read.ts'
import { readGap, readMissed, readNewestChanges, readSegment } from './read-changes.ts'
import { readConversation, readConversations, readSubjectConversation } from './read-conversations.ts'
import { readMemberships, readUnread } from './read-memberships.ts'
import { type PageAnchor, readMessagePage } from './read-messages.ts'
import { readMemberSeqs } from './read-member-seqs.ts'
import { readNewestPages } from './read-latest-pages.ts'
import { placeAt, sweepChanges } from './sweep-changes.ts'
import { LogFixture, openLog } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Rows Removed by Filter'?: number
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly Plans?: readonly PlanNode[]
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)]

describe.runIf(testEngines.includes('postgres'))('query plans of log reads', () => {
  let store: TestDatabase
  let client: pg.Client
  let ada: Id
  let group: Id
  const users: Id[] = []

  /** Returns the SQL statements that a read sends. */
  async function statementsOf(read: (database: Database) => Promise<unknown>): Promise<Statement[]> {
    const statements: Statement[] = []
    await read(
      new Proxy(store.database, {
        get: (target, key) => {
          if (key !== 'query') return Reflect.get(target, key, target) as unknown
          return (statement: Statement) => {
            statements.push(statement)
            return target.query(statement)
          }
        },
      }),
    )
    return statements
  }

  /** Returns the number of rows of a table that a read examined, including rows that it filtered out. */
  async function examined(read: (database: Database) => Promise<unknown>, table = 'changes'): Promise<number> {
    let rows = 0
    for (const { text, values = [] } of await statementsOf(read)) {
      await client.query(`prepare asked as ${text}`)
      const literals = values.map((value) =>
        Array.isArray(value)
          ? `'{${value.map((one: unknown) => JSON.stringify(one)).join(',')}}'`
          : pg.escapeLiteral(String(value)),
      )
      const result = await client.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
        `explain (analyze, timing off, format json) execute asked(${literals.join(', ')})`,
      )
      await client.query('deallocate asked')
      const plan = result.rows[0]!['QUERY PLAN'][0]!.Plan
      for (const node of nodesOf(plan)) {
        if (node['Relation Name'] !== table) continue
        rows += (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']
      }
    }
    return rows
  }

  beforeAll(async () => {
    store = await openTestDatabase('postgres')
    const fixture = new LogFixture(store.database)
    await fixture.sql(`alter table changes set (autovacuum_enabled = off)`)
    await fixture.sql(`alter table members set (autovacuum_enabled = off)`)
    await fixture.sql(`alter table conversations set (autovacuum_enabled = off)`)
    users.push(...(await fixture.users(200)))
    ada = users[0] as Id
    for (let index = 0; index < 100; index++) await fixture.group([ada, users[index + 1] as Id])
    group = await fixture.group(users.slice(0, 50))
    // Ada writes many messages and never moves her read marker. Then follow many changes that are
    // not messages.
    await fixture.fill(group, ada, 20_000)
    for (let run = 0; run < 3; run++) {
      await fixture.sql(
        `with top as (
           update conversations set seq = seq + 20000, last_xid = pg_current_xact_id() where id = $1 returning seq - 20000 as base)
         insert into changes (conversation, seq, at, type, actor, target, emoji)
         select $1, top.base + n, clock_timestamp(), 'reaction.added', $2, 100, 'x' from top, generate_series(1, 20000) n`,
        [group, ada],
      )
      await fixture.fill(group, ada, 10)
    }
    // Fifty users were removed long before the tested range of changes, ten users after its start.
    await fixture.sql(
      `insert into members (conversation, user_id, role, joined_seq, left_seq)
       select $1, id, 'member', 1, case when n <= 50 then 100 + n else 80000 + n - 50 end
         from unnest($2::uuid[]) with ordinality u(id, n)`,
      [group, users.slice(140)],
    )
    client = new pg.Client({ connectionString: store.url, options: '-c plan_cache_mode=force_generic_plan' })
    await client.connect()
  })
  afterAll(async () => {
    await client.end()
    await store.close()
  })

  /** Reads of the log, each with the maximum number of log rows that it may examine. */
  const reads = (): readonly (readonly [string, (database: Database) => Promise<unknown>, number])[] => {
    const page = (anchor: PageAnchor) => (database: Database) => readMessagePage(database, ada, group, anchor, 50)
    const newestChanges = (position: number) => (database: Database) =>
      readNewestChanges(database, [{ conversation: group, position }], {
        atLeast: 16,
        atMost: 256,
        bytesMax: 262_144,
      })
    const everybody = users.slice(0, 50).map((user) => ({ user, conversation: group }))
    const looked = { next: Number.MAX_SAFE_INTEGER, open: [4, 5] }
    const lookedAt = { changes: looked, members: looked, sessions: looked }
    const marked = { user: ada, position: 5, session: null }
    return [
      // The page and one more row, plus the checks whether more messages exist before and after it.
      ['newest page', page({ kind: 'newest' }), 53],
      ['page before', page({ kind: 'before', seq: 80_000 }), 53],
      ['page after', page({ kind: 'after', seq: 20_060 }), 53],
      ['page around', page({ kind: 'around', seq: 50_000 }), 53],
      // The cost does not depend on the number of users. A page that the server already knows costs
      // nothing.
      ['newest pages', (database) => readNewestPages(database, everybody), 53],
      ['newest pages known', (database) => readNewestPages(database, everybody, new Map([[group, 80_081]])), 0],
      ['gap', (database) => readGap(database, { conversation: group, from: 79_990, to: 79_999 }, 500), 20],
      // A sweep that finds no new rows, after a sweep that found two open transactions. It reads
      // the newest row, to compute the new position.
      ['sweep', (database) => sweepChanges(database, { ...placeAt(Number.MAX_SAFE_INTEGER), parts: lookedAt }), 2],
      ['member seqs', (database) => readMemberSeqs(database, everybody), 0],
      [
        'stretch',
        (database) => readSegment(database, { conversation: group, from: 30_001, to: 31_000 }, 1_000_000),
        2_000,
      ],
      [
        'missed',
        (database) =>
          readMissed(database, {
            conversation: group,
            position: Number.MAX_SAFE_INTEGER - 1,
            top: 31_000,
            alignment: 1_000,
            changesMax: 1_000,
            bytesMax: 1_000_000,
          }),
        2_002,
      ],
      // Rows read to find the client's position, plus the rows returned.
      ['newest changes, all known', newestChanges(Number.MAX_SAFE_INTEGER), 17],
      ['newest changes, none known', newestChanges(5), 512],
      // Rows scanned to count the unread messages, plus the last message.
      ['conversation', (database) => readConversation(database, ada, group), 2_001],
      ['conversations', (database) => readConversations(database, ada, 50, undefined), 2_100],
      ['read marker', (database) => markRead(database, ada, group, 10), 2_000],
      ['unread', (database) => readUnread(database, ada, [group]), 2_000],
      // The number is not exact, because Postgres reports a rounded mean over 101 conversations. It
      // includes reading the newest change, to compute the position.
      ['memberships of a connection', (database) => readMemberships(database, [marked]), 2_100],
      [
        'memberships of a page',
        (database) => readMemberships(database, [{ ...marked, page: { from: undefined, limit: 5 } }]),
        1,
      ],
    ]
  }

  it.each(['never analysed', 'analysed'])(
    '[LIM1] reads examine little more than the rows they return: %s',
    async (state) => {
      if (state === 'analysed') await client.query('analyze')
      const over: string[] = []
      for (const [name, read, rowsMax] of reads()) {
        const rows = await examined(read)
        if (rows > rowsMax) over.push(`${name}: ${rows} rows instead of ${rowsMax}`)
      }
      expect(over).toEqual([])
    },
  )

  it('[LIM1] [SUB1] looks up the conversation of a subject by index', async () => {
    await client.query(
      `insert into conversations (id, kind, seq, member_version, member_count, subject_type, subject_id)
       select gen_random_uuid(), 'group', 0, 0, 0, 'order', n::text from generate_series(1, 5000) n`,
    )
    const lookUp = (database: Database) => readSubjectConversation(database, ada, 'order', '4711')
    for (const state of ['never analysed', 'analysed']) {
      if (state === 'analysed') await client.query('analyze')
      expect([state, await examined(lookUp, 'conversations')]).toEqual([state, 1])
    }
  })
})

describe.runIf(testEngines.includes('postgres'))('query plans of log writes', () => {
  let store: TestDatabase
  let client: pg.Client
  beforeAll(async () => {
    store = await openTestDatabase('postgres')
    client = new pg.Client({ connectionString: store.url })
    await client.connect()
  })
  afterAll(async () => {
    await client.end()
    await store.close()
  })

  /**
   * Wraps a database so that it appends through this client. Each batch runs in a transaction that
   * records the number of rows it examined.
   */
  function watched(examined: number[]): Database {
    const lane: Lane = {
      run: async <Row>({ text, values, name }: Statement) => {
        await client.query('begin')
        const before = await lookedAt()
        const { rows } = await client.query({ text, values: [...(values ?? [])], ...(name !== undefined && { name }) })
        examined.push((await lookedAt()) - before)
        await client.query('commit')
        return rows as Row[]
      },
    }
    return new Proxy(store.database, {
      get: (target, key) =>
        key === 'lane' || key === 'laneApart'
          ? () => lane
          : key === 'laneCount'
            ? 1
            : (Reflect.get(target, key, target) as unknown),
    })
  }

  async function lookedAt(): Promise<number> {
    const { rows } = await client.query<{ read: number }>(
      `select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int as read from pg_stat_xact_user_tables`,
    )
    return rows[0]!.read
  }

  it.each([1, 3])('[LIM1] appends in batches of %i look up rows by key, even with outdated plans', async (size) => {
    await client.query('analyze')
    const fixture = new LogFixture(store.database)
    const [ada, bob] = (await fixture.users(2)) as [Id, Id]
    const group = await fixture.group([ada, bob])
    const examined: number[] = []
    const log = openLog(watched(examined))
    const sendSome = async (): Promise<unknown> =>
      Promise.all(
        Array.from({ length: size }, () =>
          log.append({ conversation: group, actor: ada, clientId: randomUUID(), text: 'x', replyTo: 1, data: null }),
        ),
      )
    for (let batch = 0; batch < 10; batch++) await sendSome()
    await fixture.fill(group, ada, 3_000)
    await fixture.users(3_000)
    for (let batch = 0; batch < 5; batch++) await sendSome()
    expect(examined).toHaveLength(15)
    expect(Math.max(...examined.slice(-5))).toBeLessThanOrEqual(10 * size)
  })
})
