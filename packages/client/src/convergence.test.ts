/**
 * Property test of the local copy against the server. Three users act at random while changes are
 * lost, connections are cut and moved, and replays are limited. At the end the local copy must
 * equal a fresh read of the server, field by field.
 */
import type { User } from '@chorus/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from './testing/eventually.ts'
import type { ChangeNotice, ChatClient } from './model/api.ts'
import { createChatClient } from './chat-client.ts'
import { systemClock } from './support/clock.ts'
import { createMemoryStore } from './store/store-memory.ts'
import { FakeServer, type FakeConversation } from './testing/fake-server.ts'
import { offer } from './testing/sign-card.ts'

/** Returns a small seeded random generator, so that a seed reproduces a run. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

let server: FakeServer
const clients: ChatClient[] = []

beforeEach(async () => {
  server = new FakeServer()
  await server.start()
})

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.stop()))
  await server.stop()
})

/**
 * Returns the data that must be equal in the local copy and on the server. It sorts reactions,
 * because they have no order, and omits read markers of other members, because they are live
 * values.
 */
function comparable(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, inner: unknown) => {
      if (key === 'activeAt') return undefined
      if (key === 'members') return (inner as { user: User; role: string }[]).map(({ user, role }) => [user.id, role])
      if (key !== 'reactions' || !Array.isArray(inner)) return inner
      return [...(inner as { emoji: string }[])].sort((left, right) => left.emoji.localeCompare(right.emoji))
    }),
  )
}

function act(random: () => number, conversation: FakeConversation, people: readonly User[]): void {
  const pick = <Item>(items: readonly Item[]): Item | undefined => items[Math.floor(random() * items.length)]
  const members = people.filter(({ id }) => conversation.members.has(id))
  const message = pick(
    [...conversation.messages.values()].filter(({ message: one }) => one.deletedAt === null),
  )?.message
  const actor = pick(members)
  if (actor === undefined) return
  const dice = random()
  const card = message?.card
  if (dice < 0.3 || message === undefined) server.send(conversation, actor, `m${Math.floor(random() * 1e6)}`)
  else if (dice < 0.35)
    server.send(conversation, actor, '', { card: { ...offer, title: `${random()}`, acted: null, jws: '' } })
  else if (dice < 0.4 && card !== undefined) {
    const request = { seq: message.seq, version: card.version, action: 'accept', clientId: `${random()}` }
    if (card.acted === null) server.act(conversation, actor.id, request)
    else server.updateCard(conversation, message.seq, { ...card, version: card.version + 1, acted: null })
  } else if (dice < 0.5) server.edit(conversation, message.seq, `e${Math.floor(random() * 1e6)}`)
  else if (dice < 0.6) server.delete(conversation, message.seq)
  else if (dice < 0.8)
    server.react(conversation, actor.id, message.seq, pick(['👍', '🎉', '❤️']) ?? '👍', random() < 0.7)
  else if (dice < 0.9) server.markRead(conversation, actor.id, Math.floor(random() * server.top(conversation)))
  else if (dice < 0.94) server.losses += 1
  else if (dice < 0.96) server.cut()
  else if (dice < 0.98) server.tellAll('moving', { inMs: 5 })
  else {
    const guest = people.at(-1)
    if (guest === undefined) return
    if (conversation.members.has(guest.id)) server.remove(conversation, guest)
    else server.join(conversation, guest)
  }
}

describe('the local copy', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    '[CLI1] [NODE1] [RES1] the local copy equals the server after random faults (seed %i)',
    async (seed) => {
      const random = createRandom(seed)
      const people = ['ada', 'bob', 'cleo'].map((handle) => server.addUser(handle))
      const conversations = ['Tea', 'Cake'].map((name) => server.addConversation('group', name, people))
      server.replayMaxChanges = 12
      const [, bob] = people
      const errors: unknown[] = []
      const client = createChatClient({
        url: server.url,
        store: createMemoryStore(),
        clock: { ...systemClock, random },
        onError: (error) => errors.push(error),
      })
      clients.push(client)
      const notices: ChangeNotice[] = []
      client.onChange((notice) => notices.push(notice))
      await client.start()
      await client.signIn({ handle: 'bob', password: 'correct horse' })
      for (const { id } of conversations) client.conversation(id).messages.view.subscribe(() => undefined)
      for (let acts = 0; acts < 250; acts += 1) {
        for (const conversation of conversations) act(random, conversation, people)
        if (random() < 0.2) await new Promise((resolve) => setTimeout(resolve, random() * 20))
      }
      server.losses = 0
      await eventually(() => expect(client.connection.get().state).toBe('ready'))
      for (const conversation of conversations) server.send(conversation, people[0]!, 'the last one')
      await eventually(() => {
        for (const conversation of conversations) {
          const copy = client.conversations.get().find(({ id }) => id === conversation.id)
          expect(comparable(copy)).toEqual(comparable(server.toConversation(conversation, bob!.id)))
          const view = client.conversation(conversation.id).messages.view.get()
          const shown = view.items.flatMap((item) => (item.kind === 'message' ? [item.message] : []))
          const all = server.page(conversation, bob!.id, { limit: 100_000 }).messages
          expect(comparable(shown)).toEqual(comparable(all.slice(-shown.length)))
          expect(shown.length).toBeGreaterThan(0)
          expect(view.hasNewer).toBe(false)
        }
      })
      for (const { id } of conversations) {
        const seqs = notices.filter(({ conversation }) => conversation === id).map(({ change }) => change.seq)
        expect(seqs).toEqual([...new Set(seqs)].sort((left, right) => left - right))
      }
      expect(errors).toEqual([])
    },
    30_000,
  )
})
