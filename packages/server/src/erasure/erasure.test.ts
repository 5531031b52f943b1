/** Tests the erasure of users on both engines, as two servers on one database show it. */
import { randomUUID } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findExternalUser, putExternalUsers } from '../accounts/external-users.ts'
import { createTokenUser, readTokenUsers } from '../accounts/token-users.ts'
import { createUnusableHash } from '../accounts/unusable-hash.ts'
import { LocalBusHub } from '../bus/bus-local.ts'
import { TestNode } from '../commands/testing/test-node.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import { type Call, claimCall, storeAnswer } from '../keys/idempotency-store.ts'
import { readRange } from '../log/read-changes.ts'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { eraseUser } from './erase-user.ts'
import { erasureLimits, pruneErasedIds } from './erasure-store.ts'
import { ErasureWorker } from './erasure-worker.ts'

const quick = { idleMs: 5, settleMs: 0, pauseMs: 0, stepsPerTurn: 1 }

async function until(what: string, probe: () => Promise<boolean> | boolean): Promise<void> {
  const endsAtMs = performance.now() + 60_000
  while (!(await probe())) {
    if (performance.now() > endsAtMs) throw new Error(`unable to see ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe.each(testEngines)('the erasure of a user on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let near: TestNode
  let far: TestNode
  let bot: Id
  let ada: Id

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    const hub = new LocalBusHub()
    near = await TestNode.start(store.database, hub)
    far = await TestNode.start(store.database, hub)
    ;[bot, ada] = (await fixture.users(2)) as [Id, Id]
  })
  afterAll(async () => {
    near.stop()
    far.stop()
    await store.close()
  })

  const sql = <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> => fixture.sql<Row>(text, values)

  async function person(externalId: string, name = 'Eve Secret'): Promise<Id> {
    await putExternalUsers(store.database, [{ externalId, name, avatar: 'https://x.test/secret.png' }])
    return (await findExternalUser(store.database, externalId)) as Id
  }
  const begin = (externalId: string): Promise<null> => near.run('delete-user', bot, { externalId })
  async function erase(externalId: string, user: Id): Promise<void> {
    await begin(externalId)
    for await (const _step of eraseUser(near.parts, user));
  }
  const isErasing = async (externalId: string): Promise<boolean> =>
    (await near.run('get-external-user', bot, { externalId })).user.erasing

  /** Returns everything that a member sees of a conversation on a server, as JSON. */
  async function show(node: TestNode, conversation: Id, cursor: string, seq: number): Promise<Record<string, string>> {
    const session = await fixture.session(ada)
    const resumed = node.open(ada, session, cursor)
    await resumed.opening
    const resume = resumed.transport.events.filter(({ event }) => event !== 'ready')
    resumed.connection.lost()
    return {
      resume: JSON.stringify(resume),
      sync: JSON.stringify(await node.run('sync', ada, { cursor, limit: 200 })),
      log: JSON.stringify(await node.run('list-changes', ada, { conversation, after: 0, limit: 200 })),
      page: JSON.stringify(await node.run('list-messages', ada, { conversation, limit: 50 })),
      message: JSON.stringify(await node.run('get-message', ada, { conversation, seq })),
      conversation: JSON.stringify(await node.run('get-conversation', ada, { conversation })),
      list: JSON.stringify(await node.run('list-conversations', ada, { limit: 50 })),
      firstLoad: JSON.stringify(await node.run('sync', ada, { limit: 50 })),
      members: JSON.stringify(await node.run('list-members', ada, { conversation, limit: 50 })),
      webhook: JSON.stringify(await readRange(store.database, { conversation, from: 1, to: 100 }, 100)),
    }
  }

  it('[ERASE2] shows no text of the user on any path of two servers', async () => {
    const eve = await person('eve')
    const group = await fixture.group([eve, ada])
    const direct = await fixture.group([eve, ada], 'direct')
    const watching = far.open(ada, await fixture.session(ada))
    await watching.opening
    await sql(
      `insert into sessions (id, user_id, token_hash, expires_at, user_agent, data, device)
       values ($1, $2, $3, now() + interval '1 day', 'secret agent', '{"a": "secret"}', $4)`,
      [uuidv7(), eve, Buffer.from('eve'), randomUUID()],
    )
    const { cursor } = await near.run('sync', ada, { limit: 50 })
    const send = (conversation: Id, text: string, data: string | null = null) =>
      near.run('send-message', eve, { conversation, clientId: randomUUID(), text, data })
    const { message } = await send(group, 'secret words', 'secret data')
    await near.run('edit-message', eve, { conversation: group, seq: message.seq, text: 'other secret words' })
    const inDirect = (await send(direct, 'secret in private')).message
    const gone = (await send(group, 'secret deleted before')).message
    await near.run('delete-message', eve, { conversation: group, seq: gone.seq })
    const answer = await near.run('send-message', ada, {
      conversation: group,
      clientId: randomUUID(),
      text: 'an answer',
      replyTo: message.seq,
    })
    await near.run('add-reaction', eve, { conversation: group, seq: answer.message.seq, emoji: '👍' })
    await near.run('add-reaction', eve, { conversation: group, seq: answer.message.seq, emoji: '🎉' })
    await near.run('remove-reaction', eve, { conversation: group, seq: answer.message.seq, emoji: '🎉' })
    await near.run('mark-read', eve, { conversation: group, seq: answer.message.seq })
    await sql(`insert into notification_settings (user_id, email, digest) values ($1, 'secret@example.org', true)`, [
      eve,
    ])
    await sql(`insert into mails (id, user_id, kind, address) values ($1, $2, 'digest', 'secret@example.org')`, [
      uuidv7(),
      eve,
    ])
    await sql(`insert into mail_due (user_id, due_at) values ($1, now())`, [eve])
    await sql(`insert into mail_watermarks (user_id, conversation, seq) values ($1, $2, 1)`, [eve, group])
    // By now, the caches of both servers hold the texts.
    for (const node of [near, far])
      for (const [path, shown] of Object.entries(await show(node, group, cursor, message.seq)))
        expect(shown, path).toMatch(/secret/i)

    await erase('eve', eve)
    await far.sweeper.sweepNow()
    for (const node of [near, far]) {
      for (const [conversation, { seq }] of [
        [group, message],
        [direct, inDirect],
      ] as const)
        for (const [path, shown] of Object.entries(await show(node, conversation, cursor, seq)))
          expect(shown, path).not.toMatch(/secret/i)
      const { message: tombstone } = await node.run('get-message', ada, { conversation: group, seq: message.seq })
      expect(tombstone).toMatchObject({ sender: eve, text: '', data: null, deletedAt: expect.any(String) as string })
      const { message: answered } = await node.run('get-message', ada, { conversation: group, seq: answer.message.seq })
      expect(answered).toMatchObject({ text: 'an answer', reactions: [] })
      expect((await node.run('get-user', ada, { id: eve })).user).toMatchObject({ name: 'Deleted user', avatar: null })
      expect((await node.run('find-users', ada, { q: 'Deleted', limit: 10 })).users).toEqual([])
      expect((await node.run('get-conversation', ada, { conversation: direct })).conversation.members).toMatchObject([
        { user: { name: 'Deleted user' } },
        { user: { id: ada } },
      ])
    }
    const tables = ['users', 'sessions', 'changes', 'reactions', 'notification_settings', 'mails', 'mail_due']
    for (const table of [...tables, 'mail_watermarks', 'searched_names', 'members'])
      expect(JSON.stringify(await sql(`select t::text as row from ${table} t`)), table).not.toMatch(/secret/i)
    expect(await sql(`select 1 from reactions where user_id = $1`, [eve])).toEqual([])
    expect(await sql(`select 1 from changes where actor = $1 and length(request_hash) > 0`, [eve])).toEqual([])
    const live = watching.transport.eventsNamed('changes').flatMap(({ changes }) => changes)
    for (const type of ['message.deleted', 'reaction.removed', 'member.left'])
      expect(live.map((change) => change.type)).toContain(type)
    watching.connection.lost()
  })

  it('[ERASE2] [ACL2] ends sessions at once, and adds the user to nothing', async () => {
    const user = await person('leaving')
    const session = await fixture.session(user)
    const group = await fixture.group([user, ada])
    await begin('leaving')
    expect(near.revoked).toContain(session)
    expect(await isErasing('leaving')).toBe(true)
    expect(await findExternalUser(store.database, 'leaving')).toBeUndefined()
    await expect(near.run('create-conversation', ada, { kind: 'group', members: [user] })).rejects.toThrow()
    const other = await fixture.group([ada])
    const joining = near.run('put-member', ada, { conversation: other, user })
    await expect(joining).rejects.toMatchObject({ code: 'not-found' })
    for await (const _step of eraseUser(near.parts, user));
    // The last owner leaves, so the next member owns the group (OWN1).
    const { conversation } = await near.run('get-conversation', ada, { conversation: group })
    expect(conversation).toMatchObject({ role: 'owner', memberCount: 1 })
  })

  it('[ERASE2] erases in limited steps, and another server continues after a stop', async () => {
    const user = await person('busy')
    const group = await fixture.group([ada, user])
    await fixture.fill(group, user, 350, 'secret')
    const tombstones = async (): Promise<number> =>
      (
        await sql<{ n: number }>(`select count(*)::int as n from changes where actor = $1 and deleted_at is not null`, [
          user,
        ])
      )[0]?.n ?? 0
    await begin('busy')
    const steps = eraseUser(near.parts, user)
    let erased = 0
    while (erased < 200) {
      expect((await steps.next()).done).toBe(false)
      const now = await tombstones()
      expect(now - erased).toBeLessThanOrEqual(erasureLimits.logRowsMax)
      erased = now
    }
    await steps.return(undefined)
    expect(erased).toBe(200)
    expect(await isErasing('busy')).toBe(true)
    await begin('busy')
    for await (const _step of eraseUser(far.parts, user));
    expect(await tombstones()).toBe(350)
    expect(await sql(`select 1 from changes where type = 'message.deleted' and actor = $1`, [user])).toHaveLength(350)
    await expect(isErasing('busy')).rejects.toMatchObject({ code: 'not-found' })
    await begin('busy')
  })

  it('[ERASE2] a server erases all users whose erasure has begun', async () => {
    const names = ['one', 'two', 'three']
    for (const name of names) {
      const user = await person(name)
      const group = await fixture.group([ada, user])
      await fixture.fill(group, user, 150, 'secret')
      await begin(name)
    }
    const logger = createLogger('silent', 'test')
    const open = (node: TestNode): ErasureWorker =>
      new ErasureWorker({ ...node.parts, clock: systemClock, logger, timings: quick })
    // The server that held the lease was killed, so its lease has to expire.
    await sql(`update consumers set holder = $1, lease_until = now() + interval '1 second' where name = 'erasure'`, [
      randomUUID(),
    ])
    const workers = [open(near), open(far)]
    for (const worker of workers) worker.start()
    await until(
      'the erasures',
      async () => (await sql(`select 1 from users where erasing_since is not null`)).length === 0,
    )
    await Promise.all(workers.map((worker) => worker.stop()))
    expect(await sql(`select 1 from changes where text = 'secret'`)).toEqual([])
    expect(await sql(`select 1 from consumers where name = 'erasure' and holder is not null`)).toEqual([])
  })

  it('[ERASE2] [EXT1] frees the external id, and refuses its old tokens', async () => {
    const nowS = Math.floor(Date.now() / 1_000)
    const old = await person('again')
    await sql(`update users set newest_token = $2 where id = $1`, [old, nowS + 50])
    await erase('again', old)
    const [state] = await readTokenUsers(store.database, ['again'])
    expect(state).toMatchObject({ id: undefined, isErasing: false, tokensAfter: nowS + 50 })
    const create = (iat: number) =>
      createTokenUser(store.database, {
        ...{ id: uuidv7(), externalId: 'again', handle: `h${randomUUID().slice(0, 8)}`, name: 'Back' },
        ...{ avatar: null, passwordHash: createUnusableHash(), iat },
      })
    await create(nowS)
    expect(await findExternalUser(store.database, 'again')).toBeUndefined()
    await create(nowS + 51)
    const back = await findExternalUser(store.database, 'again')
    expect(back).toBeDefined()
    expect(back).not.toBe(old)
    await near.run('create-conversation', ada, { kind: 'group', members: [back as Id] })
    const [after] = await readTokenUsers(store.database, ['again'])
    expect(after).toMatchObject({ id: back, tokensAfter: nowS + 50 })
  })

  it('[ERASE2] forgets external ids when their old tokens have expired', async () => {
    const nowS = Math.floor(Date.now() / 1_000)
    const rows = [nowS - erasureLimits.tokensForgottenS - 60, nowS - 60]
    for (const [n, tokensAfter] of rows.entries())
      await sql(`insert into erased_external_ids (external_id, tokens_after) values ($1, $2)`, [
        `old ${n}`,
        tokensAfter,
      ])
    await pruneErasedIds(store.database)
    const left = await sql(`select external_id from erased_external_ids where external_id like 'old %'`)
    expect(left).toEqual([{ external_id: 'old 1' }])
  })

  it('[ERASE2] [IDEM3] erases stored responses that name the user, and runs their requests never again', async () => {
    const user = await person('answered')
    const call = (n: number): Call => ({
      ...{ keyId: 'key', key: String(n), method: 'PUT', path: '/v1/x', asUser: '' },
      bodyHash: Buffer.from('x'),
    })
    for (let n = 0; n < 250; n++) {
      await claimCall(store.database, call(n))
      const body = JSON.stringify(n % 2 === 0 ? { user: { id: user, name: 'Eve Secret' } } : { user: { id: ada } })
      await storeAnswer(store.database, call(n), { status: 200, body })
    }
    await erase('answered', user)
    expect(await sql(`select 1 from idempotency_keys where body like '%Secret%'`)).toEqual([])
    expect(await claimCall(store.database, call(0))).toMatchObject({
      kind: 'answered',
      answer: { status: 404, body: expect.stringContaining('the response was erased') },
    })
    expect(await claimCall(store.database, call(1))).toMatchObject({ kind: 'answered', answer: { status: 200 } })
  })

  it('[ERASE2] finds no account with a password, and no bot', async () => {
    await sql(`insert into users (id, handle, name, password_hash) values ($1, 'plain', 'Plain', '')`, [uuidv7()])
    for (const externalId of ['plain', 'never there'])
      await expect(begin(externalId)).rejects.toMatchObject({ code: 'not-found' })
  })

  it('[ERASE2] shows acts of the user as acts of "Deleted user", and erases their cards', async () => {
    const user = await person('acting')
    const subject = { type: 'order', id: randomUUID(), kind: 'group' as const, members: ['acting'] }
    const conversation = (await near.run('put-subject-conversation', bot, subject)).conversation.id
    const card = { type: 'offer', title: 'A title', state: 'open', actions: [{ id: 'accept', label: 'Accept' }] }
    const post = (as?: string) =>
      near.run('post-message', bot, { conversation, clientId: randomUUID(), card, ...(as !== undefined && { as }) })
    const [theirs, ours] = [(await post('acting')).message, (await post()).message]
    const act = { conversation, seq: ours.seq, clientId: randomUUID(), version: 1, action: 'accept' }
    await near.run('act-on-card', user, act)
    await erase('acting', user)
    const read = async (seq: number) => (await far.run('get-message', bot, { conversation, seq })).message
    expect(await read(theirs.seq)).toMatchObject({ deletedAt: expect.any(String) as string })
    expect((await read(theirs.seq)).card).toBeUndefined()
    expect((await read(ours.seq)).card).toMatchObject({ title: 'A title', acted: { actor: user, action: 'accept' } })
    expect((await far.run('get-user', bot, { id: user })).user.name).toBe('Deleted user')
  })
})
