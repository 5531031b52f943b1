/** Tests cards on both engines: their versions, acts, signatures, erasure and every way to read them. */
import { randomUUID } from 'node:crypto'
import type { Card, CardInput, Change, CommandInput, Id, Message } from '@chorus/protocol'
import { compactVerify, importJWK } from 'jose'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findExternalUser, putExternalUsers } from '../../accounts/external-users.ts'
import { LocalBusHub } from '../../bus/bus-local.ts'
import { readSigningKeys } from '../../cards/signing-keys.ts'
import { LogFixture } from '../../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../../database/testing/open-test-database.ts'
import { TestNode } from '../testing/test-node.ts'

const offer: CardInput = {
  type: 'offer',
  title: 'Blue shoes',
  fields: { Size: '42', Price: '30 €', A: 'kept in this order' },
  actions: [
    { id: 'accept', label: 'Accept', by: ['ada', 'bob'] },
    { id: 'decline', label: 'Decline' },
  ],
  state: 'open',
}

describe.each(testEngines)('cards on the %s engine', (engine) => {
  let store: TestDatabase
  let node: TestNode
  let bot: Id
  let ada: Id
  let bob: Id
  let cyd: Id
  beforeAll(async () => {
    store = await openTestDatabase(engine)
    node = await TestNode.start(store.database, new LocalBusHub())
    ;[bot] = (await new LogFixture(store.database).users(1)) as [Id]
    const names = ['ada', 'bob', 'cyd']
    await putExternalUsers(
      store.database,
      names.map((externalId) => ({ externalId, name: externalId })),
    )
    const ids = await Promise.all(names.map((name) => findExternalUser(store.database, name)))
    ;[ada, bob, cyd] = ids as [Id, Id, Id]
  })
  afterAll(async () => {
    node.stop()
    await store.close()
  })

  async function open(): Promise<Id> {
    const subject = { type: 'order', id: randomUUID(), kind: 'group' as const, members: ['ada', 'bob', 'cyd'] }
    return (await node.run('put-subject-conversation', bot, subject)).conversation.id
  }

  const post = (conversation: Id, fields: Partial<CommandInput<'post-message'>> = {}) =>
    node.run('post-message', bot, { conversation, clientId: randomUUID(), card: offer, ...fields })

  const act = (user: Id, { conversation, seq }: Message, fields: Partial<CommandInput<'act-on-card'>> = {}) =>
    node.run('act-on-card', user, {
      conversation,
      seq,
      clientId: randomUUID(),
      version: 1,
      action: 'accept',
      ...fields,
    })

  const update = ({ conversation, seq }: Message, version: number, fields: Partial<CommandInput<'update-card'>> = {}) =>
    node.run('update-card', bot, { conversation, seq, version, state: 'paid', actions: [], ...fields })

  async function read({ conversation, seq }: Message): Promise<Card | undefined> {
    return (await node.run('get-message', ada, { conversation, seq })).message.card
  }

  async function changesOf({ conversation }: Message, type: Change['type']): Promise<Change[]> {
    const { changes } = await node.run('list-changes', ada, { conversation, after: 0, limit: 200 })
    return changes.filter((change) => change.type === type)
  }

  it('[CARD1] stores the first of many acts at once', async () => {
    const { message } = await post(await open())
    const acts = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => act(n % 2 === 0 ? ada : bob, message, n < 10 ? {} : { action: 'decline' })),
    )
    const done = acts.filter((one) => one.status === 'fulfilled')
    expect(done).toHaveLength(1)
    const card = await read(message)
    for (const one of acts)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'stale', current: { card } })
    expect(await changesOf(message, 'card.acted')).toMatchObject([
      { seq: done[0]?.value.seq, target: message.seq, ...{ actor: card?.acted?.actor, action: card?.acted?.action } },
    ])
    expect(card?.acted?.seq).toBe(done[0]?.value.seq)
    expect((await node.run('get-message', ada, message)).message.version).toBe(message.seq)
  })

  it('[CARD1] [IDEM1] gives the same clientId the first response', async () => {
    const { message } = await post(await open())
    const clientId = randomUUID()
    const first = await act(ada, message, { clientId })
    expect(await act(ada, message, { clientId })).toEqual(first)
    await update(message, 1)
    expect(await act(ada, message, { clientId })).toEqual(first)
    const { conversation } = message
    await node.run('remove-member', ada, { conversation, user: ada })
    expect(await act(ada, message, { clientId })).toEqual(first)
    await expect(act(ada, message, { clientId, action: 'decline' })).rejects.toMatchObject({ code: 'conflict' })
    await expect(node.run('send-message', ada, { conversation, clientId, text: 'x' })).rejects.toMatchObject({
      code: 'conflict',
    })
  })

  it('[CARD1] refuses acts that the card does not allow', async () => {
    const { message } = await post(await open())
    await expect(act(cyd, message)).rejects.toMatchObject({ code: 'forbidden' })
    await expect(act(ada, message, { action: 'other' })).rejects.toMatchObject({ code: 'not-found' })
    await expect(act(ada, message, { version: 2 })).rejects.toMatchObject({ code: 'stale' })
    await expect(act(ada, message, { seq: message.seq + 1 })).rejects.toMatchObject({ code: 'not-found' })
    await update(message, 1)
    await expect(act(ada, message, { version: 2 })).rejects.toMatchObject({ code: 'not-found' })
    const plain = await post(message.conversation, { card: undefined, text: 'no card' })
    await expect(act(ada, plain.message)).rejects.toMatchObject({ code: 'not-found' })
    await expect(update(plain.message, 1)).rejects.toMatchObject({ code: 'not-found' })
  })

  it('[CARD1] [ACL1] refuses acts of users who are not members', async () => {
    const { message } = await post(await open())
    const { conversation } = message
    await node.run('remove-member', ada, { conversation, user: ada })
    await expect(act(ada, message)).rejects.toMatchObject({ code: 'not-found' })
    const [stranger] = (await new LogFixture(store.database).users(1)) as [Id]
    await expect(act(stranger, message, { action: 'decline' })).rejects.toMatchObject({ code: 'not-found' })
  })

  it('[CARD1] only a change by a key moves the version, and it clears the act', async () => {
    const { message } = await post(await open(), { text: 'A card' })
    await act(bob, message)
    await node.run('add-reaction', ada, { conversation: message.conversation, seq: message.seq, emoji: '👍' })
    expect(await read(message)).toMatchObject({ version: 1, state: 'open', acted: { actor: bob, action: 'accept' } })
    const { seq, card } = await update(message, 1, {
      actions: [{ id: 'rate', label: 'Rate' }],
      fields: { Total: '30' },
    })
    const { title, type } = offer
    expect(card).toMatchObject({ version: 2, type, title, state: 'paid', fields: { Total: '30' }, acted: null })
    expect(await read(message)).toEqual(card)
    expect(await changesOf(message, 'card.updated')).toMatchObject([{ seq, message: { version: seq, card } }])
    await expect(update(message, 1, { state: 'lost' })).rejects.toMatchObject({ code: 'stale', current: { card } })
    const actions = [{ id: 'rate', label: 'Rate' }]
    expect(await update(message, 1, { actions, fields: { Total: '30' } })).toEqual({ seq, card })
    expect((await act(bob, message, { version: 2, action: 'rate' })).seq).toBeGreaterThan(seq)
  })

  it('[CARD1] two changes of one version at once store one', async () => {
    const { message } = await post(await open())
    const both = await Promise.allSettled(['paid', 'lost'].map((state) => update(message, 1, { state })))
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(await read(message)).toMatchObject({ version: 2 })
  })

  it('[CARD2] signs what a card shows, and where', async () => {
    const { message } = await post(await open())
    const signed = [message.card, (await update(message, 1)).card]
    const { keys } = await node.run('list-card-keys', ada, {})
    for (const card of signed) {
      const { payload, protectedHeader } = await compactVerify(card?.jws ?? '', async ({ kid = '' }) =>
        importJWK({ ...keys.find((key) => key.kid === kid) }),
      )
      const { acted: _acted, jws: _jws, ...shown } = card as Card
      expect(JSON.parse(new TextDecoder().decode(payload))).toEqual({
        iss: 'http://chat.test',
        conversation: message.conversation,
        card: message.clientId,
        iat: expect.any(Number) as number,
        ...shown,
      })
      expect(protectedHeader.alg).toBe('EdDSA')
    }
    expect(message.card?.actions[0]?.by).toEqual([ada, bob])
    expect(Object.keys((await read(message))?.fields ?? {})).toEqual(Object.keys(offer.fields ?? {}))
  })

  it('[CARD2] servers that start together make one signing key', async () => {
    const read = await Promise.all(Array.from({ length: 5 }, () => readSigningKeys(store.database)))
    expect(new Set(read.map(({ current }) => current.kid)).size).toBe(1)
    const { keys } = await node.run('list-card-keys', ada, {})
    expect(keys).toHaveLength(1)
    expect(keys[0]).toMatchObject({ kty: 'OKP', crv: 'Ed25519', validUntil: null })
    expect(JSON.stringify(keys)).not.toContain('"d"')
  })

  it('[ERASE1] the deletion of a message erases its card everywhere', async () => {
    const { message } = await post(await open(), { text: 'secret text' })
    const { conversation, seq } = message
    await update(message, 1, { fields: { Name: 'secret field' } })
    await node.run('delete-message', bot, { conversation, seq })
    expect(await read(message)).toBeUndefined()
    const seen = [
      await node.run('list-changes', ada, { conversation, after: 0, limit: 200 }),
      await node.run('list-messages', ada, { conversation, limit: 50 }),
      await store.database.query({ text: 'select * from changes where conversation = $1', values: [conversation] }),
    ]
    for (const one of seen) expect(JSON.stringify(one)).not.toMatch(/secret|Blue shoes/)
    await expect(act(ada, message)).rejects.toMatchObject({ code: 'not-found' })
    await expect(update(message, 2)).rejects.toMatchObject({ code: 'not-found' })
  })

  it('[CARD1] delivers acts and changes of a card to open connections', async () => {
    const conversation = await open()
    const { transport, opening, connection } = node.open(ada, await new LogFixture(store.database).session(ada))
    await opening
    const { message } = await post(conversation)
    await act(bob, message)
    const { seq, card } = await update(message, 1)
    await vi.waitFor(() => expect(transport.seqsOf(conversation)).toContain(seq))
    const live = transport.eventsNamed('changes').flatMap(({ changes }) => changes)
    const cards = live.filter(({ type }) => type.startsWith('card.'))
    expect(cards.map(({ type }) => type)).toEqual(['card.acted', 'card.updated'])
    expect(cards[1]).toMatchObject({ message: { card } })
    connection.lost()
  })

  it('[RES1] [ERASE1] replays the creation of a card in its newest version', async () => {
    const conversation = await open()
    const first = await node.run('sync', ada, { limit: 50 })
    const { message } = await post(conversation)
    const replay = async (): Promise<Change[]> => {
      const { conversations } = await node.run('sync', ada, { limit: 50, cursor: first.cursor })
      const entry = conversations.find((one) => one.conversation === conversation)
      const changes = entry !== undefined && 'changes' in entry ? entry.changes : []
      return changes.filter(({ seq }) => seq >= message.seq)
    }
    expect(await replay()).toMatchObject([{ type: 'message.created', message: { card: { version: 1, acted: null } } }])
    await act(bob, message)
    expect((await replay()).map(({ type }) => type)).toEqual(['message.created', 'card.acted'])
    const { card } = await update(message, 1)
    expect(await replay()).toMatchObject([
      { type: 'message.created', message: { card } },
      { type: 'card.acted', target: message.seq, action: 'accept', actor: bob },
      { type: 'card.updated', message: { card } },
    ])
  })

  it('[IDEM1] a repeated post returns the first message', async () => {
    const conversation = await open()
    const clientId = randomUUID()
    const first = await post(conversation, { clientId, data: { a: 1, b: 2 } })
    expect(await post(conversation, { clientId, data: { b: 2, a: 1 } })).toEqual({ ...first, duplicate: true })
    await expect(post(conversation, { clientId, text: 'other' })).rejects.toMatchObject({ code: 'conflict' })
    await expect(post(conversation, { clientId, card: undefined, text: 'x' })).rejects.toMatchObject({
      code: 'conflict',
    })
  })

  it('[SUB1] the bot of another key joins before it writes', async () => {
    const conversation = await open()
    const [other] = (await new LogFixture(store.database).users(1)) as [Id]
    const { message } = await node.run('post-message', other, { conversation, clientId: randomUUID(), card: offer })
    expect(message.sender).toBe(other)
    expect(await changesOf(message, 'member.joined')).toContainEqual(expect.objectContaining({ user: other }))
    const { conversation: own } = await node.run('create-conversation', ada, { kind: 'group', members: [] })
    const elsewhere = { conversation: own.id, clientId: randomUUID(), text: 'x' }
    await expect(node.run('post-message', other, elsewhere)).rejects.toMatchObject({ code: 'not-found' })
    await expect(node.run('post-message', other, { ...elsewhere, card: offer })).rejects.toMatchObject({
      code: 'not-found',
    })
  })

  it('sends as a user and refuses unknown users', async () => {
    const conversation = await open()
    expect((await post(conversation, { as: 'ada' })).message.sender).toBe(ada)
    await expect(post(conversation, { as: 'nobody' })).rejects.toMatchObject({ code: 'not-found' })
    const card = { ...offer, actions: [{ id: 'go', label: 'Go', by: ['nobody'] }] }
    await expect(post(conversation, { card })).rejects.toMatchObject({ code: 'not-found' })
  })
})
