/** Tests cards of a whole client: their states, the requests for keys, and acts. */
import { ChorusError, type Card, type PageMessage } from '@chorus/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createChatClient } from '../chat-client.ts'
import type { ChatClient } from '../model/api.ts'
import type { CardState } from '../model/api-cards.ts'
import { createId, FakeServer, type FakeConversation } from '../testing/fake-server.ts'
import { eventually } from '../testing/eventually.ts'
import { ManualClock } from '../testing/manual-clock.ts'
import { createTestKey, offer, payloadOf, signCard } from '../testing/sign-card.ts'
import { keysPauseMs } from './card-keys.ts'
import { Cards, unknownKeyChecksMax } from './cards.ts'

const key = createTestKey('key-1')
const late = createTestKey('key-2')
let server: FakeServer
let conversation: FakeConversation
const clients: ChatClient[] = []

beforeEach(async () => {
  server = new FakeServer()
  await server.start()
  server.cardKeys = [key.published]
  const [ada, bob] = ['ada', 'bob'].map((handle) => server.addUser(handle))
  conversation = server.addConversation('group', 'Shoes', [ada!, bob!])
})

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.stop()))
  await server.stop()
})

function post(by = key) {
  const place = { conversation: conversation.id, clientId: createId() }
  const [sender] = [...server.users.values()]
  return server.send(conversation, sender!, '', { ...place, card: signCard(by, place) })
}

async function open(transports: ('socket-io' | 'sse')[] = ['socket-io'], handle = 'bob') {
  const client = createChatClient({ url: server.url, transports, onError: () => undefined })
  clients.push(client)
  await client.start()
  await client.signIn({ handle, password: 'correct horse' })
  const { messages } = client.conversation(conversation.id)
  messages.view.subscribe(() => undefined)
  await eventually(() => expect(client.connection.get().state).toBe('ready'))
  return { client, messages }
}

type Messages = Awaited<ReturnType<typeof open>>['messages']

function find(messages: Messages, seq: number): PageMessage {
  const item = messages.view.get().items.find((one) => one.kind === 'message' && one.message.seq === seq)
  if (item?.kind !== 'message') throw new Error('the message is not loaded')
  return item.message
}

async function settled(messages: Messages, seq: number): Promise<CardState> {
  await eventually(() => find(messages, seq))
  const state = messages.card(find(messages, seq))
  const stop = state.subscribe(() => undefined)
  await eventually(() => expect(state.get()?.status).not.toBe('verifying'))
  stop()
  return state.get()!
}

describe('cards', () => {
  it('[CARD2] shows verified cards with one request for keys', async () => {
    const sent = Array.from({ length: 5 }, () => post())
    const { messages } = await open()
    const states = await Promise.all(sent.map(({ seq }) => settled(messages, seq)))
    for (const [index, state] of states.entries())
      expect(state).toEqual({ status: 'verified', card: payloadOf(sent[index]!), acted: null })
    expect(server.requests.filter((one) => one === 'GET /v1/keys')).toHaveLength(1)
    const plain = server.send(conversation, [...server.users.values()][0]!, 'no card')
    expect(messages.card({ ...plain }).get()).toBeUndefined()
  })

  it.each(['socket-io', 'sse'] as const)(
    '[CARD1] over %s the second act is stale and shows the first',
    async (transport) => {
      const { seq } = post()
      const [bob, ada] = [await open([transport]), await open([transport], 'ada')]
      await Promise.all([settled(bob.messages, seq), settled(ada.messages, seq)])
      // The changes do not arrive, so only the responses can update the views.
      server.losses = 1
      const done = await bob.messages.act({ seq, version: 1, action: 'accept' })
      const acted = { seq: seq + 1, action: 'accept', actor: meOf(bob.client) }
      expect(done).toEqual({ status: 'done', seq: seq + 1 })
      expect(await settled(bob.messages, seq)).toMatchObject({ status: 'verified', acted })
      const late = await ada.messages.act({ seq, version: 1, action: 'decline' })
      expect(late).toMatchObject({ status: 'stale', card: { version: 1, acted } })
      expect(await settled(ada.messages, seq)).toMatchObject({ status: 'verified', acted })
      expect(server.acts).toHaveLength(2)
      const next: Card = { ...signCard(key, find(ada.messages, seq), { ...offer, version: 2, state: 'paid' }) }
      server.updateCard(conversation, seq, next)
      await eventually(() => expect(find(ada.messages, seq).card).toEqual(next))
      expect(await settled(ada.messages, seq)).toMatchObject({ card: { state: 'paid' }, acted: null })
    },
  )

  it('[CARD1] a stale act shows the new version before its change arrives', async () => {
    const { seq } = post()
    const { messages } = await open()
    await settled(messages, seq)
    server.losses = 1
    const next = signCard(key, find(messages, seq), { ...offer, version: 2, actions: [], state: 'sold' })
    server.updateCard(conversation, seq, next)
    expect(await messages.act({ seq, version: 1, action: 'accept' })).toEqual({ status: 'stale', card: next })
    expect(find(messages, seq).card).toEqual(next)
    server.send(conversation, [...server.users.values()][0]!, 'later')
    await eventually(() => expect(messages.view.get().items).toHaveLength(2))
    expect(find(messages, seq)).toMatchObject({ version: seq + 1, card: next })
  })

  it('[CARD1] [ACK2] repeats an act without a response with the same clientId', async () => {
    const { seq } = post()
    const { messages } = await open(['sse'])
    server.actFaults = [new ChorusError('unknown', 'unable to act; the response is missing')]
    expect(await messages.act({ seq, version: 1, action: 'accept' })).toMatchObject({ status: 'done' })
    expect(new Set(server.acts.map(({ clientId }) => clientId)).size).toBe(1)
    expect(server.acts).toHaveLength(2)
  })

  it('[CARD1] refuses an act while offline, at once', async () => {
    const { seq } = post()
    const { client, messages } = await open()
    await server.stop()
    await eventually(() => expect(client.connection.get().state).not.toBe('ready'))
    await expect(messages.act({ seq, version: 1, action: 'accept' })).rejects.toMatchObject({ code: 'unavailable' })
    expect(server.acts).toEqual([])
    await server.start()
    await eventually(() => expect(client.connection.get().state).toBe('ready'))
    expect(await messages.act({ seq, version: 1, action: 'accept' })).toMatchObject({ status: 'done' })
  })

  it('an act passes on a refusal of the server', async () => {
    const { seq } = post()
    const { messages } = await open()
    server.actFaults = [new ChorusError('forbidden', 'unable to act on the card; it is for other users')]
    await expect(messages.act({ seq, version: 1, action: 'accept' })).rejects.toMatchObject({ code: 'forbidden' })
    expect(server.acts).toHaveLength(1)
  })
})

function meOf(client: ChatClient): string {
  const session = client.session.get()
  return session.status === 'signed-in' ? session.user.id : ''
}

describe('checks of cards', () => {
  const place = { conversation: 'conversation-1', clientId: 'client-1' }
  const messageWith = (by = key) => ({ ...place, card: signCard(by, place) }) as unknown as PageMessage

  function create(read: () => Promise<{ keys: unknown }>) {
    const clock = new ManualClock()
    let reads = 0
    const cards = new Cards({
      me: 'me',
      api: {
        call: () => {
          reads += 1
          return read() as never
        },
      },
      request: () => Promise.reject(new Error('unexpected request')),
      clock,
      waits: clock,
      isConnected: () => true,
      onError: (error) => {
        throw error
      },
    })
    return { cards, clock, reads: () => reads }
  }

  const isSettled = (cards: Cards, message: PageMessage, status: CardState['status']) =>
    eventually(() => expect(cards.read(message).status).toBe(status))

  it('[LIM1] reads the keys at most every 30 s for an unknown key', async () => {
    const { cards, clock, reads } = create(() => Promise.resolve({ keys: [key.published] }))
    const unknown = messageWith(late)
    cards.watch(unknown, () => undefined)
    await isSettled(cards, unknown, 'refused')
    for (let index = 0; index < 20; index += 1) {
      const other = { ...unknown, clientId: `client-${index + 2}` }
      cards.watch(other, () => undefined)()
      await isSettled(cards, other, 'refused')
    }
    expect(reads()).toBe(1)
    for (let runs = 0; runs < 2 * unknownKeyChecksMax; runs += 1) {
      await clock.advance(keysPauseMs)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(reads()).toBe(unknownKeyChecksMax)
  })

  it('[CARD2] verifies a card once its new key is published', async () => {
    let keys = [key.published]
    const { cards, clock } = create(() => Promise.resolve({ keys }))
    const message = messageWith(late)
    cards.watch(message, () => undefined)
    await isSettled(cards, message, 'refused')
    keys = [late.published, key.published]
    await clock.advance(keysPauseMs)
    await isSettled(cards, message, 'verified')
  })

  it('[CARD2] keeps a card unverified until the keys can be read', async () => {
    let isDown = true
    const { cards, reads } = create(() =>
      isDown
        ? Promise.reject(new ChorusError('unavailable', 'unable to read keys; offline'))
        : Promise.resolve({ keys: [key.published] }),
    )
    const message = messageWith()
    cards.watch(message, () => undefined)
    await eventually(() => expect(reads()).toBe(1))
    await new Promise((resolve) => setImmediate(resolve))
    expect(cards.read(message)).toEqual({ status: 'verifying' })
    isDown = false
    cards.resume()
    await isSettled(cards, message, 'verified')
  })
})
