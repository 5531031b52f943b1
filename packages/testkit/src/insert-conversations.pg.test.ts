/**
 * Tests that `insertConversations` inserts the same rows as a server. Otherwise load tests with
 * inserted rows would not measure the real system.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HttpUser } from './http-user.ts'
import { insertConversations } from './insert-conversations.ts'
import { insertPeople } from './insert-people.ts'
import { hasPostgres, usePostgres } from './postgres.ts'
import type { Databases } from './postgres.ts'
import { startServer } from './server-process.ts'
import type { ServerProcess } from './server-process.ts'

const main = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url))

describe.skipIf(!existsSync(main) || !hasPostgres())('insertConversations', () => {
  let databases: Databases
  let databaseUrl: string
  let server: ServerProcess
  beforeAll(async () => {
    databases = await usePostgres()
    databaseUrl = await databases.createDatabase()
    server = await startServer({ databaseUrl })
  })
  afterAll(async () => {
    await server.remove()
    await databases.dropDatabase(databaseUrl)
  })

  const rowsOf = async (conversation: string) => {
    const read = (sql: string) => databases.query<Record<string, unknown>>(sql, [conversation], databaseUrl)
    return {
      conversation: await read(
        `select kind, name, direct_key, seq, last_message_seq, member_version, member_count from conversations where id = $1`,
      ),
      members: await read(
        `select user_id, role, joined_seq, left_seq, read_seq from members where conversation = $1 order by joined_seq`,
      ),
      changes: await read(
        `select to_jsonb(c) - 'conversation' - 'at' - 'xid' as change from changes c where conversation = $1 order by seq`,
      ),
      // True if the conversation's row has the transaction id of its newest change, which the
      // server's sweep needs, and a time that is not before that change, because times of changes
      // must not decrease.
      isSweepable: await read(
        `select v.last_xid = max(c.xid) and v.last_at >= max(c.at) - interval '1 s' and bool_and(c.at is not null) as good
           from conversations v join changes c on c.conversation = v.id where v.id = $1 group by v.id`,
      ),
    }
  }

  it('`insertConversations` inserts the same rows as the server', async () => {
    const people = await insertPeople(databases, databaseUrl, 3, 1)
    const [owner, ...others] = people.map(({ id, sessions: [session] }) => {
      const http = HttpUser.stranger(server.url)
      http.cookie = `chorus_session=${session?.cookieValue ?? ''}`
      return { id, http }
    })
    if (owner === undefined) throw new Error('nobody was inserted')
    const created = await owner.http.createConversation(
      'group',
      others.map(({ id }) => id),
      'the same',
    )
    const [inserted = ''] = await insertConversations(databases, databaseUrl, {
      conversations: [{ members: people.map(({ id }) => id), name: 'the same' }],
    })
    expect(await rowsOf(inserted)).toEqual(await rowsOf(created))

    const sent = await others[1]?.http.send(inserted, 'hello')
    expect(sent?.seq).toBe(5)
    expect((await owner.http.readLog(inserted)).map(({ seq, type }) => [seq, type])).toEqual([
      [1, 'conversation.created'],
      [2, 'member.joined'],
      [3, 'member.joined'],
      [4, 'member.joined'],
      [5, 'message.created'],
    ])
  })

  it('`insertConversations` can insert more members than fit into one statement', async () => {
    const people = (await insertPeople(databases, databaseUrl, 6_000, 0)).map(({ id }) => id)
    const ids = await insertConversations(databases, databaseUrl, {
      conversations: [{ members: people }, { members: people.slice(0, 5_000) }, { members: people.slice(0, 1) }],
    })
    const sizes = await databases.query<{ id: string; members: number; seq: string }>(
      `select id, seq, (select count(*)::int from members where conversation = id) as members
         from conversations where id = any ($1::uuid[])`,
      [ids],
      databaseUrl,
    )
    expect(ids.map((id) => sizes.find((row) => row.id === id))).toEqual([
      { id: ids[0], members: 6_000, seq: '6001' },
      { id: ids[1], members: 5_000, seq: '5001' },
      { id: ids[2], members: 1, seq: '2' },
    ])
  })
})
