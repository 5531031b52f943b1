/**
 * The SDK with `getToken` at a real server, over both transports: short tokens, refused tokens and
 * an unreachable back end of the application.
 */
import { randomUUID } from 'node:crypto'
import { ChorusError, type ChatClient, createChatClient, createMemoryStore, type TransportName } from '@chorus/client'
import {
  createApiKey,
  type CreatedKey,
  HttpUser,
  makeClaims,
  runKeys,
  type ServerProcess,
  signToken,
  waitForFact,
} from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let key: CreatedKey
let writer: HttpUser

beforeAll(async () => {
  server = await startQuickServer({ env: { LIMIT_SIGN_INS: '0' } })
  key = await createApiKey(server.database)
  writer = await HttpUser.signUp(server.url)
})

afterAll(async () => {
  await server.remove()
})

const nowS = (): number => Math.floor(Date.now() / 1_000)
const tokenFor = (sub: string, seconds = 300, by = key): string =>
  signToken(by.signing, { ...makeClaims(sub), iat: nowS(), exp: nowS() + seconds, jti: randomUUID() })

function open(getToken: () => Promise<string>, transport: TransportName, store = createMemoryStore()): ChatClient {
  return createChatClient({ url: server.url, getToken, transports: [transport], store, onError: () => undefined })
}

const isReady = (client: ChatClient): Promise<unknown> =>
  waitForFact(() => client.connection.get().state === 'ready', { what: 'the connection', timeoutMs: 30_000 })

function meOf(client: ChatClient): string {
  const session = client.session.get()
  if (session.status !== 'signed-in') throw new Error(`the client is ${session.status}`)
  return session.user.id
}

interface ReadMessage {
  readonly text: string
  readonly sender: string
}

async function readMessages(group: string): Promise<readonly ReadMessage[]> {
  const path = `/v1/conversations/${group}/messages?limit=100`
  return (await writer.expect<{ messages: ReadMessage[] }>(200, 'GET', path)).body.messages
}

const transports = ['socket-io', 'sse'] as const

it.concurrent.each(transports)(
  '[TOKEN3] over %s a client outlives its tokens',
  async (transport) => {
    let calls = 0
    const client = open(() => {
      calls += 1
      return Promise.resolve(tokenFor(`lives over ${transport}`, 5))
    }, transport)
    await client.start()
    await isReady(client)
    const states: string[] = []
    client.connection.subscribe(() => states.push(client.connection.get().state))
    const group = await writer.createConversation('group', [meOf(client)], transport)
    const conversation = client.conversation(group)
    const stopReading = conversation.messages.view.subscribe(() => undefined)
    const until = Date.now() + 12_000
    while (Date.now() < until) {
      await writer.send(group, 'from the writer')
      await conversation.messages.send({ text: 'from the client' })
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    await waitForFact(() => client.outbox.get().length === 0, { what: 'the outbox to be sent', timeoutMs: 30_000 })
    const messages = await readMessages(group)
    expect(messages.filter(({ sender }) => sender === meOf(client)).length).toBeGreaterThan(5)
    expect(calls).toBeGreaterThan(2)
    // Over Socket.IO the connection has never closed.
    if (transport === 'socket-io') expect(states.filter((state) => state !== 'ready')).toEqual([])
    stopReading()
    await client.stop()
  },
  90_000,
)

it.concurrent.each(transports)(
  '[TOKEN5] over %s a revoked key signs out, and the outbox stays',
  async (transport) => {
    const mine = await createApiKey(server.database)
    const store = createMemoryStore()
    let by = mine
    const client = open(() => Promise.resolve(tokenFor(`refused over ${transport}`, 300, by)), transport, store)
    await client.start()
    await isReady(client)
    const me = meOf(client)
    const group = await writer.createConversation('group', [me], transport)
    await runKeys(server.database, ['revoke', mine.id])
    await waitForFact(() => client.session.get().status === 'signed-out', { what: 'the sign-out', timeoutMs: 60_000 })
    expect(client.connection.get().state).toBe('idle')
    await store.putOutbox(me, {
      clientId: randomUUID(),
      conversation: group,
      order: 1,
      draft: { text: 'written before' },
      createdAt: new Date().toISOString(),
      status: { state: 'pending', attempts: 0 },
    })
    // A start with a token that is refused ends in the state that the application sees.
    await client.start()
    await waitForFact(() => client.session.get().status === 'signed-out', { what: 'the refusal', timeoutMs: 60_000 })
    expect(client.session.get()).toEqual({ status: 'signed-out', reason: 'token-refused' })
    by = key
    await client.start()
    await isReady(client)
    await waitForFact(() => client.outbox.get().length === 0, { what: 'the outbox to be sent', timeoutMs: 30_000 })
    const messages = await readMessages(group)
    expect(messages.map(({ text }) => text)).toContain('written before')
    await client.stop()
  },
  120_000,
)

it.concurrent('waits while the back end of the application is down', async () => {
  let isDown = true
  const client = open(
    () => (isDown ? Promise.reject(new Error('down')) : Promise.resolve(tokenFor('patient'))),
    'socket-io',
  )
  void client.start()
  await waitForFact(() => client.session.get().status === 'unknown', { what: 'the start' })
  await expect(client.sessions()).rejects.toMatchObject({ code: 'unavailable' })
  isDown = false
  await isReady(client)
  expect((await client.sessions()).length).toBe(1)
  await expect(client.signIn({ handle: 'anna', password: 'a password' })).rejects.toThrow(ChorusError)
  await client.signOut()
  expect(client.session.get()).toEqual({ status: 'signed-out', reason: 'asked' })
  await client.stop()
}, 60_000)
