/**
 * Tests what a command answers when its change is stored, but the read for the response fails or
 * the caller was removed since.
 */
import { randomUUID } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { LocalBusHub } from '../bus/bus-local.ts'
import type { RecordingTransport } from '../delivery/testing/recording-transport.ts'
import { DatabaseError } from '../database/database-errors.ts'
import { readMembers } from '../log/read-conversations.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import type { CommandContext, CookieJar } from './command.ts'
import { signIn } from './sessions/sign-in.ts'
import { signUp } from './sessions/sign-up.ts'
import { TestNode } from './testing/test-node.ts'

const refused = async (): Promise<never> => {
  throw new DatabaseError('refused', new Error('injected'))
}

describe.each(testEngines)('responses after a stored change on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let node: TestNode
  let ada: Id
  let bob: Id
  let group: Id
  let bobs: RecordingTransport

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    node = await TestNode.start(store.database, new LocalBusHub())
  })
  afterAll(async () => {
    node.stop()
    await store.close()
  })
  beforeEach(async () => {
    node.before.clear()
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
    group = await fixture.group([ada, bob])
    const { transport, opening } = node.open(bob, await fixture.session(bob))
    await opening
    bobs = transport
  })

  it('[ACK2] announces a rename and answers `unknown` if the new name cannot be read', async () => {
    node.before.set('read_conversation', refused)
    await expect(node.run('update-conversation', ada, { conversation: group, name: 'new' })).rejects.toMatchObject({
      code: 'unknown',
    })
    await vi.waitFor(() => expect(bobs.seqsOf(group)).toEqual([4]))
  })

  it('[ACK2] announces a rename and answers `unknown` if its caller was removed', async () => {
    await fixture.apply({ op: 'put-member', conversation: group, actor: ada, user: bob, role: 'owner' })
    node.before.set('read_conversation', () => node.run('remove-member', bob, { conversation: group, user: ada }))
    await expect(node.run('update-conversation', ada, { conversation: group, name: 'new' })).rejects.toMatchObject({
      code: 'unknown',
    })
    await vi.waitFor(() => expect(bobs.seqsOf(group)).toEqual([4, 5, 6]))
  })

  it('[ACK2] adding a member returns the member without a further database read', async () => {
    const carol = await fixture.user('Carol')
    const before = node.statements.length
    const { member } = await node.run('put-member', ada, { conversation: group, user: carol, role: 'moderator' })
    expect(node.statements.slice(before)).toEqual([])
    expect(await readMembers(store.database, ada, group, 1, 3)).toEqual([member])
    expect(await node.run('put-member', ada, { conversation: group, user: carol })).toEqual({ member })
    const changed = await node.run('put-member', ada, { conversation: group, user: carol, role: 'member' })
    expect(changed).toEqual({ member: { ...member, role: 'member' } })
    await vi.waitFor(() => expect(bobs.seqsOf(group)).toEqual([4, 5]))
  })

  it('[ACK2] announces a new conversation and answers `unknown` if it cannot be read', async () => {
    node.before.set('read_conversation', refused)
    const creating = node.run('create-conversation', ada, { kind: 'group', name: 'another', members: [bob] })
    await expect(creating).rejects.toMatchObject({ code: 'unknown' })
    await vi.waitFor(() => expect(bobs.eventsNamed('conversation')).toMatchObject([{ limited: true, seq: 3 }]))
  })

  it('[ACK2] answers `unknown`, never `unavailable`, after storing an account or session', async () => {
    const handle = randomUUID().slice(0, 20)
    const context = (cookies: CookieJar): CommandContext => ({
      parts: {
        ...node.parts,
        config: { signUp: 'open' },
        limits: { takeSignUp: () => undefined, takeSignIn: () => undefined, noteSignedIn: () => undefined },
        passwords: { hash: async () => 'hashed', verify: async () => true },
      } as unknown as CommandContext['parts'],
      actor: { userId: ada, sessionId: ada },
      cookies,
      address: '127.0.0.1',
      userAgent: null,
    })
    const failing = { signIn: refused, signOut: async () => undefined }
    const signingUp = signUp.run(context(failing), { handle, password: 'long enough', name: 'Dan' })
    await expect(signingUp).rejects.toMatchObject({ code: 'unknown' })
    expect(await fixture.sql('select 1 from users where handle = $1', [handle])).toHaveLength(1)
    // Nothing is stored yet, so the client gets the original error.
    await expect(signIn.run(context(failing), { handle, password: 'long enough' })).rejects.toMatchObject({
      kind: 'refused',
    })
    const vanishing = {
      signIn: async (userId: Id) => ({ userId, sessionId: uuidv7() }),
      signOut: async () => undefined,
    }
    await expect(signIn.run(context(vanishing), { handle, password: 'long enough' })).rejects.toMatchObject({
      code: 'unknown',
    })
  })
})
