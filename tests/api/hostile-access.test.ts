/**
 * Access tests: non-members, former members and members without the right role try every operation
 * on a conversation.
 */
import { randomUUID } from 'node:crypto'
import { EngineClient, HttpUser, SocketUser } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let owner: HttpUser
let member: HttpUser
let stranger: HttpUser
let former: HttpUser
let group: string
let target: number

beforeAll(async () => {
  server = await startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_SIGN_INS_ADDRESS: '0' } })
  ;[owner, member, stranger, former] = (await Promise.all(
    Array.from({ length: 4 }, () => HttpUser.signUp(() => server.url)),
  )) as [HttpUser, HttpUser, HttpUser, HttpUser]
  group = await owner.createConversation('group', [member.id, former.id], 'a closed circle')
  target = (await owner.send(group, 'for us alone')).seq
  await owner.expect(204, 'DELETE', `/v1/conversations/${group}/members/${former.id}`)
})

afterEach(async () => {
  await owner.expect(200, 'GET', '/readyz')
  await owner.send(group, 'the server is well')
})

afterAll(async () => {
  await server.remove()
})

/** Returns one request for every HTTP operation on a conversation. */
function requests(): [string, string, unknown][] {
  const base = `/v1/conversations/${group}`
  const thumb = encodeURIComponent('👍')
  return [
    ['GET', base, undefined],
    ['PATCH', base, { name: 'mine now' }],
    ['GET', `${base}/members`, undefined],
    ['PUT', `${base}/members/me`, {}],
    ['PUT', `${base}/members/${stranger.id}`, { role: 'owner' }],
    ['DELETE', `${base}/members/me`, undefined],
    ['DELETE', `${base}/members/${member.id}`, undefined],
    ['POST', `${base}/messages`, { clientId: randomUUID(), text: 'let me in' }],
    ['GET', `${base}/messages`, undefined],
    ['GET', `${base}/messages?after=0`, undefined],
    ['GET', `${base}/messages?around=${target}`, undefined],
    ['GET', `${base}/messages/${target}`, undefined],
    ['PATCH', `${base}/messages/${target}`, { text: 'changed' }],
    ['DELETE', `${base}/messages/${target}`, undefined],
    ['PUT', `${base}/messages/${target}/reactions/${thumb}`, undefined],
    ['DELETE', `${base}/messages/${target}/reactions/${thumb}`, undefined],
    ['GET', `${base}/changes?after=0`, undefined],
    ['PUT', `${base}/read`, { seq: target }],
    ['PUT', `${base}/live/typing`, { value: true, ttlMs: 1_000 }],
    ['GET', `${base}/live`, undefined],
  ]
}

const events = (): [string, object][] => [
  ['send', { conversation: group, clientId: randomUUID(), text: 'let me in' }],
  ['edit', { conversation: group, seq: target, text: 'changed' }],
  ['delete', { conversation: group, seq: target }],
  ['react', { conversation: group, seq: target, emoji: '👍' }],
  ['unreact', { conversation: group, seq: target, emoji: '👍' }],
  ['read', { conversation: group, seq: target }],
  ['live', { conversation: group, key: 'typing', value: true, ttlMs: 1_000 }],
]

describe('a conversation of other users', () => {
  it.each([
    ['a stranger', () => stranger],
    ['a former member', () => former],
  ])('[ACL3] %s gets not-found, as if the conversation did not exist', async (_who, who) => {
    for (const [method, path, body] of requests()) {
      const answer = await who().call<{ code: string; detail: string }>(method, path, body)
      expect([answer.status, answer.body.code], `${method} ${path}`).toEqual([404, 'not-found'])
      const unknown = await who().call<{ detail: string }>(method, path.replace(group, randomUUID()), body)
      expect([unknown.status, unknown.body.detail], `${method} ${path}`).toEqual([answer.status, answer.body.detail])
    }
    for (const transports of [['websocket'], ['polling']] as const) {
      const socket = await SocketUser.connect(server.url, { cookie: who().cookie, transports: [...transports] })
      for (const [name, payload] of events()) {
        const answer = await socket.command(name, payload)
        expect([name, answer.error?.code]).toEqual([name, 'not-found'])
      }
      socket.close()
    }
    const { body } = await owner.expect<{ message: { text: string; version: number } }>(
      200,
      'GET',
      `/v1/conversations/${group}/messages/${target}`,
    )
    expect(body.message).toMatchObject({ text: 'for us alone', version: target })
  })

  it('[ACL3] requests without a session get unauthenticated, and no event stream', async () => {
    const nobody = HttpUser.stranger(server.url)
    for (const [method, path, body] of [
      ...requests(),
      ['GET', '/v1/sync', undefined],
      ['GET', '/v1/events', undefined],
    ] as const) {
      const answer = await nobody.call<{ code: string }>(method, path, body)
      expect([answer.status, answer.body.code], `${method} ${path}`).toEqual([401, 'unauthenticated'])
    }
    for (const cookie of [
      undefined,
      'chorus_session=guessed',
      `chorus_session=${'x'.repeat(3_000)}`,
      'chorus_session=%00',
    ]) {
      await expect(SocketUser.connect(server.url, { cookie })).rejects.toThrow(/sign in/)
    }
  })

  it('[ACL1] a non-member who guesses names of events and namespaces receives nothing', async () => {
    const socket = await SocketUser.connect(server.url, { cookie: stranger.cookie })
    for (const name of ['join', 'subscribe', 'room', 'joinRoom', 'socketsJoin']) {
      const answer = await socket.command(name, { conversation: group, room: group })
      expect(answer.error?.code).toBe('invalid')
    }
    const raw = await EngineClient.connect(server.url, { cookie: stranger.cookie })
    raw.send(`40/${group},`)
    raw.send(`40/c:${group},{"cursor":null}`)
    await raw.waitForPacket((packet) => packet.startsWith(`44/${group},`), 'a refusal of the namespace')
    await owner.send(group, 'not for guessers')
    const own = await stranger.createConversation('group', [], 'a barrier')
    // Wait until both connections know the new conversation. Otherwise they could receive the
    // barrier in the conversation's first page, instead of as a change after all earlier ones.
    await socket.waitFor(({ name, payload }) => name === 'conversation' && JSON.stringify(payload).includes(own))
    await raw.waitForPacket((packet) => packet.startsWith('42["conversation"') && packet.includes(own))
    const { seq } = await stranger.send(own, 'barrier')
    await socket.waitForSeq(own, seq)
    await raw.waitForPacket((packet) => packet.includes('barrier'), 'the barrier')
    expect(socket.changesOf(group)).toEqual([])
    expect(raw.packets.filter((packet) => packet.includes(group) && packet.startsWith('42'))).toEqual([])
    socket.close()
    raw.close()
  })
})

describe('the rights of members', () => {
  it('[ACL3] a member edits and deletes only their own messages, on every transport', async () => {
    const socket = await SocketUser.connect(server.url, { cookie: member.cookie })
    expect((await socket.command('edit', { conversation: group, seq: target, text: 'changed' })).error?.code).toBe(
      'forbidden',
    )
    expect((await socket.command('delete', { conversation: group, seq: target })).error?.code).toBe('forbidden')
    await member.expect(403, 'PATCH', `/v1/conversations/${group}/messages/${target}`, { text: 'changed' })
    await member.expect(403, 'DELETE', `/v1/conversations/${group}/messages/${target}`)
    await member.expect(403, 'PATCH', `/v1/conversations/${group}`, { name: 'mine now' })
    await member.expect(403, 'PUT', `/v1/conversations/${group}/members/${stranger.id}`, {})
    await member.expect(403, 'DELETE', `/v1/conversations/${group}/members/${owner.id}`)
    socket.close()
  })

  it('[ACL3] a member cannot raise their own role, and the last owner stays owner', async () => {
    for (const role of ['owner', 'moderator']) {
      await member.expect(403, 'PUT', `/v1/conversations/${group}/members/${member.id}`, { role })
      await member.expect(403, 'PUT', `/v1/conversations/${group}/members/me`, { role })
    }
    const circle = await owner.createConversation('group', [member.id], 'with one owner')
    const { body: list } = await owner.expect<{ members: { role: string; user: { id: string } }[] }>(
      200,
      'GET',
      `/v1/conversations/${circle}/members`,
    )
    expect(list.members.find(({ user }) => user.id === owner.id)?.role).toBe('owner')
    const demoted = await owner.call('PUT', `/v1/conversations/${circle}/members/${owner.id}`, { role: 'member' })
    const { body: after } = await owner.expect<typeof list>(200, 'GET', `/v1/conversations/${circle}/members`)
    expect(
      after.members.filter(({ role }) => role === 'owner'),
      `after an answer of ${demoted.status}`,
    ).not.toEqual([])
  })

  it('[ACL1] [ORD1] after concurrent additions and removals, the member list matches the log', async () => {
    const circle = await owner.createConversation('group', [], 'a race')
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        index % 2 === 0
          ? owner.call('PUT', `/v1/conversations/${circle}/members/${member.id}`, {})
          : owner.call('DELETE', `/v1/conversations/${circle}/members/${member.id}`),
      ),
    )
    const { body: log } = await owner.expect<{ changes: { seq: number; type: string; user?: string }[] }>(
      200,
      'GET',
      `/v1/conversations/${circle}/changes?limit=200`,
    )
    expect(log.changes.map(({ seq }) => seq)).toEqual(log.changes.map((_change, index) => index + 1))
    const last = log.changes.filter(({ user }) => user === member.id).at(-1)
    const { body: list } = await owner.expect<{ members: { user: { id: string } }[] }>(
      200,
      'GET',
      `/v1/conversations/${circle}/members`,
    )
    expect(list.members.some(({ user }) => user.id === member.id)).toBe(last?.type === 'member.joined')
    await member.expect(last?.type === 'member.joined' ? 200 : 404, 'GET', `/v1/conversations/${circle}`)
  })

  it('[IDEM1] a removed member who repeats an old send gets the first response', async () => {
    const circle = await owner.createConversation('group', [member.id], 'for a while')
    const clientId = randomUUID()
    const first = await member.send(circle, 'before', clientId)
    await owner.expect(204, 'DELETE', `/v1/conversations/${circle}/members/${member.id}`)
    expect(await member.send(circle, 'before', clientId)).toEqual({ seq: first.seq, duplicate: true })
    await member.expect(404, 'POST', `/v1/conversations/${circle}/messages`, { clientId: randomUUID(), text: 'after' })
  })
})

describe('fields that a client may not set', () => {
  it.each(['seq', 'sender', 'createdAt', 'version', 'role', 'conversation', 'editedAt', '__proto__x', 'isAdmin'])(
    '[ACL3] %s is refused in a message',
    async (field) => {
      await member.expect(400, 'POST', `/v1/conversations/${group}/messages`, {
        clientId: randomUUID(),
        text: 'hello',
        [field]: 1,
      })
    },
  )

  it('a profile and a sign-up with id or role are refused', async () => {
    await member.expect(400, 'PATCH', '/v1/users/me', { id: owner.id })
    await member.expect(400, 'PATCH', '/v1/users/me', { role: 'owner' })
    await HttpUser.stranger(server.url).expect(400, 'POST', '/v1/users', {
      handle: 'mass_assigned',
      password: 'a long enough password',
      name: 'x',
      id: owner.id,
    })
  })

  it('no response contains a password, hash, token or mail address', async () => {
    const answers = await Promise.all(
      [
        '/v1/session',
        '/v1/sessions',
        `/v1/users/${owner.id}`,
        `/v1/users?q=${owner.handle}`,
        `/v1/conversations/${group}`,
        `/v1/conversations/${group}/members`,
        '/v1/conversations',
        '/v1/sync',
      ].map((path) => member.expect(200, 'GET', path)),
    )
    const socket = await SocketUser.connect(server.url, { cookie: member.cookie })
    const everything = JSON.stringify([answers.map(({ body }) => body), socket.events])
    expect(everything).not.toMatch(/password|argon2|hash|email|token|cookie|secret/i)
    socket.close()
  })
})
