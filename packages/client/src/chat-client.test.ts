/**
 * Tests of the whole client against the fake server on the loopback interface: what an application
 * sees, and what happens when the connection fails.
 */
import { ChorusError, type User } from '@chorus/protocol'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { eventually, eventuallyMs } from './testing/eventually.ts'
import type { ChangeNotice, ChatClient, ChatClientOptions, TransportName } from './model/api.ts'
import type { TimelineItem } from './model/api-messages.ts'
import { createChatClient } from './chat-client.ts'
import { systemClock } from './support/clock.ts'
import { createMemoryStore } from './store/store-memory.ts'
import { FakeServer, type FakeConversation } from './testing/fake-server.ts'

let server: FakeServer
const open: ChatClient[] = []

beforeEach(async () => {
  server = new FakeServer()
  await server.start()
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.stop()))
  await server.stop()
})

/** Real clock, but every random number is small, so that back-offs are short. */
const clock = { ...systemClock, random: () => 0.05 }

function createClient(options: Partial<ChatClientOptions> = {}): ChatClient {
  const client = createChatClient({ url: server.url, clock, onError: (error) => errors.push(error), ...options })
  open.push(client)
  return client
}

let errors: unknown[] = []
beforeEach(() => {
  errors = []
})

async function signIn(user: User, options: Partial<ChatClientOptions> = {}): Promise<ChatClient> {
  const client = createClient(options)
  await client.start()
  await client.signIn({ handle: user.handle, password: 'correct horse' })
  await isReady(client)
  return client
}

function isReady(client: ChatClient): Promise<void> {
  return eventually(() => expect(client.connection.get().state).toBe('ready'))
}

function textsOf(client: ChatClient, conversation: FakeConversation): string[] {
  return client.conversation(conversation.id).messages.view.get().items.map(textOf)
}

function textOf(item: TimelineItem): string {
  return item.kind === 'message' ? item.message.text : `(${item.item.draft.text})`
}

/**
 * Shows a conversation as an application would: subscribes to its messages and waits for the first
 * page.
 */
async function show(client: ChatClient, conversation: FakeConversation) {
  const { view } = client.conversation(conversation.id).messages
  view.subscribe(() => undefined)
  await eventually(() => expect(view.get().isLoaded).toBe(true))
  return client.conversation(conversation.id)
}

function record(client: ChatClient): ChangeNotice[] {
  const notices: ChangeNotice[] = []
  client.onChange((notice) => notices.push(notice))
  return notices
}

function seqsOf(notices: readonly ChangeNotice[], conversation: FakeConversation): number[] {
  return notices.filter((notice) => notice.conversation === conversation.id).map(({ change }) => change.seq)
}

describe.each<readonly [string, readonly TransportName[]]>([
  ['over Socket.IO', ['socket-io']],
  ['over Server-Sent Events', ['sse']],
])('two clients %s', (_, transports) => {
  it('a message is shown as pending, then acknowledged, then read by the recipient', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const adas = await signIn(ada, { transports })
    const bobs = await signIn(bob, { transports })
    await show(adas, tea)
    await show(bobs, tea)

    const sent = await adas.conversation(tea.id).messages.send({ text: 'hello' })
    expect(textsOf(adas, tea)).toEqual(['(hello)'])
    const { seq } = await sent.acknowledged
    await eventually(() => expect(textsOf(bobs, tea)).toEqual(['hello']))
    await eventually(() => expect(textsOf(adas, tea)).toEqual(['hello']))
    const [item] = adas.conversation(tea.id).messages.view.get().items
    expect(item).toMatchObject({ kind: 'message', key: sent.clientId, isMine: true })
    await eventually(() => expect(adas.outbox.get()).toEqual([]))

    expect(bobs.conversations.get()[0]).toMatchObject({ id: tea.id, unread: 1, lastMessage: { text: 'hello' } })
    expect(bobs.unread.get()).toBe(1)
    await bobs.conversation(tea.id).markRead()
    expect(bobs.unread.get()).toBe(0)
    expect(tea.members.get(bob.id)?.readSeq).toBe(seq)
    expect(errors).toEqual([])
  })

  it('a client shows its own edits, deletions and reactions at once', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    server.send(tea, ada, 'one')
    server.send(tea, ada, 'two')
    const adas = await signIn(ada, { transports })
    const bobs = await signIn(bob, { transports })
    const { messages } = await show(adas, tea)
    await show(bobs, tea)
    const [one, two] = messages.view.get().items.map((item) => (item.kind === 'message' ? item.message.seq : 0))

    const editing = messages.edit(one!, 'uno')
    expect(textsOf(adas, tea)).toEqual(['uno', 'two'])
    await editing
    const reacting = messages.react(one!, '👍')
    const shown = messages.view.get().items[0]
    expect(shown?.kind === 'message' && shown.message.reactions).toEqual([{ emoji: '👍', count: 1, mine: true }])
    await reacting
    await messages.delete(two!)
    await eventually(() => expect(textsOf(bobs, tea)).toEqual(['uno', '']))
    const seen = bobs.conversation(tea.id).messages.view.get().items[0]
    expect(seen?.kind === 'message' && seen.message.reactions).toEqual([{ emoji: '👍', count: 1, mine: false }])
    await messages.unreact(one!, '👍')
    await eventually(() => {
      const after = bobs.conversation(tea.id).messages.view.get().items[0]
      expect(after?.kind === 'message' && after.message.reactions).toEqual([])
    })

    const foreign = server.send(tea, bob, 'mine')
    await expect(messages.edit(foreign.seq + 99, 'x')).rejects.toBeInstanceOf(ChorusError)
    expect(textsOf(adas, tea)).toEqual(['uno', '', 'mine'])
  })

  it('[ACK2] a client retries a command at most once, and never after a newer command', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    const { seq } = server.send(tea, ada, 'one')
    const adas = await signIn(ada, { transports })
    const { messages } = await show(adas, tea)
    const leaving = new ChorusError('unavailable', 'unable to edit message; this is a test')

    server.commandFaults = [leaving]
    const older = messages.edit(seq, 'older')
    const newer = messages.edit(seq, 'newer')
    expect(textsOf(adas, tea)).toEqual(['newer'])
    await expect(older).rejects.toMatchObject({ code: 'unavailable' })
    await newer
    expect(server.texts(tea)).toEqual(['newer'])
    expect(server.commands.map(({ text }) => text)).toEqual(['older', 'newer'])
    await eventually(() => expect(textsOf(adas, tea)).toEqual(['newer']))

    server.commandFaults = [leaving, leaving, leaving, leaving]
    await expect(messages.edit(seq, 'newest')).rejects.toMatchObject({ code: 'unavailable' })
    expect(server.commands.filter(({ text }) => text === 'newest')).toHaveLength(2)
    expect(textsOf(adas, tea)).toEqual(['newer'])
  })

  it('[RES1] [CLI1] a client receives each change once, in order, after a reconnect', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const bobs = await signIn(bob, { transports })
    const notices = record(bobs)
    await show(bobs, tea)
    const base = server.top(tea)
    server.send(tea, ada, 'm1')
    await eventually(() => expect(notices).toHaveLength(1))
    await server.stop()
    for (let index = 2; index <= 300; index += 1) server.send(tea, ada, `m${index}`)
    await server.start()
    await eventually(() => expect(textsOf(bobs, tea)).toHaveLength(300))
    server.send(tea, ada, 'last')
    await eventually(() => expect(textsOf(bobs, tea).at(-1)).toBe('last'))
    expect(seqsOf(notices, tea)).toEqual(Array.from({ length: 301 }, (__, index) => base + 1 + index))
  })

  it('[ACL2] a client with a revoked session signs out and keeps pending messages', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    const store = createMemoryStore()
    const client = await signIn(ada, { transports, store })
    server.sendFaults = Array.from({ length: 50 }, () => new ChorusError('unavailable', 'unable to send; later'))
    await client.conversation(tea.id).messages.send({ text: 'waits' })
    const [token] = [...server.sessions].find(([, userId]) => userId === ada.id) ?? ['']
    server.revoke(token)
    await eventually(() => expect(client.session.get()).toEqual({ status: 'signed-out', reason: 'revoked' }))
    expect(client.conversations.get()).toEqual([])
    expect(await store.readReplica(ada.id)).toBeUndefined()
    expect(await store.readOutbox(ada.id)).toHaveLength(1)
    server.sendFaults = []
    await client.signIn({ handle: 'ada', password: 'correct horse' })
    await eventually(() => expect(server.texts(tea)).toEqual(['waits']))
  })
})

describe('the outbox of unsent messages, in a whole client', () => {
  it('[IDEM1] [ORD2] the outbox sends each message once, in order, despite lost responses and restarts', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    const cake = server.addConversation('group', 'Cake', [ada])
    const client = await signIn(ada)
    const later = () => new ChorusError('unavailable', 'unable to send; not now')
    server.sendFaults = [later(), new ChorusError('unknown', 'unable to say'), later()]
    const expected = Array.from({ length: 20 }, (_, index) => `m${index}`)
    for (const text of expected.slice(0, 10)) {
      await client.conversation(tea.id).messages.send({ text })
      await client.conversation(cake.id).messages.send({ text })
    }
    // The server stores the message, but its response is lost with the connection.
    server.sendFaults.push('lose', 'lose')
    await eventually(() => expect(server.sendFaults).toEqual([]))
    await server.stop()
    for (const text of expected.slice(10)) {
      await client.conversation(tea.id).messages.send({ text })
      await client.conversation(cake.id).messages.send({ text })
    }
    await server.start()
    await eventually(() => expect(client.outbox.get()).toEqual([]))
    expect(server.texts(tea)).toEqual(expected)
    expect(server.texts(cake)).toEqual(expected)
  })

  it('[ACK2] the outbox keeps a refused message as failed, to retry or discard', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    const client = await signIn(ada)
    const { messages } = await show(client, tea)
    const refusal = () => new ChorusError('forbidden', 'unable to send message; muted')
    server.sendFaults = [refusal(), refusal()]
    const first = await messages.send({ text: 'first' })
    const second = await messages.send({ text: 'second' })
    await expect(first.acknowledged).rejects.toMatchObject({ code: 'forbidden' })
    await expect(second.acknowledged).rejects.toMatchObject({ code: 'forbidden' })
    await (await messages.send({ text: 'third' })).acknowledged
    expect(
      client.outbox
        .get()
        .map(({ status }) => status.state)
        .filter((state) => state === 'failed'),
    ).toHaveLength(2)
    await messages.discard(second.clientId)
    await messages.retry(first.clientId)
    await eventually(() => expect(textsOf(client, tea)).toEqual(['third', 'first']))
    await expect(messages.send({ text: '' })).rejects.toMatchObject({ code: 'invalid' })
    await expect(messages.send({ text: 'x'.repeat(20_001) })).rejects.toMatchObject({ code: 'too-large' })
  })

  it('[CLI1] the outbox shows and sends pending messages after a reload', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    server.send(tea, ada, 'before')
    const store = createMemoryStore()
    const first = await signIn(ada, { store })
    await show(first, tea)
    await eventually(() => expect(textsOf(first, tea)).toEqual(['before']))
    await server.stop()
    await first.conversation(tea.id).messages.send({ text: 'offline 1' })
    await first.conversation(tea.id).messages.send({ text: 'offline 2' })
    await first.stop()

    const second = createClient({ store })
    const notices = record(second)
    await second.start()
    expect(second.session.get()).toMatchObject({ status: 'signed-in', user: { handle: 'ada' } })
    expect(second.data.get()).toBe('cached')
    expect(second.conversations.get().map(({ name }) => name)).toEqual(['Tea'])
    expect(textsOf(second, tea)).toEqual(['before', '(offline 1)', '(offline 2)'])
    await server.start()
    await eventually(() => expect(textsOf(second, tea)).toEqual(['before', 'offline 1', 'offline 2']))
    expect(second.data.get()).toBe('live')
    expect(seqsOf(notices, tea)).toEqual([4, 5])
  })

  it('[CLI1] after a restart, the client keeps changes newer than its stored cursor', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    const store = createMemoryStore()
    const first = await signIn(ada, { store })
    const notices = record(first)
    await show(first, tea)
    server.tellsCheckpoints = false
    await first.conversation(tea.id).messages.send({ text: 'just in time' })
    await eventually(() => expect(textsOf(first, tea)).toEqual(['just in time']))
    await eventually(async () => {
      const replica = await store.readReplica(ada.id)
      expect(replica?.cursor).not.toBe(server.cursor)
      expect(replica?.conversations[0]?.appliedSeq).toBe(server.top(tea))
    })
    // Simulates a process that ends without `stop` and starts again. No change may be lost, and
    // none may be reported twice.
    const second = createClient({ store })
    const later = record(second)
    server.tellsCheckpoints = true
    await second.start()
    await eventually(() => expect(second.data.get()).toBe('live'))
    expect(textsOf(second, tea)).toEqual(['just in time'])
    expect([...seqsOf(notices, tea), ...seqsOf(later, tea)]).toEqual([server.top(tea)])
  })

  it('[CLI1] the client reports once that the user was removed, also after a restart', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const store = createMemoryStore()
    const first = await signIn(bob, { store })
    const notices = record(first)
    server.tellsCheckpoints = false
    server.remove(tea, bob)
    const removal = server.top(tea)
    await eventually(() => expect(seqsOf(notices, tea)).toEqual([removal]))
    await first.stop()
    expect((await store.readReplica(bob.id))?.cursor).not.toBe(server.cursor)
    const second = createClient({ store })
    const later = record(second)
    await second.start()
    expect(second.conversations.get()).toEqual([])
    await eventually(() => expect(second.data.get()).toBe('live'))
    server.tellsCheckpoints = true
    // The second client reports later changes in another conversation, but not the removal again.
    // Then the store deletes its entry of the left conversation.
    const news = server.addConversation('group', 'News', [ada])
    server.join(news, bob)
    await eventually(() => expect(second.conversations.get()).toHaveLength(1))
    server.send(news, ada, 'a barrier')
    await eventually(() => expect(seqsOf(later, news)).toContain(server.top(news)))
    expect(seqsOf(later, tea)).toEqual([])
    await eventually(async () => {
      expect((await store.readReplica(bob.id))?.conversations.map(({ id }) => id)).toEqual([news.id])
    })
  })

  it('[CLI1] after a rejoin and a restart, the client reports no change twice', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const store = createMemoryStore()
    // The client requests the conversation's name, but has stopped before the response arrives.
    const slow: typeof fetch = (input, init) =>
      (input as string).endsWith(`/v1/conversations/${tea.id}`) ? new Promise(() => undefined) : fetch(input, init)
    const first = await signIn(bob, { store, fetch: slow })
    const notices = record(first)
    server.remove(tea, bob)
    await eventually(() => expect(first.conversations.get()).toEqual([]))
    server.join(tea, bob)
    const cached = server.limitedEntry(tea, bob.id)
    for (let index = 0; index < 13; index += 1) server.send(tea, ada, `m${index}`)
    const top = server.top(tea)
    await eventually(() => expect(seqsOf(notices, tea).at(-1)).toBe(top))
    await first.stop()
    server.cachedEntries.set(tea.id, cached)
    const second = createClient({ store })
    const later = record(second)
    await second.start()
    await isReady(second)
    server.send(tea, ada, 'a barrier')
    await eventually(() => expect(seqsOf(later, tea)).toContain(top + 1))
    expect(seqsOf(later, tea)).toEqual([top + 1])
    await eventually(() => expect(second.conversations.get().map(({ name }) => name)).toEqual(['Tea']))
    await show(second, tea)
    await eventually(() => expect(textsOf(second, tea).at(-1)).toBe('a barrier'))
  })

  it('[CLI1] the client reports no change twice after random restarts and lost connections', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('send', 'remove', 'join', 'cache', 'limit', 'restart', 'cut', 'lose'), {
          minLength: 5,
          maxLength: 25,
        }),
        async (acts) => {
          const ada = server.addUser(`ada${server.users.size}`)
          const bob = server.addUser(`bob${server.users.size}`)
          const tea = server.addConversation('group', 'Tea', [ada, bob])
          const store = createMemoryStore()
          const notices: ChangeNotice[] = []
          let client = await signIn(bob, { store })
          client.onChange((notice) => notices.push(notice))
          for (const act of acts) {
            server.replayMaxChanges = act === 'limit' ? 0 : 10_000
            if (act === 'send') for (let index = 0; index < 3; index += 1) server.send(tea, ada, 'x')
            else if (act === 'remove' && tea.members.has(bob.id)) server.remove(tea, bob)
            else if (act === 'join' && !tea.members.has(bob.id)) server.join(tea, bob)
            else if (act === 'cache' && tea.members.has(bob.id)) {
              server.cachedEntries.set(tea.id, server.limitedEntry(tea, bob.id))
            } else if (act === 'lose') server.losses = 1
            else if (act === 'cut' || act === 'limit') server.cut()
            else if (act === 'restart') {
              await client.stop()
              client = createClient({ store })
              client.onChange((notice) => notices.push(notice))
              await client.start()
            }
          }
          server.cachedEntries.clear()
          server.replayMaxChanges = 10_000
          server.losses = 0
          if (!tea.members.has(bob.id)) server.join(tea, bob)
          // The test waits for a marker message. A client that was just cut off may skip it with
          // `limited`, so the test sends the marker repeatedly.
          await vi.waitFor(
            async () => {
              const barrier = server.send(tea, ada, 'a barrier').seq
              await vi.waitFor(() => expect(seqsOf(notices, tea)).toContain(barrier), { timeout: 300, interval: 10 })
            },
            { timeout: eventuallyMs, interval: 10 },
          )
          await client.stop()
          const seqs = seqsOf(notices, tea)
          expect(seqs).toEqual([...new Set(seqs)].sort((left, right) => left - right))
        },
      ),
      { numRuns: 25, endOnFailure: true },
    )
  })
})

describe('the local copy of the client', () => {
  it('[NODE1] [TAIL1] the client reads missing changes before it stores a newer cursor', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const store = createMemoryStore()
    const client = await signIn(bob, { store })
    const notices = record(client)
    await show(client, tea)
    server.losses = 2
    for (const text of ['a', 'b', 'c', 'd']) server.send(tea, ada, text)
    expect(textsOf(client, tea)).toEqual([])
    await eventually(() => expect(textsOf(client, tea)).toEqual(['a', 'b', 'c', 'd']))
    expect(seqsOf(notices, tea)).toEqual([4, 5, 6, 7])
    expect(server.requests.filter((line) => line.includes('/changes'))).toHaveLength(1)
    await eventually(async () => {
      const replica = await store.readReplica(bob.id)
      expect(replica?.cursor).toBe(server.cursor)
      expect(replica?.conversations[0]?.appliedSeq).toBe(7)
    })
  })

  it('[RES1] the client reloads a conversation when it missed too many changes', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const client = await signIn(bob)
    const notices = record(client)
    const limited: number[] = []
    client.onLimited(({ seq }) => limited.push(seq))
    const { messages } = await show(client, tea)
    server.replayMaxChanges = 10
    await server.stop()
    for (let index = 0; index < 120; index += 1) server.send(tea, ada, `m${index}`)
    await server.start()
    await eventually(() => expect(textsOf(client, tea)).toHaveLength(50))
    expect(limited).toEqual([server.top(tea)])
    expect(notices).toEqual([])
    expect(client.conversations.get()[0]?.unread).toBe(120)
    await messages.loadOlder()
    await messages.loadOlder()
    expect(textsOf(client, tea)).toEqual(Array.from({ length: 120 }, (_, index) => `m${index}`))
    expect(messages.view.get().hasOlder).toBe(false)
    expect(notices).toEqual([])
  })

  it('[RES2] after `reset`, the client reloads all conversations and keeps pending messages', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    server.send(tea, ada, 'of the old history')
    const client = await signIn(ada)
    const notices = record(client)
    await show(client, tea)
    await server.stop()
    await client.conversation(tea.id).messages.send({ text: 'waiting' })
    // A backup was restored: the same conversation with a different history.
    server.epoch = 'epoch2'
    tea.changes.splice(2)
    tea.messages.clear()
    server.send(tea, ada, 'of the new history')
    await server.start()
    await eventually(() => expect(textsOf(client, tea)).toEqual(['of the new history', 'waiting']))
    expect(notices.map(({ epoch, change }) => [epoch, change.seq])).toEqual([['epoch2', 4]])
    await eventually(() => expect(client.data.get()).toBe('live'))
  })

  it('[ACL1] [ACL4] the client shows a conversation only while the user is a member', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada])
    server.send(tea, ada, 'before bob')
    const client = await signIn(bob)
    const notices = record(client)
    expect(client.conversations.get()).toEqual([])
    server.join(tea, bob)
    await eventually(() => expect(client.conversations.get()).toMatchObject([{ id: tea.id, name: 'Tea', unread: 0 }]))
    await show(client, tea)
    expect(textsOf(client, tea)).toEqual(['before bob'])
    server.remove(tea, bob)
    await eventually(() => expect(client.conversations.get()).toEqual([]))
    expect(textsOf(client, tea)).toEqual([])
    server.send(tea, ada, 'not for bob')
    server.join(tea, bob)
    await eventually(() => expect(client.conversations.get()).toHaveLength(1))
    await eventually(() => expect(textsOf(client, tea)).toEqual(['before bob', 'not for bob']))
    const seqs = seqsOf(notices, tea)
    expect(seqs).toEqual([...new Set(seqs)].sort((left, right) => left - right))
    expect(seqs).not.toContain(6)
  })

  it('[ACL1] after a reconnect, a conversation is gone if the user was removed from it', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const client = await signIn(bob)
    const notices = record(client)
    await server.stop()
    server.send(tea, ada, 'unseen')
    server.remove(tea, bob)
    await server.start()
    await eventually(() => expect(client.conversations.get()).toEqual([]))
    await isReady(client)
    expect(notices.map(({ change }) => change.type)).toEqual(['member.left'])
  })

  it('unread counts stay correct after deletions and after reading on other devices', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const phone = await signIn(bob)
    const laptop = await signIn(bob)
    const first = server.send(tea, ada, 'one')
    const second = server.send(tea, ada, 'two')
    server.send(tea, bob, 'my own')
    await eventually(() => expect(phone.unread.get()).toBe(2))
    server.delete(tea, second.seq)
    await eventually(() => expect(phone.unread.get()).toBe(1))
    await laptop.conversation(tea.id).markRead(first.seq)
    await eventually(() => expect(phone.unread.get()).toBe(0))
    server.send(tea, ada, 'three')
    await eventually(() => expect([phone.unread.get(), laptop.unread.get()]).toEqual([1, 1]))
  })

  it('the client sorts conversations by latest activity', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const cake = server.addConversation('group', 'Cake', [ada, bob])
    const client = await signIn(bob)
    const names = () => client.conversations.get().map(({ name }) => name)
    server.send(tea, ada, 'x')
    await eventually(() => expect(names()).toEqual(['Tea', 'Cake']))
    server.send(cake, ada, 'x')
    await eventually(() => expect(names()).toEqual(['Cake', 'Tea']))
    server.send(tea, ada, 'y')
    await eventually(() => expect(names()).toEqual(['Tea', 'Cake']))
  })

  it('the timeline loads the page around a message, and then the newest page again', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    for (let index = 0; index < 200; index += 1) server.send(tea, ada, `m${index}`)
    const client = await signIn(ada)
    const { messages } = await show(client, tea)
    await messages.loadAround(52)
    expect(messages.view.get()).toMatchObject({ hasOlder: true, hasNewer: true })
    server.send(tea, ada, 'new')
    await (await messages.send({ text: 'newer' })).acknowledged
    expect(textsOf(client, tea)).not.toContain('new')
    for (let pages = 0; messages.view.get().hasNewer && pages < 10; pages += 1) await messages.loadNewer()
    expect(textsOf(client, tea).slice(-3)).toEqual(['m199', 'new', 'newer'])
    await messages.loadAround(52)
    await messages.loadNewest()
    expect(textsOf(client, tea).at(-1)).toBe('newer')
    expect((await messages.get(3)).text).toBe('m0')
  })

  it('the client reports errors thrown by application callbacks, and continues', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    const client = await signIn(ada)
    client.onChange(() => {
      throw new Error('of the application')
    })
    const notices = record(client)
    server.send(tea, ada, 'x')
    await eventually(() => expect(notices).toHaveLength(1))
    expect(errors).toMatchObject([{ message: 'of the application' }])
  })
})

describe('users of the client', () => {
  it('the client shows typing users, their presence and their profiles', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada, bob])
    const adas = await signIn(ada)
    const bobs = await signIn(bob)
    const { typing, presence, members } = bobs.conversation(tea.id)
    typing.users.subscribe(() => undefined)
    presence.subscribe(() => undefined)
    members.list.subscribe(() => undefined)
    adas.conversation(tea.id).typing.start()
    await eventually(() => expect(typing.users.get()).toEqual([ada.id]))
    adas.conversation(tea.id).typing.stop()
    await eventually(() => expect(typing.users.get()).toEqual([]))
    await eventually(() => expect(presence.get().get(ada.id)?.status).toBe('online'))
    await eventually(() => expect(members.list.get()?.map(({ user }) => user.handle)).toEqual(['ada', 'bob']))
    const cleo = server.addUser('cleo')
    server.join(tea, cleo)
    await eventually(() => expect(members.list.get()?.map(({ user }) => user.handle)).toEqual(['ada', 'bob', 'cleo']))
    await eventually(() =>
      expect(bobs.conversations.get()[0]?.members.map(({ user }) => user.handle)).toContain('cleo'),
    )
    expect(bobs.conversations.get()[0]?.memberCount).toBe(3)

    const dan = server.addUser('dan')
    const eve = server.addUser('eve')
    const before = server.requests.length
    const found = await Promise.all([bobs.users.get(dan.id), bobs.users.get(eve.id), bobs.users.get(dan.id)])
    expect(found.map(({ handle }) => handle)).toEqual(['dan', 'eve', 'dan'])
    expect(server.requests.length - before).toBe(1)
    await expect(bobs.users.get('nobody')).rejects.toMatchObject({ code: 'not-found' })
  })

  it('a new user can sign up, create and leave a conversation, and sign out', async () => {
    const bob = server.addUser('bob')
    const store = createMemoryStore()
    const client = createClient({ store })
    await client.start()
    expect(client.session.get()).toEqual({ status: 'signed-out', reason: 'asked' })
    await expect(client.conversation('x').messages.send({ text: 'x' })).rejects.toThrow('no user is signed in')
    const ada = await client.signUp({ handle: 'ada', password: 'correct horse', name: 'Ada' })
    await isReady(client)
    const created = await client.createConversation({ kind: 'group', name: 'Tea', members: [bob.id] })
    expect(client.conversations.get().map(({ name }) => name)).toEqual(['Tea'])
    await (await client.conversation(created.id).messages.send({ text: 'hi' })).acknowledged
    await client.leave(created.id)
    expect(client.conversations.get()).toEqual([])
    await client.signOut()
    expect(client.session.get()).toEqual({ status: 'signed-out', reason: 'asked' })
    expect(client.connection.get()).toEqual({ state: 'idle' })
    expect(await store.readAccount()).toBeUndefined()
    expect(await store.readReplica(ada.id)).toBeUndefined()
    await expect(client.signIn({ handle: 'nobody', password: 'x' })).rejects.toMatchObject({ code: 'unauthenticated' })
  })
})

describe('the creation of a conversation', () => {
  const group = { kind: 'group', name: 'Tea' } as const
  const lost = new ChorusError('unknown', 'unable to create conversation; the answer was lost')

  it('[IDEM2] one conversation is created despite lost responses and refused requests', async () => {
    const client = await signIn(server.addUser('ada'))
    server.createFaults = ['lose', new ChorusError('unavailable', 'unable to create; not now'), 'lose']
    await client.createConversation(group)
    expect([...server.conversations.values()].map(({ name }) => name)).toEqual(['Tea'])
    expect(client.conversations.get().map(({ name }) => name)).toEqual(['Tea'])
  })

  it('[IDEM2] creating a conversation rejects after some attempts, or at once when refused', async () => {
    const client = await signIn(server.addUser('ada'))
    server.createFaults = [lost, lost, lost, lost, lost]
    await expect(client.createConversation(group)).rejects.toMatchObject({ code: 'unknown' })
    expect(server.createFaults).toHaveLength(1)
    server.createFaults = [new ChorusError('rate-limited', 'unable to create; too many', { retryAfterMs: 60_000 })]
    await expect(client.createConversation(group)).rejects.toMatchObject({ code: 'rate-limited' })
  })

  it('[IDEM2] on a protocol version 1 server, a conversation is created without retries', async () => {
    const client = await signIn(server.addUser('ada'))
    server.isVersionOne = true
    await client.createConversation(group)
    server.createFaults = ['lose']
    await expect(client.createConversation(group)).rejects.toMatchObject({ code: 'unknown' })
    expect(server.conversations.size).toBe(2)
    // A server of version 2 may have executed the first attempt before the requests reached a
    // server of version 1.
    server.isVersionOne = false
    server.isVersionOneAfterLoss = true
    server.createFaults = ['lose']
    await expect(client.createConversation(group)).rejects.toMatchObject({ code: 'unknown' })
    expect(server.conversations.size).toBe(3)
  })
})

describe('the connection of the client', () => {
  it('[LIM2] the client uses Server-Sent Events while WebSocket is refused', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    server.isWebSocketRefused = true
    const client = await signIn(ada)
    expect(client.connection.get()).toMatchObject({ state: 'ready', transport: 'sse' })
    await show(client, tea)
    await (await client.conversation(tea.id).messages.send({ text: 'by post' })).acknowledged
    await eventually(() => expect(textsOf(client, tea)).toEqual(['by post']))
    server.isWebSocketRefused = false
    await eventually(() => expect(client.connection.get()).toMatchObject({ state: 'ready', transport: 'socket-io' }))
    server.send(tea, ada, 'by socket')
    await eventually(() => expect(textsOf(client, tea)).toEqual(['by post', 'by socket']))
  })

  it('[CLI1] a client that moves to another server loses no change', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    const client = await signIn(ada)
    const notices = record(client)
    const states: string[] = []
    client.connection.subscribe(() => states.push(client.connection.get().state))
    const [old] = server.lines
    server.tellAll('moving', { inMs: 200 })
    for (let index = 0; index < 50; index += 1) {
      server.send(tea, ada, `m${index}`)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await eventually(() => expect(server.lines.has(old!)).toBe(false))
    await eventually(() => expect(seqsOf(notices, tea)).toEqual(Array.from({ length: 50 }, (_, index) => 3 + index)))
    expect(states.filter((state) => state !== 'moving' && state !== 'ready')).toEqual([])
  })

  it('the client switches to another user who signs in', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    server.addConversation('group', 'Of Ada', [ada])
    server.addConversation('group', 'Of Bob', [bob])
    const store = createMemoryStore()
    const client = await signIn(ada, { store })
    await client.signIn({ handle: 'bob', password: 'correct horse' })
    await isReady(client)
    expect(client.session.get()).toMatchObject({ user: { handle: 'bob' } })
    expect(client.conversations.get().map(({ name }) => name)).toEqual(['Of Bob'])
    expect(await store.readReplica(ada.id)).toBeUndefined()
  })
})
