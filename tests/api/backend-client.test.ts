/**
 * The client of `@chorus/backend` against a real server: users, commands as the bot and as users,
 * and errors. Subjects, cards and the outbox are tested in the package, against a stand-in.
 */
import { randomUUID } from 'node:crypto'
import { type ChorusClient, createChorusClient } from '@chorus/backend'
import { createApiKey, makeTempDir, removeTempDir, type ServerProcess, startServer } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'

const dataDir = makeTempDir('backend-client')
let server: ServerProcess
let chorus: ChorusClient

beforeAll(async () => {
  server = await startServer({ dataDir })
  const { secret } = await createApiKey({ dataDir })
  chorus = createChorusClient({ url: server.url, secret })
}, 120_000)

afterAll(async () => {
  await server.remove()
  removeTempDir(dataDir)
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
