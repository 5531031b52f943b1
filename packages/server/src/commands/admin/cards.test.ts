/** Tests cards on both engines: their versions, acts, signatures, erasure and every way to read them. */
import { randomUUID } from 'node:crypto'
import {
  type Card,
  type CardInput,
  type Change,
  type CommandInput,
  type Id,
  limits,
  type Message,
  webhookTypes,
} from '@chorus/protocol'
import { compactVerify, importJWK } from 'jose'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findExternalUser, putExternalUsers } from '../../accounts/external-users.ts'
import { LocalBusHub } from '../../bus/bus-local.ts'
import { readSigningKeys } from '../../keys/signing-keys.ts'
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

  /**
   * Opens a conversation and returns a cursor after it. Waits while another transaction of the same
   * Postgres, maybe of another test, holds the cursors back.
   */
  async function openBeforeCursor(): Promise<{ conversation: Id; cursor: string }> {
    const conversation = await open()
    const readCursor = async (): Promise<string> => {
      let page = await node.run('sync', ada, { limit: 200 })
      while (page.more) page = await node.run('sync', ada, { limit: 200, cursor: page.cursor })
      const since = await node.run('sync', ada, { limit: 200, cursor: page.cursor })
      expect(since.conversations).toEqual([])
      return page.cursor
    }
    return { conversation, cursor: await vi.waitFor(readCursor, { timeout: 30_000, interval: 100 }) }
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

  it.each([{}, { card: undefined, text: 'Paid' }])(
    '[IDEM1] repeats nothing when the key was replaced: %j',
    async (sent) => {
      const bots = await new LogFixture(store.database).users(2)
      for (const [index, id] of bots.entries())
        await store.database.query({
          text: `insert into api_keys (id, name, scopes, secret_hash, signing_secret, bot_user, revoked_at)
               values ($1, 'Shop', '{write}', sha256($1::text::bytea), 's', $2, case $3::int when 0 then now() end)`,
          values: [`key_${randomUUID()}`, id, index],
        })
      const conversation = await open()
      const clientId = randomUUID()
      const send = (by: Id | undefined, fields: Partial<CommandInput<'post-message'>> = {}) =>
        node.run('post-message', by ?? bot, { conversation, clientId, card: offer, ...sent, ...fields })
      const [old, next] = bots
      const first = await send(old)
      expect(first.message.sender).toBe(old)
      expect(await send(next)).toEqual({ message: first.message, duplicate: true })
      await expect(send(next, { text: 'Other' })).rejects.toMatchObject({ code: 'conflict' })
      // A user is another sender, and so is another conversation.
      expect((await send(next, { as: 'ada' })).message.sender).toBe(ada)
      expect((await send(next, { conversation: await open() })).message.sender).toBe(next)
    },
  )

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

  it('[CARD1] the edit of a card keeps its version and its act', async () => {
    const { message } = await post(await open(), { text: 'first' })
    const { conversation, seq } = message
    await act(bob, message)
    const acted = await read(message)
    const edit = await node.run('edit-message', bot, { conversation, seq, text: 'second' })
    expect(edit.message).toMatchObject({ version: edit.seq, text: 'second', card: acted })
    expect(await changesOf(message, 'message.edited')).toMatchObject([{ message: { card: acted } }])
    await expect(act(ada, message)).rejects.toMatchObject({ code: 'stale', current: { card: acted } })
    const { card } = await update(message, 1)
    expect(card.version).toBe(2)
    expect((await node.run('get-message', ada, { conversation, seq })).message.text).toBe('second')
  })

  it('[CARD1] an act and a change at once store what fits in their order', async () => {
    for (let round = 0; round < 10; round++) {
      const { message } = await post(await open())
      const both = [act(ada, message), update(message, 1)] as const
      if (round % 2 === 0) await Promise.resolve()
      const [acted, updated] = await Promise.allSettled(round < 5 ? both : [...both].reverse())
      const [one, other] = round < 5 ? [acted, updated] : [updated, acted]
      // The change always fits: it may follow the act. The act fits only before the change.
      expect(other?.status).toBe('fulfilled')
      const card = await read(message)
      expect(card).toMatchObject({ version: 2, acted: null })
      if (one?.status === 'rejected') expect(one.reason).toMatchObject({ code: 'stale', current: { card } })
      expect(await changesOf(message, 'card.acted')).toHaveLength(one?.status === 'fulfilled' ? 1 : 0)
    }
  })

  it('[CARD1] loses no field when another change comes between', async () => {
    const { message } = await post(await open())
    node.afterwards.set('read_card', () => update(message, 1, { fields: { Total: '30' }, actions: undefined }))
    // Based on version 2, which did not exist when the server read the card.
    await expect(update(message, 2, { state: 'sent' })).rejects.toMatchObject({
      code: 'stale',
      current: { card: { version: 2, fields: { Total: '30' } } },
    })
    expect((await update(message, 2, { state: 'sent' })).card).toMatchObject({ version: 3, fields: { Total: '30' } })
    await expect(update(message, limits.cardVersionMax)).rejects.toMatchObject({ code: 'too-large' })
    await expect(update(message, 9)).rejects.toMatchObject({ code: 'stale', current: { card: { version: 3 } } })
  })

  it('[CARD1] a card in data is only data', async () => {
    const conversation = await open()
    const clientId = randomUUID()
    const fake = { version: 1, ...offer, fields: {}, actions: [{ id: 'accept', label: 'Accept' }], acted: null }
    const data = { card: fake }
    const { message } = await node.run('send-message', ada, { conversation, clientId, text: '', data })
    expect(message).not.toHaveProperty('card')
    await expect(act(bob, message)).rejects.toMatchObject({ code: 'not-found' })
    await expect(update(message, 1)).rejects.toMatchObject({ code: 'not-found' })
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

  it('[CARD1] shows the act on every way to read the message', async () => {
    const conversation = await open()
    const { message } = await post(conversation)
    const { seq } = message
    const sinceSeq = seq - 1
    const { cursor } = await node.run('sync', ada, { limit: 50 })
    const ways: Record<string, () => Promise<unknown>> = {
      newest: () => node.run('list-messages', ada, { conversation, limit: 10 }),
      large: () => node.run('list-messages', ada, { conversation, limit: 100 }),
      after: () => node.run('list-messages', ada, { conversation, after: sinceSeq, limit: 10 }),
      around: () => node.run('list-messages', ada, { conversation, around: seq, limit: 10 }),
      message: () => node.run('get-message', ada, { conversation, seq }),
      changes: () => node.run('list-changes', ada, { conversation, after: sinceSeq, limit: 10 }),
      conversation: () => node.run('get-conversation', ada, { conversation }),
      conversations: () => node.run('list-conversations', ada, { limit: 50 }),
      sync: () => node.run('sync', ada, { limit: 50, cursor }),
      all: () => node.run('sync', ada, { limit: 50 }),
    }
    // Read twice before, so that every cache holds the card without the act.
    for (const way of [...Object.values(ways), ...Object.values(ways)]) await way()
    const { seq: actSeq } = await act(bob, message)
    const acted = JSON.stringify({ seq: actSeq, action: 'accept', actor: bob })
    for (const [name, way] of Object.entries(ways)) {
      const text = JSON.stringify(await way())
      // Changes contain the act itself, also after a copy of the message from before it.
      const isShown = text.includes(`"acted":${acted}`) || text.includes(`"target":${seq},"action":"accept"`)
      expect([name, isShown]).toEqual([name, true])
      if (['newest', 'large', 'after', 'around', 'message', 'conversation'].includes(name))
        expect([name, text.includes(`"acted":${acted}`)]).toEqual([name, true])
    }
    const { card } = await update(message, 1)
    for (const [name, way] of Object.entries(ways)) {
      const text = JSON.stringify(await way())
      expect([name, text.includes(card.jws), text.includes(`"acted":${acted}`)]).toEqual([name, true, false])
    }
  })

  it('[RES1] a resumed connection gets the act and the newest card', async () => {
    const { conversation, cursor } = await openBeforeCursor()
    const { message } = await post(conversation)
    await act(bob, message)
    const { card } = await update(message, 1)
    const after = node.open(ada, await new LogFixture(store.database).session(ada), cursor)
    await after.opening
    const seen = after.transport.eventsNamed('changes').filter((event) => event.conversation === conversation)
    const changes = seen.flatMap((event) => event.changes)
    expect(changes.filter(({ seq }) => seq >= message.seq).map(({ type }) => type)).toEqual([
      'message.created',
      'card.acted',
      'card.updated',
    ])
    expect(changes.at(-1)).toMatchObject({ message: { card } })
    after.connection.lost()
  })

  it('[OFF1] acts and changes of cards are types of webhooks', () => {
    expect(webhookTypes).toEqual(expect.arrayContaining(['card.updated', 'card.acted']))
  })

  it('[RES1] [ERASE1] replays the creation of a card in its newest version', async () => {
    const { conversation, cursor } = await openBeforeCursor()
    const { message } = await post(conversation)
    const replay = async (): Promise<Change[]> => {
      const { conversations } = await node.run('sync', ada, { limit: 50, cursor })
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

  it('[IDEM1] a repeated card returns the first one after a user of it is gone', async () => {
    const conversation = await open()
    await putExternalUsers(store.database, [{ externalId: 'guest', name: 'Guest' }])
    const card = { ...offer, actions: [{ id: 'go', label: 'Go', by: ['guest'] }] }
    const clientId = randomUUID()
    const first = await post(conversation, { clientId, card })
    await store.database.query({ text: `update users set external_id = null where external_id = 'guest'` })
    expect(await post(conversation, { clientId, card })).toEqual({ ...first, duplicate: true })
    await expect(post(conversation, { card })).rejects.toThrow('a user of one of the actions does not exist')
    await expect(post(conversation, { clientId, card: { ...card, state: 'other' } })).rejects.toMatchObject({
      code: 'conflict',
    })
  })

  it('[SUB1] the bot of another key joins before it writes', async () => {
    const conversation = await open()
    const [other] = (await new LogFixture(store.database).users(1)) as [Id]
    const { message } = await node.run('post-message', other, { conversation, clientId: randomUUID(), card: offer })
    expect(message.sender).toBe(other)
    expect(await changesOf(message, 'member.joined')).toContainEqual(expect.objectContaining({ user: other }))
    const { conversation: group } = await node.run('create-conversation', ada, { kind: 'group', members: [bob] })
    const posted = await node.run('post-message', other, { conversation: group.id, clientId: randomUUID(), text: 'x' })
    expect(await changesOf(posted.message, 'member.joined')).toContainEqual(expect.objectContaining({ user: other }))
  })

  it('[SUB1] [ACL1] the bot of a key joins no direct conversation', async () => {
    const [other] = (await new LogFixture(store.database).users(1)) as [Id]
    const { conversation: direct } = await node.run('create-conversation', ada, { kind: 'direct', members: [bob] })
    const elsewhere = { conversation: direct.id, clientId: randomUUID(), text: 'x' }
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
