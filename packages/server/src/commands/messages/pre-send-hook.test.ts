/**
 * Tests sends and edits with the pre-send hook, on both engines: the order of a sender, retries,
 * replacements, access, and what is not asked about.
 */
import { randomUUID } from 'node:crypto'
import type { CommandInput, HookAnswer, HookQuestion, Id } from '@chorus/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { findExternalUser, putExternalUsers } from '../../accounts/external-users.ts'
import { LocalBusHub } from '../../bus/bus-local.ts'
import { LogFixture } from '../../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../../database/testing/open-test-database.ts'
import { commandTable } from '../../dispatch/command-table.ts'
import type { PreSendHook } from '../../hook/pre-send-hook.ts'
import { type HookServer, openHook, startHookServer } from '../../hook/testing/hook-server.ts'
import type { ApiKey } from '../../keys/key-store.ts'
import { Metrics } from '../../support/metrics.ts'
import { ManualClock } from '../../support/testing/manual-clock.ts'
import { TestNode } from '../testing/test-node.ts'

const card = { type: 'offer', title: 'Blue shoes', state: 'open' }

describe.each(testEngines)('the pre-send hook on the %s engine', (engine) => {
  const metrics = new Metrics()
  let store: TestDatabase
  let server: HookServer
  let hook: PreSendHook
  let node: TestNode
  let fixture: LogFixture
  let [bot, ada, bob]: Id[] = []
  let conversation: Id
  beforeAll(async () => {
    store = await openTestDatabase(engine)
    server = await startHookServer()
    // No wait ends by a limit of time, however busy the machine is.
    hook = openHook(server.url, metrics, { clock: new ManualClock() })
    node = await TestNode.start(store.database, new LocalBusHub(), hook)
    fixture = new LogFixture(store.database)
    bot = await fixture.user()
    const names = ['ada', 'bob']
    await putExternalUsers(
      store.database,
      names.map((externalId) => ({ externalId, name: externalId })),
    )
    ;[ada, bob] = await Promise.all(names.map((name) => findExternalUser(store.database, name)))
    const subject = { type: 'order', id: '7', kind: 'group' as const, title: 'Order 7', members: names }
    conversation = (await node.run('put-subject-conversation', bot, subject)).conversation.id
  })
  afterEach(() => {
    server.questions.length = 0
    server.decide = () => ({ action: 'allow' })
    server.respond = undefined
  })
  afterAll(async () => {
    node.stop()
    hook.stop()
    metrics.stop()
    await server.close()
    await store.close()
  })

  type Send = Partial<CommandInput<'send-message'>>
  const inputOf = (fields: Send) => ({ conversation, clientId: randomUUID(), text: 'hello', ...fields })
  const send = (user: Id | undefined, fields: Send = {}, on = node) =>
    on.run('send-message', user as Id, inputOf(fields))

  /** Posts with an API key, as its bot or as another user. */
  const post = (fields: Partial<CommandInput<'post-message'>>) =>
    commandTable['post-message'].run(
      {
        parts: node.parts,
        actor: { userId: bot as Id, sessionId: '' },
        address: '127.0.0.1',
        userAgent: null,
        key: { botUser: bot } as ApiKey,
      },
      { conversation, clientId: randomUUID(), ...fields },
    )

  async function read(seq: number) {
    return (await node.run('get-message', ada as Id, { conversation, seq })).message
  }

  const textsAsked = (): string[] => server.questions.map(({ text }) => text)

  /** Answers questions only when the test says so. */
  function hold(): { readonly held: Map<string, (answer: HookAnswer) => void> } {
    const held = new Map<string, (answer: HookAnswer) => void>()
    server.decide = ({ text }: HookQuestion) => new Promise((resolve) => held.set(text, resolve))
    return { held }
  }

  const allow = { action: 'allow' } as const

  it('[HOOK1] is asked with sender, subject and content, and allows', async () => {
    const clientId = randomUUID()
    const { message } = await send(ada, { clientId, text: 'hello', data: { n: 1 } })
    const subject = { type: 'order', id: '7', title: 'Order 7', url: null, data: null }
    const sender = { id: ada, externalId: 'ada' }
    expect(server.questions).toEqual([
      { kind: 'send', conversation, subject, sender, clientId, text: 'hello', data: { n: 1 } },
    ])
    expect(await read(message.seq)).toMatchObject({ text: 'hello', data: { n: 1 } })
  })

  it('[HOOK1] shows the replaced text to everyone', async () => {
    server.decide = () => ({ action: 'replace', text: 'call me: ***', data: { cleaned: true } })
    const { transport, opening } = node.open(bob as Id, await fixture.session(bob as Id))
    await opening
    const { message } = await send(ada, { text: 'call me: 0123' })
    expect(message).toMatchObject({ text: 'call me: ***', data: { cleaned: true } })
    expect(await read(message.seq)).toMatchObject({ text: 'call me: ***', data: { cleaned: true } })
    await vi.waitFor(() => expect(JSON.stringify(transport)).toContain('call me: ***'))
    expect(JSON.stringify(transport)).not.toContain('0123')
  })

  it('[HOOK1] refuses a message with the reason of the hook, and stores nothing', async () => {
    const before = await fixture.seqs(conversation)
    server.decide = () => ({ action: 'refuse', reason: 'Please keep phone numbers private.' })
    const refused = { code: 'forbidden', message: 'Please keep phone numbers private.' }
    await expect(send(ada)).rejects.toMatchObject(refused)
    expect(await fixture.seqs(conversation)).toEqual(before)
  })

  it('[HOOK1] refuses a replacement that leaves an empty message', async () => {
    server.decide = () => ({ action: 'replace', text: '' })
    await expect(send(ada)).rejects.toMatchObject({ code: 'forbidden' })
    expect((await send(ada, { data: 7 })).message).toMatchObject({ text: '', data: 7 })
  })

  it('[HOOK3] [IDEM1] asks once about a message, whatever the hook would answer later', async () => {
    const clientId = randomUUID()
    server.decide = () => ({ action: 'replace', text: 'mild' })
    const first = await send(ada, { clientId, text: 'harsh', data: { a: 1, b: 2 } })
    for (const action of ['refuse', 'allow'] as const) {
      server.decide = () => ({ action })
      const again = await send(ada, { clientId, text: 'harsh', data: { a: 1, b: 2 } })
      expect(again).toEqual({ ...first, duplicate: true })
    }
    expect(server.questions).toHaveLength(1)
    await expect(send(ada, { clientId, text: 'mild', data: { a: 1, b: 2 } })).rejects.toMatchObject({
      code: 'conflict',
    })
    expect(server.questions).toHaveLength(1)
  })

  it('[HOOK3] asks again about a message that was refused', async () => {
    const clientId = randomUUID()
    server.decide = () => ({ action: 'refuse' })
    await expect(send(ada, { clientId })).rejects.toMatchObject({ code: 'forbidden' })
    server.decide = () => allow
    expect(await send(ada, { clientId })).not.toHaveProperty('duplicate')
    expect(server.questions).toHaveLength(2)
  })

  it('[HOOK3] [IDEM1] asks once about two copies at once', async () => {
    const { held } = hold()
    const clientId = randomUUID()
    const copies = [send(ada, { clientId, text: 'once' }), send(ada, { clientId, text: 'once' })]
    await vi.waitFor(() => expect(held.size).toBe(1), 20_000)
    held.get('once')?.({ action: 'replace', text: 'mild' })
    const [first, second] = await Promise.all(copies)
    expect(second).toEqual({ ...first, duplicate: true })
    expect(first?.message.text).toBe('mild')
    expect(server.questions).toHaveLength(1)
  })

  it('[HOOK3] [IDEM1] copies on two servers get one message', async () => {
    const other = await TestNode.start(store.database, new LocalBusHub(), hook)
    const clientId = randomUUID()
    let asked = 0
    server.decide = () => ({ action: 'replace', text: `version ${asked++}` })
    const answers = await Promise.all([send(ada, { clientId }), send(ada, { clientId }, other)])
    other.stop()
    expect(new Set(answers.map(({ message }) => `${message.seq} ${message.text}`)).size).toBe(1)
  })

  it('[HOOK2] keeps the order of a sender, and makes no other sender wait', async () => {
    const { held } = hold()
    const sent = ['one', 'two', 'three'].map((text) => send(ada, { text }))
    const outcomes = Promise.allSettled(sent)
    await vi.waitFor(() => expect(textsAsked()).toEqual(['one']), 20_000)
    const other = send(bob, { text: 'other' })
    await vi.waitFor(() => expect(held.has('other')).toBe(true), 20_000)
    held.get('other')?.(allow)
    await other
    expect(textsAsked()).toEqual(['one', 'other'])
    for (const text of ['one', 'two', 'three']) {
      await vi.waitFor(() => expect(held.has(text)).toBe(true), 20_000)
      held.get(text)?.(text === 'two' ? { action: 'refuse' } : allow)
    }
    const [one, two, three] = await outcomes
    expect([one?.status, two?.status, three?.status]).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    const seqOf = async (index: number) => (await sent[index])?.message.seq ?? 0
    expect(await seqOf(0)).toBeLessThan(await seqOf(2))
  })

  it('[HOOK1] [ACL1] asks nothing about a message of a non-member', async () => {
    const stranger = await fixture.user()
    await expect(send(stranger)).rejects.toMatchObject({ code: 'not-found' })
    await expect(send(ada, { conversation: randomUUID() })).rejects.toMatchObject({ code: 'not-found' })
    expect(server.questions).toEqual([])
  })

  it('[HOOK1] [ACL1] refuses a sender who was removed while the hook was asked', async () => {
    const { held } = hold()
    const [owner, member] = (await fixture.users(2)) as [Id, Id]
    const group = await fixture.group([owner, member])
    const sent = send(member, { conversation: group, text: 'late' })
    const refused = expect(sent).rejects.toMatchObject({ code: 'not-found' })
    await vi.waitFor(() => expect(held.has('late')).toBe(true), 20_000)
    await node.run('remove-member', owner, { conversation: group, user: member })
    held.get('late')?.(allow)
    await refused
  })

  it('[HOOK1] holds no database connection while the hook is asked', async () => {
    const { held } = hold()
    const members = await fixture.users(60)
    const channel = await fixture.group(members, 'channel')
    const sent = members.map((member, index) => send(member, { conversation: channel, text: `text ${index}` }))
    await vi.waitFor(() => expect(held.size).toBe(members.length), 20_000)
    expect(await store.database.query({ text: 'select 1 as one', values: [] })).toEqual([{ one: 1 }])
    server.decide = () => allow
    for (const answer of held.values()) answer(allow)
    expect(await Promise.all(sent)).toHaveLength(members.length)
  })

  it('[HOOK1] asks about edits, and replaces or refuses them', async () => {
    const { message } = await send(ada, { text: 'first', data: { n: 1 } })
    const edit = (text: string) => node.run('edit-message', ada as Id, { conversation, seq: message.seq, text })
    server.questions.length = 0
    server.decide = () => ({ action: 'replace', text: 'mild' })
    expect((await edit('harsh')).message).toMatchObject({ text: 'mild', data: { n: 1 } })
    expect(server.questions).toMatchObject([
      {
        kind: 'edit',
        clientId: message.clientId,
        text: 'harsh',
        data: { n: 1 },
        sender: { id: ada, externalId: 'ada' },
      },
    ])
    server.decide = () => ({ action: 'refuse', reason: 'No.' })
    await expect(edit('worse')).rejects.toMatchObject({ code: 'forbidden', message: 'No.' })
    server.decide = () => ({ action: 'replace', text: '' })
    await expect(edit('worse')).rejects.toMatchObject({ code: 'forbidden' })
    expect((await read(message.seq)).text).toBe('mild')
  })

  it('[HOOK1] asks nothing about an edit that changes nothing or is not allowed', async () => {
    const { message } = await send(ada, { text: 'same' })
    server.questions.length = 0
    const edit = (user: Id | undefined, text: string) =>
      node.run('edit-message', user as Id, { conversation, seq: message.seq, text })
    await edit(ada, 'same')
    await expect(edit(bob, 'other')).rejects.toMatchObject({ code: 'forbidden' })
    await expect(edit(await fixture.user(), 'other')).rejects.toMatchObject({ code: 'not-found' })
    await node.run('delete-message', ada as Id, { conversation, seq: message.seq })
    await expect(edit(ada, 'other')).rejects.toMatchObject({ code: 'not-found' })
    expect(server.questions).toEqual([])
  })

  it('[HOOK2] keeps the order of a message and an edit', async () => {
    const { message } = await send(ada, { text: 'first' })
    const { held } = hold()
    const sent = send(ada, { text: 'second' })
    const edited = node.run('edit-message', ada as Id, { conversation, seq: message.seq, text: 'edited' })
    await vi.waitFor(() => expect(held.has('second')).toBe(true), 20_000)
    expect(held.has('edited')).toBe(false)
    held.get('second')?.(allow)
    await vi.waitFor(() => expect(held.has('edited')).toBe(true), 20_000)
    held.get('edited')?.(allow)
    expect((await edited).seq).toBeGreaterThan((await sent).message.seq)
  })

  it('[HOOK1] asks about what a key sends as a user, and not about what its bot sends', async () => {
    await post({ text: 'of the bot' })
    await post({ card })
    await post({ card, text: 'of the bot', data: { n: 1 } })
    await post({ card, as: 'ada' })
    expect(server.questions).toEqual([])
    await post({ text: 'as ada', as: 'ada' })
    server.decide = () => ({ action: 'replace', text: 'mild' })
    const { message } = await post({ card, text: 'beside a card', as: 'ada' })
    expect(textsAsked()).toEqual(['as ada', 'beside a card'])
    expect(message).toMatchObject({ text: 'mild', card: { title: 'Blue shoes' } })
  })

  it('[HOOK3] [IDEM1] asks once about the text of a message with a card', async () => {
    const request = { card, clientId: randomUUID(), text: 'harsh', as: 'ada' }
    server.decide = () => ({ action: 'replace', text: 'mild' })
    const first = await post(request)
    server.decide = () => ({ action: 'refuse' })
    const again = await post(request)
    expect(again).toEqual({ ...first, duplicate: true })
    expect(server.questions).toHaveLength(1)
  })

  it('[HOOK3] returns no deleted text to a retry', async () => {
    const clientId = randomUUID()
    server.decide = () => ({ action: 'replace', text: 'secret' })
    const { message } = await send(ada, { clientId, text: 'harsh' })
    await node.run('delete-message', ada as Id, { conversation, seq: message.seq })
    expect(await send(ada, { clientId, text: 'harsh' })).toMatchObject({ duplicate: true, message: { text: 'harsh' } })
  })

  it('runs no further statement without a hook', async () => {
    const plain = await TestNode.start(store.database, new LocalBusHub())
    const clientId = randomUUID()
    await send(ada, { clientId }, plain)
    await send(ada, { clientId }, plain)
    plain.stop()
    expect(plain.statements).toEqual([])
    expect(server.questions).toEqual([])
  })
})
