/**
 * Checks how many rows each SQL statement of the server reads from full tables: no scan of a
 * growing table, and no more rows than the limit of the statement. Postgres counts the rows, so the
 * work of SQL functions and triggers is included.
 *
 * Statements are prepared with a generic plan, like those of the server. The last test fails if a
 * named statement has no test here.
 */
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { Id } from '@chorus/protocol'
import pg from 'pg'
import { v7 as uuidv7 } from 'uuid'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as external from '../accounts/external-users.ts'
import * as tokenSessions from '../accounts/token-sessions.ts'
import * as tokenUsers from '../accounts/token-users.ts'
import { deleteOldCanaryMessages, ensureCanaryUser, readCanaryPlace } from '../database/canary.ts'
import { openConsumerLog } from './consumer-log.ts'
import type { Database, Lane, Statement } from '../database/database.ts'
import * as erasure from '../erasure/erasure-store.ts'
import { findSendingBot } from './find-sending-bot.ts'
import { foldNameOf, foldNames } from '../accounts/fold-names.ts'
import { readLastSeen } from '../accounts/last-seen.ts'
import * as mail from '../jobs/mail.ts'
import * as calls from '../keys/idempotency-store.ts'
import * as keys from '../keys/key-store.ts'
import { markRead } from './mark-read.ts'
import { OldestTransaction } from '../database/oldest-transaction.ts'
import {
  findChannelNamed,
  findChannels,
  readConversation,
  readConversations,
  readMembers,
  readSubjectConversation,
} from './read-conversations.ts'
import { readCard } from './read-card.ts'
import { readOwnReactions } from './read-own-reactions.ts'
import * as changes from './read-changes.ts'
import { readHookFacts, readStoredText } from './read-hook-facts.ts'
import { readMarkers } from './read-markers.ts'
import { readMemberSeqs } from './read-member-seqs.ts'
import { readMemberships, readSharing, readUnread } from './read-memberships.ts'
import { readMessage, readMessagePage } from './read-messages.ts'
import { readNewestPages } from './read-latest-pages.ts'
import * as sharing from './read-sharing.ts'
import { isStranger, readStrangersOfCreation } from './read-strangers.ts'
import { findSameRequest } from './same-request.ts'
import * as sessions from '../accounts/sessions.ts'
import { placeAt, readPosition, sweepChanges } from './sweep-changes.ts'
import { openLog } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import { readTrace } from './trace.ts'
import * as users from '../accounts/users.ts'
import * as webhooks from '../jobs/webhooks.ts'

/** Tables that stay small and may be scanned. */
const small = [
  ...['settings', 'migrations', 'consumers', 'consumer_progress', 'webhook_endpoints'],
  ...['api_keys', 'api_public_keys', 'api_key_sets'],
]

/** Number of rows to insert of each kind: enough that the planner never prefers a scan. */
const count = {
  users: 60_000,
  conversations: 60_000,
  memberships: 2_000,
  messages: 40_000,
  reactors: 3_000,
  jobs: 20_000,
  ended: 5_000,
}

interface Cost {
  readonly table: string
  readonly scans: number
  readonly rows: number
}

describe.runIf(testEngines.includes('postgres'))('row costs of SQL statements', () => {
  let store: TestDatabase
  let client: pg.Client
  let watched: Database
  let ada: Id
  let bob: Id
  let room: Id
  let mine: Id[]
  let endpoint: Id
  let session: Id
  const asked = new Set<string>()
  let found: { readonly statement: string; readonly costs: readonly Cost[] }[] = []

  beforeAll(async () => {
    store = await openTestDatabase('postgres')
    client = new pg.Client({ connectionString: store.url })
    await client.connect()
    for (const setting of [
      `plan_cache_mode = force_generic_plan`,
      'jit = off',
      'max_parallel_workers_per_gather = 0',
      `timezone = 'UTC'`,
      // Inserts these rows without triggers. Tests below cover the triggers.
      'session_replication_role = replica',
    ])
      await client.query(`set ${setting}`)
    await fill()
    await client.query('set session_replication_role = origin')
    await client.query('analyze')
    watched = watch()
  }, 180_000)
  afterAll(async () => {
    await client.end()
    await store.close()
  })

  async function fill(): Promise<void> {
    const made = (n: number, salt: string): string => `md5(${n < 0 ? 'n' : n}::text || '${salt}')::uuid`
    const one = async (text: string): Promise<Id> => (await client.query<{ id: Id }>(text)).rows[0]?.id ?? ''
    await client.query(
      `insert into users (id, handle, name, password_hash, external_id) select ${made(-1, 'u')}, 'person' || n, 'Person ' || n, '', 'customer ' || n from generate_series(1, ${count.users}) n`,
    )
    await client.query(
      `insert into conversations (id, kind, name, seq, last_message_seq, member_count, subject_type, subject_id)
       select ${made(-1, 'c')}, case when n % 2 = 0 then 'channel' else 'group' end, 'channel ' || n, 2, 2, 1, 'order', n from generate_series(1, ${count.conversations}) n`,
    )
    await client.query(
      `insert into changes (conversation, seq, at, type, actor, client_id, request_hash, version, text)
       select ${made(-1, 'c')}, 2, now(), 'message.created', ${made(-1, 'u')}, gen_random_uuid(), '', 2, 'x' from generate_series(1, ${count.conversations}) n`,
    )
    await client.query(
      `insert into members (conversation, user_id, role, joined_seq) select ${made(-1, 'c')}, ${made(-1, 'u')}, 'owner', 1 from generate_series(1, ${count.conversations}) n`,
    )
    await client.query(
      `insert into sessions (id, token_hash, user_id, expires_at, key_id) select ${made(-1, 's')}, decode(md5(n::text), 'hex'), ${made(-1, 'u')}, now() + interval '1 day', case when n % 2 = 0 then 'key_' || n % 100 end from generate_series(1, ${count.users}) n`,
    )
    // A user of many connections under tokens without a device.
    await client.query(
      `insert into sessions (id, token_hash, user_id, expires_at, key_id) select gen_random_uuid(), decode(md5('e' || n), 'hex'), ${made(2, 'u')}, now() - interval '1 hour', 'key_2' from generate_series(1, ${count.ended}) n`,
    )
    await client.query(
      `insert into searched_names (owner, is_channel, name, folded)
       select ${made(-1, 'u')}, false, 'Person ' || n, 'person ' || n from generate_series(1, ${count.users}) n
       union all select ${made(-1, 'c')}, true, 'channel ' || n, 'channel ' || n from generate_series(2, ${count.conversations}, 2) n`,
    )
    await client.query(
      `insert into name_parts (part, owner) select distinct substr('channel ' || n, i), ${made(-1, 'c')} from generate_series(2, ${count.conversations}, 2) n, generate_series(1, 13) i where i <= length('channel ' || n)`,
    )
    ada = await one(`select ${made(1, 'u')} as id`)
    bob = await one(`select ${made(2, 'u')} as id`)
    room = await one(`select ${made(1, 'c')} as id`)
    session = await one(`select ${made(1, 's')} as id`)
    // A user who is in many conversations and has left as many.
    await client.query(
      `insert into members (conversation, user_id, role, joined_seq, left_seq)
       select ${made(-1, 'c')}, '${ada}', 'member', 1, case when n % 2 = 0 then 2 end from generate_series(2, ${2 * count.memberships}) n`,
    )
    // A busy conversation has many messages, many members, and many reactions to its newest
    // messages.
    await client.query(
      `insert into changes (conversation, seq, at, type, actor, client_id, request_hash, version, text)
       select '${room}', n, now(), 'message.created', '${bob}', gen_random_uuid(), '', n, 'x' from generate_series(3, ${count.messages}) n`,
    )
    await client.query(
      `update conversations set seq = ${count.messages}, last_message_seq = ${count.messages}, member_count = ${count.reactors} where id = '${room}'`,
    )
    await client.query(
      `insert into members (conversation, user_id, role, joined_seq) select '${room}', ${made(-1, 'u')}, 'member', n from generate_series(2, ${count.reactors}) n`,
    )
    await client.query(
      `insert into reactions (conversation, target, user_id, emoji, seq)
       select '${room}', m, ${made(-1, 'u')}, 'x', n from generate_series(2, ${count.reactors}) n, generate_series(${count.messages - 50}, ${count.messages}) m`,
    )
    await client.query(
      `insert into reaction_counts (conversation, target, emoji, n, first_seq) select conversation, target, emoji, count(*), min(seq) from reactions group by 1, 2, 3`,
    )
    await client.query(
      `insert into reaction_counts (conversation, target, emoji, n, first_seq) select ${made(-1, 'c')}, 2, 'x', 1, 3 from generate_series(2, ${count.conversations}) n`,
    )
    await client.query(
      `insert into idempotency_keys (key_id, method, path, as_user, key, body_hash, status) select 'key', 'PUT', '/v1', '', n, '', 200 from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `insert into erased_external_ids (external_id, tokens_after) select 'erased ' || n, 0 from generate_series(1, ${count.jobs}) n`,
    )
    // Insert rows for mails and webhooks.
    endpoint = uuidv7()
    await client.query(`insert into webhook_endpoints (id, url, secrets) values ('${endpoint}', 'http://x', '{a}')`)
    await client.query(
      `insert into webhook_deliveries (endpoint, conversation, seq, event_id, dead_at) select '${endpoint}', ${made(-1, 'c')}, 2, n::text, case when n % 2 = 0 then now() end from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `insert into webhook_lanes (endpoint, conversation, due_at) select '${endpoint}', ${made(-1, 'c')}, now() + interval '1 day' from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `insert into notification_settings (user_id, email, digest) select ${made(-1, 'u')}, 'a' || n || '@example.org', true from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `insert into mails (id, user_id, kind, address, state, due_at, ended_at) select ${made(-1, 'm')}, ${made(-1, 'u')}, 'confirmation', 'a' || n || '@example.org', 'sent', now(), now() from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `insert into mail_parts (mail, conversation, from_seq, to_seq) select ${made(-1, 'm')}, ${made(-1, 'c')}, 0, 2 from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `insert into mail_due (user_id, due_at) select ${made(-1, 'u')}, now() + interval '1 day' from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `insert into mail_watermarks (user_id, conversation, seq) select ${made(-1, 'u')}, ${made(-1, 'c')}, 2 from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `insert into idempotency_keys (key_id, method, path, as_user, key, body_hash, status, body)
       select 'key', 'PUT', '/', '', n::text, '', 200, '{}' from generate_series(1, ${count.jobs}) n`,
    )
    await client.query(
      `update users set external_id = 'external ' || id, erasing_since = case when id = '${bob}' then now() end`,
    )
    // Both consumers have handled the whole log.
    await client.query(`update consumers set position = pg_snapshot_xmax(pg_current_snapshot())::text::bigint`)
    const { rows } = await client.query<{ id: Id }>(
      `select conversation as id from members where user_id = '${ada}' and left_seq is null limit 50`,
    )
    mine = rows.map(({ id }) => id)
  }

  /** Runs a statement as the server does, records the number of rows read, and rolls back. */
  async function run<Row>({ name, text, values = [] }: Statement): Promise<Row[]> {
    if (name !== undefined) asked.add(name)
    await client.query('begin')
    try {
      await client.query(`prepare asked as ${text}`)
      const before = await looked()
      const result = await client.query<pg.QueryResultRow>(
        `execute asked${values.length === 0 ? '' : `(${values.map(literal).join(', ')})`}`,
      )
      const after = await looked()
      const costs = [...after].flatMap(([table, [scans, rows]]) => {
        const [scansBefore, rowsBefore] = before.get(table) ?? [0, 0]
        return rows === rowsBefore && scans === scansBefore
          ? []
          : [{ table, scans: scans - scansBefore, rows: rows - rowsBefore }]
      })
      found.push({ statement: name ?? text.replaceAll(/\s+/g, ' ').slice(0, 60), costs })
      return result.rows as Row[]
    } finally {
      await client.query('rollback')
      await client.query('deallocate all')
    }
  }

  async function looked(): Promise<Map<string, readonly [scans: number, rows: number]>> {
    const { rows } = await client.query<{ table: string; scans: number; rows: number }>(
      `select relname as table, seq_scan::int as scans, (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as rows from pg_stat_xact_user_tables`,
    )
    return new Map(rows.map((row) => [row.table, [row.scans, row.rows]]))
  }

  function literal(value: unknown): string {
    if (value === null || value === undefined) return 'null'
    if (!Array.isArray(value)) return pg.escapeLiteral(plain(value))
    const items = value.map((item: unknown) => (item === null ? 'null' : JSON.stringify(plain(item))))
    return pg.escapeLiteral(`{${items.join(',')}}`)
  }

  function plain(value: unknown): string {
    if (Buffer.isBuffer(value)) return `\\x${value.toString('hex')}`
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value)
    throw new Error(`unable to write a ${typeof value} as a literal`)
  }

  /** Wraps the database so that statements run one at a time and are rolled back. */
  function watch(): Database {
    const lane: Lane = { run: (statement) => run(statement) }
    return new Proxy(store.database, {
      get: (target, key) => {
        if (key === 'query') return run
        if (key === 'lane' || key === 'laneApart') return () => lane
        if (key === 'laneCount') return 1
        return Reflect.get(target, key, target) as unknown
      },
    })
  }

  /**
   * Runs this work and returns the statements that scan a growing table or read more than `rowsMax`
   * rows.
   */
  async function expensive(rowsMax: number, work: readonly (() => Promise<unknown>)[]): Promise<string[]> {
    found = []
    for (const one of work)
      await one().catch((error: unknown) => {
        if (
          !(error instanceof Error) ||
          !/there is no consumer|was not (?:answered|stored)|unable to/.test(error.message)
        )
          throw error
      })
    expect(found.length).toBeGreaterThan(0)
    return found.flatMap(({ statement, costs }) =>
      costs
        .filter(({ table }) => !small.includes(table) && !table.startsWith('pg_'))
        .filter(({ scans, rows }) => scans > 0 || rows > rowsMax)
        .map(({ table, scans, rows }) => `${statement}: ${table}, ${scans} scans, ${rows} rows`),
    )
  }

  it('[LIM1] pages, member lists and search read only the rows they show', async () => {
    const page = (anchor: Parameters<typeof readMessagePage>[3]) => () =>
      readMessagePage(watched, bob, room, anchor, 50)
    const over = await expensive(400, [
      page({ kind: 'newest' }),
      page({ kind: 'before', seq: 30_000 }),
      page({ kind: 'after', seq: 300 }),
      page({ kind: 'around', seq: 20_000 }),
      () => readMessage(watched, bob, room, count.messages),
      () => readMembers(watched, bob, room, 50, 0),
      () => readNewestPages(watched, [{ user: bob, conversation: room }]),
      () => users.findUsersByPrefix(watched, 'person', 50),
      () => users.findUsersByPrefix(watched, 'zzzz', 50),
      () => users.findUsersByPrefix(watched, '', 50),
      () => users.readUsers(watched, [ada, bob]),
      () => users.findCredentials(watched, 'person7'),
      () => readLastSeen(watched, [ada, bob]),
    ])
    expect(over).toEqual([])
  })

  it('[LIM1] channel search reads a limited number of rows, whatever the search term', async () => {
    const over = await expensive(
      2_500,
      ['channel', 'c', '7', 'nel 1', 'zzzz', '', ' '].map((text) => () => findChannels(watched, ada, text, 50)),
    )
    expect(over).toEqual([])
    expect(await expensive(50, [() => findChannelNamed(watched, 'channel 7')])).toEqual([])
  })

  it('[LIM1] conversation lists read only conversations of the user', async () => {
    const position = { user: ada, position: 5, session }
    const pairs = mine.map((conversation) => ({ user: ada, conversation }))
    const over = await expensive(3 * 2 * count.memberships, [
      () => readConversations(watched, ada, 50, undefined),
      () => readConversations(watched, ada, 50, { xid: '900000', id: room }),
      () => readConversation(watched, ada, room),
      () => readMemberships(watched, [position]),
      () => readMemberships(watched, [{ ...position, page: { from: undefined, limit: 50 } }]),
      () => readUnread(watched, ada, mine),
      () => readMarkers(watched, pairs),
      () => readMemberSeqs(watched, pairs),
      () => readSharing(watched, ada, [bob]),
      () => markRead(watched, ada, room, 10),
      () => sharing.readSharedPairs(watched, [{ user: ada, other: bob }]),
      () => isStranger(watched, { adder: ada, user: bob, conversation: room, roles: ['owner'] }),
      () => isStranger(watched, { adder: bob, user: ada, conversation: mine[0] as Id, roles: ['owner'] }),
      () => readStrangersOfCreation(watched, { creator: ada, others: [bob], directKey: null, clientId: null }),
      () => sharing.readMembersAmong(watched, room, [bob]),
    ])
    expect(over).toEqual([])
  })

  it('[LIM1] a trace for operators reads only one conversation', async () => {
    const over = await expensive(count.reactors, [
      () => readTrace(watched, room, 5, 'person7'),
      () => readTrace(watched, room, 5, ada),
    ])
    expect(over).toEqual([])
  })

  it('[LIM1] reads of a range of the log examine only that range', async () => {
    const range = { conversation: room, from: 20_000, to: 20_100 }
    const over = await expensive(2_100, [
      () => changes.readRange(watched, range, 100),
      () => changes.readGap(watched, range, 100),
      () => changes.readSegment(watched, { conversation: room, from: 20_001, to: 21_000 }, 1_000_000),
      () =>
        changes.readMissed(watched, {
          conversation: room,
          position: Number.MAX_SAFE_INTEGER - 1,
          top: 20_000,
          alignment: 1_000,
          changesMax: 1_000,
          bytesMax: 1_000_000,
        }),
      () =>
        changes.readNewestChanges(watched, [{ conversation: room, position: 5 }], {
          atLeast: 16,
          atMost: 256,
          bytesMax: 262_144,
        }),
      () => changes.readBoundary(watched, room, 5, 1_000),
      () => changes.readRewrites(watched, room, range.to),
      () => changes.readStanding(watched, bob, room),
      () => readOwnReactions(watched, { conversation: room, target: 5, user: bob }),
      () => changes.readChangesForMember(watched, bob, room, 20_000, 100),
      () => sweepChanges(watched, placeAt(Number.MAX_SAFE_INTEGER)),
      () => readPosition(watched),
      () => new OldestTransaction(watched, { nowMs: () => 0 } as never).ageMs(),
      () =>
        findSameRequest(watched, {
          conversation: room,
          actor: bob,
          clientId: randomUUID(),
          text: '',
          replyTo: null,
          data: {},
        }),
    ])
    expect(over).toEqual([])
  })

  it('[LIM1] finds sessions by key and prunes them by index', async () => {
    const over = await expensive(1_000, [
      () => sessions.findSessions(watched, [Buffer.from('x'), Buffer.from('y')]),
      () => sessions.touchSessions(watched, [session]),
      () => sessions.readSession(watched, session),
      () => sessions.listSessions(watched, ada),
      () => sessions.revokeSession(watched, ada, session),
      () => sessions.revokeSessionByToken(watched, Buffer.from('x')),
      () => sessions.readSessionData(watched, session),
      () => sessions.mergeSessionData(watched, session, { a: 1 }, 1_000),
      () => sessions.readRecentRevocations(watched, 60_000, 100),
      () => sessions.deleteOldSessions(watched, 7, 500),
      () =>
        sessions.insertSession(watched, { id: uuidv7(), userId: ada, tokenHash: Buffer.from('z'), userAgent: null }),
    ])
    expect(over).toEqual([])
  })

  it('[LIM1] the server API and user tokens find users, sessions and subjects by key', async () => {
    const id = uuidv7()
    const iat = 1
    const call = { keyId: 'key', key: '7', method: 'PUT', path: '/v1', asUser: '', bodyHash: Buffer.from('') }
    const hash = Buffer.from('x')
    const user = { handle: 'fresh', name: 'Fresh', avatar: null, passwordHash: '' }
    const start = {
      id,
      userId: ada,
      tokenHash: hash,
      device: id,
      userAgent: null,
      keyId: 'key',
      iat,
      until: new Date(),
    }
    const lone = { ...start, id: uuidv7(), tokenHash: Buffer.from('y'), device: undefined }
    const over = await expensive(200, [
      () => external.putExternalUsers(watched, [{ externalId: 'customer 7', name: 'Ada', handle: 'person8' }]),
      () => external.putExternalUsers(watched, [{ externalId: 'customer 8', name: 'Ada' }]),
      () => external.readExternalUsers(watched, ['customer 7', 'unknown']),
      () => external.listExternalUsers(watched, undefined, 50),
      () => external.listExternalUsers(watched, bob, 50),
      () => external.findExternalUser(watched, 'customer 7'),
      () => external.revokeTokensOf(watched, 'customer 7', () => undefined),
      () => tokenUsers.readTokenUsers(watched, ['customer 7', 'erased 7', 'unknown']),
      () => tokenUsers.createTokenUser(watched, { ...user, id, externalId: 'unknown', iat }),
      () =>
        tokenUsers.noteNewerTokens(watched, [{ externalId: 'customer 7', iat, name: undefined, avatar: undefined }]),
      () => tokenSessions.findTokenSessions(watched, [{ tokenHash: hash, iat }]),
      () => tokenSessions.beginTokenSessions(watched, [start, lone]),
      () => tokenSessions.renewTokenSession(watched, session, ada, start),
      () => tokenSessions.endLoneSessions(watched, [session]),
      () => calls.claimCall(watched, call),
      () => calls.storeAnswer(watched, call, { status: 200, body: null }),
      () => calls.forgetCall(watched, call),
      () => calls.pruneCalls(watched),
      () => readSubjectConversation(watched, bob, 'order', '7'),
      () => readCard(watched, room, 5),
      () => keys.readLiveKeys(watched),
    ])
    expect(over).toEqual([])
    const live = await expensive(2_000, [
      () => sessions.listSessions(watched, bob),
      () => external.revokeSessionsOf(watched, [ada, bob], () => undefined),
      () => keys.revokeKeySessions(watched, 'key_2'),
    ])
    expect(live).toEqual([])
  })

  it('[LIM1] statements that write look up rows by key, including their triggers', async () => {
    const log = openLog(watched)
    const id = uuidv7()
    const over = await expensive(60, [
      () => users.insertUser(watched, { id, handle: 'new', name: 'New', passwordHash: '' }),
      () => users.updateProfile(watched, ada, { name: 'Other', handle: 'other' }),
      () => foldNames(watched),
      () => foldNameOf(watched, room, 'channel 1'),
      () => log.append({ conversation: room, actor: bob, clientId: randomUUID(), text: 'x', replyTo: 5, data: null }),
      () => log.apply({ op: 'react', conversation: room, actor: ada, target: count.messages, emoji: 'y' }),
      () => log.apply({ op: 'unreact', conversation: room, actor: bob, target: count.messages, emoji: 'x' }),
      () => log.apply({ op: 'edit', conversation: room, actor: bob, target: count.messages, text: 'y' }),
      () => log.apply({ op: 'rename', conversation: room, actor: ada, name: 'y' }),
      () =>
        log.apply({
          op: 'create',
          conversation: id,
          actor: ada,
          kind: 'channel',
          name: 'y',
          directKey: null,
          members: [ada],
        }),
    ])
    // The SQL function `append_changes` counts the user's memberships, to enforce the limit on
    // conversations per user. So its row reads of `members` are expected.
    expect(over.filter((line) => !line.startsWith('append_changes: members, 0 scans'))).toEqual([])
  })

  it('[LIM1] [HOOK1] [IDEM1] the checks before a message read a limited number of rows', async () => {
    const clientId = uuidv7()
    const over = await expensive(20, [
      () => findSendingBot(watched, room, clientId),
      () => readHookFacts(watched, [{ user: ada, conversation: room, clientId, target: 2 }]),
      () => readStoredText(watched, { actor: ada, conversation: room, clientId }),
    ])
    expect(over).toEqual([])
  })

  it('[LIM1] [ERASE2] each step of an erasure reads a limited number of rows', async () => {
    const first = '00000000-0000-0000-0000-000000000000'
    let batches = 0
    // A statement reads its rows twice, to choose and to change them, and those of its triggers.
    const over = await expensive(3 * erasure.erasureLimits.rowsMax, [
      () => erasure.beginErasure(watched, `external ${ada}`),
      () => erasure.readErasures(watched, 0),
      () => erasure.readNextMemberships(watched, ada, first),
      () => erasure.clearReadMarkers(watched, ada, first),
      () => erasure.readNextMessages(watched, bob, { conversation: first, clientId: first }),
      () => erasure.readNextMessages(watched, bob, { conversation: room, clientId: first }),
      () => erasure.readReactions(watched, bob),
      () => erasure.clearSessions(watched, bob, erasure.firstSession),
      () => erasure.deleteMails(watched, bob),
      () => calls.eraseAnswers(watched, bob, calls.firstCall),
      () => erasure.finishErasure(watched, bob),
      () => erasure.pruneErasedIds(watched, () => batches++ > 0),
    ])
    expect(over).toEqual([])
    const log = openLog(watched)
    const erased = { conversation: room, actor: bob }
    expect(
      await expensive(60, [
        () => log.apply({ op: 'erase-message', ...erased, target: 5 }),
        () => log.apply({ op: 'erase-reaction', ...erased, target: count.messages, emoji: 'x' }),
        () => log.apply({ op: 'erase-member', ...erased, user: bob }),
        // Leaving changes the row of one member, as an erasure does.
        () => log.apply({ op: 'remove-member', ...erased, user: bob }),
      ]),
    ).toEqual([])
  })

  it('[LIM1] mail and webhook jobs read only due rows, up to a limit', async () => {
    const due = { graceMs: 0, againMs: 0, max: 100 }
    const lane = { endpoint, conversation: room }
    const id = uuidv7()
    const consumer = openConsumerLog(watched, 'mail')
    const hooks = openConsumerLog(watched, 'webhooks')
    const lease = { name: 'mail' as const, token: 0, position: Number.MAX_SAFE_INTEGER, history: null }
    const page = { rows: [{ conversation: room, seq: 5, xid: 5 }], position: 6, more: false }
    const over = await expensive(20_100, [
      () => consumer.takeLease(1_000),
      () => consumer.renewLease(lease, 1_000),
      () => consumer.releaseLease(lease),
      () => consumer.begin(lease, 'h', undefined),
      () => consumer.readPage(lease, 500),
      () => hooks.readPage({ ...lease, name: 'webhooks' }, 500),
      () => consumer.readLag(lease),
      () => mail.readNotifications(watched, ada),
      () => mail.setNotifications(watched, ada, { email: 'b@example.org', digest: true, mail: id }),
      () => mail.confirmEmail(watched, Buffer.from('x')),
      () => mail.switchDigestOff(watched, ada),
      () => mail.hasDigestReaders(watched),
      () => mail.storeMailPage(watched, lease, page, 1_000),
      () => mail.takeDuePeople(watched, due),
      () => mail.takeReadyMails(watched, due),
      () => mail.giveUpLostMails(watched),
      () => mail.claimDigest(watched, ada, { mail: id, isConnected: false, delayMs: 0, gapMs: 0 }),
      () => mail.beginMail(watched, id, id, 1_000),
      () => mail.settleMail(watched, id, id, { state: 'sent', error: null, delayMs: 0 }),
      () => mail.startConfirmation(watched, { user: ada, address: 'x', hash: Buffer.from('x'), validMs: 1 }),
      () => mail.readDigest(watched, id),
      () => mail.countMails(watched),
      () => mail.tidyMails(watched),
      () => webhooks.storeWebhookPage(watched, { ...lease, name: 'webhooks' }, page, 'e.s.t'),
      () => webhooks.hasEndpoints(watched),
      () => webhooks.takeDueLanes(watched, due),
      () => webhooks.claimLane(watched, lane, id, 1_000),
      () =>
        webhooks.settleDelivery(
          watched,
          lane,
          id,
          2,
          { outcome: 'delivered', status: 200, error: null, delayMs: 0 } as never,
          1_000,
        ),
      () => webhooks.releaseLane(watched, lane, id),
      () => webhooks.disableEndpoint(watched, id, 'x'),
      () => webhooks.countDeliveries(watched),
      () => webhooks.tidyDeliveries(watched),
      () => ensureCanaryUser(watched, id, 'server'),
      () => readCanaryPlace(watched),
      () => deleteOldCanaryMessages(watched, uuidv7()),
    ])
    expect(over).toEqual([])
  })

  it('[LIM1] the cost tests cover every named SQL statement of the server', () => {
    const named = ['database', 'log', 'accounts', 'jobs', 'keys', 'erasure']
      .map((folder) => new URL(`../${folder}/`, import.meta.url))
      .flatMap((folder) => readdirSync(folder).map((file) => new URL(file, folder)))
      .filter(({ pathname }) => pathname.endsWith('.ts') && !pathname.endsWith('.test.ts'))
      .flatMap((file) =>
        [...readFileSync(file, 'utf8').matchAll(/\bname: '([a-z][a-z_-]+)',\n\s+(?:pool|text|\/\/)/g)].map(
          ([, name]) => name ?? '',
        ),
      )
    expect(named.length).toBeGreaterThan(60)
    // Rare statements without a test here: an operator's replay, reading the time, and writing
    // last-seen times.
    const elsewhere = ['read_time', 'replay_webhook', 'save_last_seen', 'read_now']
    expect(named.filter((name) => !asked.has(name) && !elsewhere.includes(name))).toEqual([])
  })
})
