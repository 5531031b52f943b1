/** Tests conversations of subjects on both engines. */
import { randomUUID } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { putExternalUsers } from '../../accounts/external-users.ts'
import { LocalBusHub } from '../../bus/bus-local.ts'
import { LogFixture } from '../../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../../database/testing/open-test-database.ts'
import { TestNode } from '../testing/test-node.ts'

describe.each(testEngines)('conversations of subjects on the %s engine', (engine) => {
  let store: TestDatabase
  let node: TestNode
  let bots: Id[]
  beforeAll(async () => {
    store = await openTestDatabase(engine)
    node = await TestNode.start(store.database, new LocalBusHub())
    bots = await new LogFixture(store.database).users(2)
    await putExternalUsers(
      store.database,
      ['ada', 'bob', 'cyd'].map((externalId) => ({ externalId, name: externalId })),
    )
  })
  afterAll(async () => {
    node.stop()
    await store.close()
  })

  const put = (bot: number, id: string, members: string[], fields: object = {}) =>
    node.run('put-subject-conversation', bots[bot] as Id, { type: 'order', id, kind: 'group', members, ...fields })
  const namesOf = (conversation: { readonly members: readonly { readonly user: { readonly name: string } }[] }) =>
    conversation.members.map(({ user }) => user.name).filter((name) => ['ada', 'bob', 'cyd'].includes(name))

  it('[SUB1] gives one conversation to calls at the same time', async () => {
    const id = randomUUID()
    const both = await Promise.all([put(0, id, ['ada']), put(1, id, ['bob'])])
    expect(both[0].conversation.id).toBe(both[1].conversation.id)
    expect(both.filter(({ duplicate }) => duplicate === true)).toHaveLength(1)
    const last = await put(0, id, [])
    expect(namesOf(last.conversation).sort()).toEqual(['ada', 'bob'])
  })

  it('[SUB1] adds missing members, replaces the description and keeps the rest', async () => {
    const id = 'order/1?é'
    const first = await put(0, id, ['ada'], { name: 'First', title: 'Blue shoes', data: { size: 42 } })
    expect(first.conversation).toMatchObject({
      name: 'First',
      role: 'owner',
      subject: { type: 'order', id, title: 'Blue shoes', url: null, data: { size: 42 } },
    })
    const again = await put(0, id, ['bob'], { name: 'Second', url: 'https://shop.example/1' })
    expect(again).toMatchObject({ duplicate: true, conversation: { id: first.conversation.id, name: 'First' } })
    expect(again.conversation.subject).toEqual({
      type: 'order',
      id,
      title: null,
      url: 'https://shop.example/1',
      data: null,
    })
    expect(namesOf(again.conversation)).toEqual(['ada', 'bob'])
    const { seq } = again.conversation
    const repeated = await put(0, id, ['bob', 'ada'], { url: 'https://shop.example/1' })
    expect(repeated.conversation.seq).toBe(seq)
  })

  it('[SUB1] announces a changed subject once', async () => {
    const id = randomUUID()
    const { conversation } = await put(0, id, ['ada'], { name: 'Order', title: 'Blue shoes', data: { b: 1, a: 2 } })
    const ada = conversation.members.find(({ user }) => user.name === 'ada')?.user.id as Id
    const { transport, opening, connection } = node.open(ada, await new LogFixture(store.database).session(ada))
    await opening
    const changed = await put(0, id, ['ada'], { title: 'Red shoes', data: { b: 1, a: 2 } })
    const subject = { type: 'order', id, title: 'Red shoes', url: null, data: { b: 1, a: 2 } }
    expect(changed.conversation.subject).toEqual(subject)
    // Equal data in another order is no change.
    const again = await put(0, id, ['ada'], { title: 'Red shoes', data: { a: 2, b: 1 } })
    expect(again.conversation.seq).toBe(changed.conversation.seq)
    const change = {
      type: 'conversation.updated',
      actor: bots[0],
      conversation: { name: 'Order', kind: 'group', subject },
    }
    await vi.waitFor(() => expect(transport.seqsOf(conversation.id)).toContain(changed.conversation.seq))
    const live = transport.eventsNamed('changes').flatMap(({ changes }) => changes)
    expect(live.filter(({ type }) => type === 'conversation.updated')).toMatchObject([change])
    const { changes } = await node.run('list-changes', ada, { conversation: conversation.id, after: 0, limit: 50 })
    expect(changes[0]).toMatchObject({ type: 'conversation.created', conversation: { name: 'Order', subject } })
    expect(changes.at(-1)).toMatchObject(change)
    await node.run('update-conversation', bots[0] as Id, { conversation: conversation.id, name: 'Renamed' })
    expect((await put(0, id, ['ada'])).conversation).toMatchObject({ name: 'Renamed', subject: { title: null } })
    connection.lost()
  })

  it('[SUB1] completes a call that failed halfway', async () => {
    const id = randomUUID()
    await put(0, id, [], { title: 'First' })
    const { database } = node.parts
    const disable = (at: string) =>
      database.query({ text: `update users set disabled_at = ${at} where external_id = 'cyd'` })
    // Cyd is deactivated between the check and the change.
    node.afterwards.set('read-external-users', () => disable('now()'))
    const fields = { title: 'Second', data: { size: 42 } }
    await expect(put(0, id, ['ada', 'cyd', 'bob'], fields)).rejects.toMatchObject({ code: 'not-found' })
    await disable('null')
    const calls = await Promise.all([put(0, id, ['ada', 'cyd', 'bob'], fields), put(1, id, ['bob'], fields)])
    for (const { conversation } of calls) expect(conversation.subject).toMatchObject(fields)
    const { conversation } = await put(0, id, [], fields)
    expect(namesOf(conversation).sort()).toEqual(['ada', 'bob', 'cyd'])
    const all = await node.run('list-changes', bots[0] as Id, { conversation: conversation.id, after: 0, limit: 50 })
    const count = (type: string) => all.changes.filter((change) => change.type === type).length
    expect([count('member.joined'), count('conversation.updated')]).toEqual([5, 1])
  })

  it('[SUB1] describes no conversation without a subject', async () => {
    const [owner] = bots as [Id]
    const { conversation } = await node.run('create-conversation', owner, { kind: 'group', members: [] })
    const described = { op: 'describe-subject', conversation: conversation.id, actor: owner, byKey: true } as const
    const outcome = await node.parts.log.apply({ ...described, title: 'x', url: null, data: null })
    expect(outcome).toMatchObject({ outcome: 'forbidden' })
  })

  it('[SUB1] lets the bot of another key join visibly', async () => {
    const id = randomUUID()
    await put(0, id, ['ada'])
    const { conversation } = await put(1, id, ['cyd'])
    expect(conversation).toMatchObject({ role: 'member', memberCount: 4 })
  })

  it('[SUB1] looks up a conversation without creating or joining it', async () => {
    const id = randomUUID()
    const get = (bot: number) => node.run('get-subject-conversation', bots[bot] as Id, { type: 'order', id })
    await expect(get(0)).rejects.toMatchObject({ code: 'not-found' })
    const { conversation } = await put(0, id, ['ada'])
    await node.run('send-message', bots[0] as Id, {
      conversation: conversation.id,
      clientId: randomUUID(),
      text: 'For members',
    })
    expect((await get(0)).conversation).toMatchObject({ id: conversation.id, lastMessage: { text: 'For members' } })
    expect((await get(1)).conversation).toMatchObject({
      id: conversation.id,
      role: null,
      lastMessage: null,
      unread: 0,
      memberCount: 2,
    })
  })

  it('refuses unknown members and a channel without a name', async () => {
    const id = randomUUID()
    await expect(put(0, id, ['nobody'])).rejects.toMatchObject({ code: 'not-found' })
    await expect(put(0, id, [], { kind: 'channel' })).rejects.toMatchObject({ code: 'invalid' })
    expect((await put(0, id, [])).duplicate).toBeUndefined()
  })

  it('[ACL1] outside conversations of subjects, a key only lets its bot join', async () => {
    const [owner, other] = bots as [Id, Id]
    const { conversation } = await node.run('create-conversation', owner, { kind: 'group', members: [] })
    const added = { op: 'put-member', conversation: conversation.id, actor: other, role: null, byKey: true } as const
    // A bot that is not a member cannot add other users.
    const [stranger] = (await new LogFixture(store.database).users(1)) as [Id]
    expect(await node.parts.log.apply({ ...added, user: stranger })).toMatchObject({ outcome: 'not-found' })
    expect(await node.parts.log.apply({ ...added, user: other })).toMatchObject({ outcome: 'stored' })
  })
})
