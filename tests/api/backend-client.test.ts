/**
 * `@chorus/backend` against a real server: users, subjects, cards, commands as the bot and as users,
 * errors, user tokens, and the outbox, whose key is replaced.
 */
import { randomUUID } from 'node:crypto'
import {
  type ChorusClient,
  createChorusClient,
  createOutboxTable,
  type OutboxProblem,
  postInTransaction,
  readOutboxState,
  retryDeadLetters,
  signUserToken,
  startOutboxRelay,
} from '@chorus/backend'
import { PGlite } from '@electric-sql/pglite'
import { createApiKey, type CreatedKey, runKeys, type ServerProcess, SocketUser, waitForFact } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let key: CreatedKey
let chorus: ChorusClient

beforeAll(async () => {
  server = await startQuickServer()
  key = await createApiKey(server.database)
  chorus = createChorusClient({ url: server.url, secret: key.secret })
}, 180_000)

afterAll(async () => {
  await server.remove()
})

it('[EXT1] creates a user once, updates it, and revokes its tokens', async () => {
  const first = await chorus.users.put('shop/jürgen', { name: 'Jürgen' })
  expect(first).toMatchObject({ created: true, user: { externalId: 'shop/jürgen', bot: false, erasing: false } })
  expect((await chorus.users.put('shop/jürgen', { name: 'J.' })).created).toBe(false)
  expect((await chorus.users.get('shop/jürgen')).user).toMatchObject({ id: first.user.id, name: 'J.' })
  await chorus.users.revokeTokens('shop/jürgen')
  await expect(chorus.users.get('nobody')).rejects.toMatchObject({ code: 'not-found', failure: 'refused' })
})

it('[EXT1] creates 1000 users in one call and lists all of them', async () => {
  const entries = Array.from({ length: 1_000 }, (_, index) => ({ externalId: `bulk-${index}`, name: `User ${index}` }))
  const results = await chorus.users.putMany(entries)
  expect(results.filter(({ user }) => user !== undefined)).toHaveLength(1_000)
  const ids = new Set<string | null>()
  let page: string | undefined
  do {
    const { users, next } = await chorus.users.list({ limit: 100, ...(page !== undefined && { page }) })
    for (const { externalId } of users) ids.add(externalId)
    page = next
  } while (page !== undefined)
  expect(entries.every(({ externalId }) => ids.has(externalId))).toBe(true)
}, 60_000)

it('[KEY1] sends as the bot and as a user, and a repeated clientId stores nothing', async () => {
  const { user } = await chorus.users.put('käufer', { name: 'Ada' })
  const { conversation } = await chorus.call('create-conversation', {
    kind: 'group',
    name: 'Order 1',
    members: [user.id],
    clientId: randomUUID(),
  })
  const ada = chorus.as('käufer')
  const message = { conversation: conversation.id, clientId: randomUUID(), text: 'Hello' }
  for (let round = 0; round < 2; round += 1) await ada.call('send-message', message)
  const { messages } = await ada.call('list-messages', { conversation: conversation.id })
  expect(messages.map(({ sender, text }) => [sender, text])).toEqual([[user.id, 'Hello']])
})

const offer = {
  type: 'quote',
  title: 'Blue bicycle',
  state: 'open',
  fields: { price: '120 EUR' },
  actions: [{ id: 'accept', label: 'Accept', by: ['buyer'] }],
}

/** Creates the conversation of a new order between two users. */
async function openOrder(): Promise<{ subject: { type: string; id: string }; conversation: string }> {
  await chorus.users.putMany(['buyer', 'seller'].map((externalId) => ({ externalId, name: externalId })))
  const subject = { type: 'order', id: randomUUID() }
  const request = { kind: 'group', name: 'Order', members: ['buyer', 'seller'] } as const
  const [one, two] = await Promise.all([
    chorus.subjects.putConversation(subject, request),
    chorus.subjects.putConversation(subject, request),
  ])
  expect(one.conversation.id).toBe(two.conversation.id)
  expect([one.created, two.created].sort()).toEqual([false, true])
  return { subject, conversation: one.conversation.id }
}

it('[SUB1] [CARD1] sends a card about a subject, which is acted on once', async () => {
  const { subject, conversation } = await openOrder()
  expect((await chorus.subjects.getConversation(subject)).conversation.id).toBe(conversation)
  await expect(chorus.subjects.getConversation({ type: 'order', id: 'none' })).rejects.toMatchObject({
    code: 'not-found',
  })
  const { message } = await chorus.messages.send(conversation, { as: 'seller', card: offer })
  const buyer = chorus.as('buyer')
  const clientId = randomUUID()
  const act = { version: 1, action: 'accept' }
  const first = await buyer.act(conversation, message.seq, { ...act, clientId })
  expect(await buyer.act(conversation, message.seq, { ...act, clientId })).toEqual(first)
  await expect(buyer.act(conversation, message.seq, act)).rejects.toMatchObject({
    code: 'stale',
    retry: 'never',
    current: { card: { version: 1, acted: { seq: first.seq } } },
  })
  const { card } = await chorus.messages.updateCard(conversation, message.seq, {
    version: 1,
    state: 'paid',
    actions: [],
  })
  expect(card).toMatchObject({ version: 2, state: 'paid', acted: null })
  const { messages } = await buyer.call('list-messages', { conversation })
  expect(messages.map(({ card: shown }) => shown?.state)).toEqual(['paid'])
})

it('[TOKEN1] signs tokens that connect a user', async () => {
  const { conversation } = await openOrder()
  const { id: keyId, signingSecret } = key
  const token = await signUserToken({ keyId, signingSecret, userId: 'buyer', name: 'Ada', lifetimeS: 60 })
  const buyer = await SocketUser.connect(server.url, { client: { auth: { token } } })
  const { seq } = await buyer.command('send', { conversation, clientId: randomUUID(), text: 'Hello' })
  expect((await chorus.as('seller').call('get-message', { conversation, seq: seq as number })).message.text).toBe(
    'Hello',
  )
  buyer.close()
})

it('[OUT1] [IDEM1] the outbox posts rows once, also under a new key and after a restore', async () => {
  const { subject, conversation } = await openOrder()
  const database = await PGlite.create()
  await createOutboxTable(database)
  const problems: OutboxProblem[] = []
  const relayWith = (client: ChorusClient) =>
    startOutboxRelay({ pool: database, client, pollMs: 10, onProblem: (problem) => problems.push(problem) })
  const rows = [
    { id: randomUUID(), subject, text: 'The order is paid.' },
    { id: randomUUID(), conversation, as: 'seller', card: offer },
    { id: randomUUID(), conversation: randomUUID(), text: 'to no conversation' },
    { id: randomUUID(), conversation, as: 'nobody', text: 'by no user' },
    { id: randomUUID(), conversation, text: 'On its way.' },
  ]
  const insert = () =>
    database.transaction(async (transaction) => {
      for (const row of rows) await postInTransaction(transaction, row)
    })
  const whenEmpty = () =>
    waitForFact(async () => (await readOutboxState(database)).waiting === 0, { timeoutMs: 60_000 })
  const history = async () => {
    const { messages } = await chorus.as('buyer').call('list-messages', { conversation })
    return messages.map(({ clientId }) => clientId)
  }
  const posted = [rows[0]?.id, rows[1]?.id, rows[4]?.id]

  await insert()
  const first = await createApiKey(server.database)
  const relay = relayWith(createChorusClient({ url: server.url, secret: first.secret }))
  await whenEmpty()
  await relay.stop()
  expect(await history()).toEqual(posted)
  const { rows: dead } = await database.query<{ id: string; reason: string }>(
    'select id::text, reason from chorus_outbox_dead',
  )
  expect(Object.fromEntries(dead.map(({ id, reason }) => [id, reason]))).toEqual({
    [rows[2]?.id ?? '']: expect.stringMatching(/^not-found: unable to send/),
    [rows[3]?.id ?? '']: expect.stringMatching(/^not-found: .*there is no user/),
  })

  // The integrator restores its database, and the key was replaced since.
  await runKeys(server.database, ['revoke', first.id])
  await insert()
  const second = await createApiKey(server.database)
  const next = relayWith(createChorusClient({ url: server.url, secret: second.secret }))
  await whenEmpty()
  expect(await history()).toEqual(posted)
  await chorus.users.put('nobody', { name: 'Nobody' })
  await chorus.subjects.putConversation(subject, { kind: 'group', members: ['nobody'] })
  expect(await retryDeadLetters(database, [rows[3]?.id ?? ''])).toBe(1)
  await whenEmpty()
  expect(await history()).toEqual([...posted, rows[3]?.id])
  await next.stop()
  await database.close()
  expect(new Set(problems.map(({ kind }) => kind))).toEqual(new Set(['dead-letter']))
}, 180_000)
