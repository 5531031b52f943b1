/**
 * API keys against real servers: `npm run keys` while servers run, requests as the bot and as
 * users, and the end of a revoked key on every server.
 */
import { randomUUID } from 'node:crypto'
import {
  createApiKey,
  type HttpAnswer,
  hasPostgres,
  HttpUser,
  makeTempDir,
  removeTempDir,
  runKeys,
  type ServerProcess,
  startServer,
  usePostgres,
  waitForFact,
} from '@chorus/testkit'
import { afterEach, describe, expect, it } from 'vitest'

const servers: ServerProcess[] = []
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.remove()))
})

async function start(options: Parameters<typeof startServer>[0]): Promise<ServerProcess> {
  const server = await startServer(options)
  servers.push(server)
  return server
}

/** Sends a request with an API key. */
function ask<Body = unknown>(
  { url }: { readonly url: string },
  secret: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<HttpAnswer<Body>> {
  return HttpUser.stranger(url).call<Body>(method, path, body, {
    headers: { authorization: `Bearer ${secret}`, ...headers },
  })
}

interface Created {
  readonly user: { readonly id: string; readonly handle: string }
}
interface Conversation {
  readonly conversation: { readonly id: string }
}

/** Two users chat through a back end with an API key. */
async function chat(server: ServerProcess, secret: string): Promise<void> {
  const put = (externalId: string, name: string) =>
    ask<Created>(server, secret, 'PUT', `/v1/admin/users/${encodeURIComponent(externalId)}`, { name })
  const [ada, ben] = [await put('shop/ada', 'Ada'), await put('shop/ben', 'Ben')]
  expect([ada.status, ben.status, (await put('shop/ada', 'Ada')).status]).toEqual([201, 201, 200])
  const asUser = (externalId: string) => ({ 'chorus-as': encodeURIComponent(externalId) })

  // The bot creates the conversation and is a visible member of it.
  const members = [ada.body.user.id, ben.body.user.id]
  const group = { kind: 'group', name: 'Order 1', members, clientId: randomUUID() }
  const created = await ask<Conversation>(server, secret, 'POST', '/v1/conversations', group)
  expect(created.status).toBe(201)
  const { id } = created.body.conversation
  const repeated = await ask<Conversation>(server, secret, 'POST', '/v1/conversations', group)
  expect([repeated.status, repeated.body.conversation.id]).toEqual([200, id])
  const shown = await ask<{ members: { user: { bot: boolean; name: string }; role: string }[] }>(
    server,
    secret,
    'GET',
    `/v1/conversations/${id}/members`,
  )
  const roles = shown.body.members.map(({ user, role }) => [user.name, user.bot, role])
  expect(roles.sort()).toEqual([
    ['Ada', false, 'member'],
    ['Ben', false, 'member'],
    ['Test key', true, 'owner'],
  ])

  const message = { clientId: randomUUID(), text: 'Hello Ben' }
  const path = `/v1/conversations/${id}/messages`
  expect((await ask(server, secret, 'POST', path, message, asUser('shop/ada'))).status).toBe(201)
  expect((await ask(server, secret, 'POST', path, message, asUser('shop/ada'))).status).toBe(200)
  const page = await ask<{ messages: { sender: string; text: string }[] }>(
    server,
    secret,
    'GET',
    path,
    undefined,
    asUser('shop/ben'),
  )
  expect(page.body.messages).toMatchObject([{ sender: ada.body.user.id, text: 'Hello Ben' }])
  const stranger = await ask(server, secret, 'PUT', '/v1/admin/users/stranger', { name: 'Eve' })
  expect(stranger.status).toBe(201)
  expect((await ask(server, secret, 'GET', path, undefined, asUser('stranger'))).status).toBe(404)
}

describe('with the embedded database', () => {
  it('[OPS1] [KEY1] [EXT1] manages keys while the server runs, and two users chat', async () => {
    const dataDir = makeTempDir('server-api')
    try {
      const server = await start({ dataDir })
      const { id, secret } = await createApiKey({ dataDir })
      await chat(server, secret)
      expect(server.logs.text).not.toContain(secret)
      expect(await runKeys({ dataDir }, ['list'])).toMatch(
        new RegExp(`^${id}  Test key  read,write,admin  valid  last`),
      )
      expect(await runKeys({ dataDir }, ['revoke', id])).toBe(`revoked ${id} and 0 sessions\n`)
      await waitForFact(async () => (await ask(server, secret, 'GET', '/v1/admin/users')).status === 401, {
        what: 'the refusal of the revoked key',
        timeoutMs: 10_000,
      })
      await server.stop()
      // Without a server, the command opens the folder itself.
      expect(await runKeys({ dataDir }, ['list'])).toContain(`${id}  Test key  read,write,admin  revoked `)
      await expect(runKeys({ dataDir }, ['rotate', id])).rejects.toThrow(`there is no live key ${id}`)
    } finally {
      removeTempDir(dataDir)
    }
  }, 180_000)
})

describe.skipIf(!hasPostgres())('with two servers on Postgres', () => {
  it('[ACL2] [KEY1] [IDEM3] a key works on both servers and ends on both within a second', async () => {
    const databaseUrl = await (await usePostgres()).createDatabase()
    const [first, second] = [await start({ databaseUrl }), await start({ databaseUrl })]
    const { id, secret } = await createApiKey({ databaseUrl })
    await chat(first, secret)

    // One Idempotency-Key at both servers at once runs once.
    const once = { 'idempotency-key': randomUUID() }
    const put = (server: ServerProcess) =>
      ask<Created>(server, secret, 'PUT', '/v1/admin/users/once', { name: 'Once' }, once)
    const answers = await Promise.all([put(first), put(second), put(first), put(second)])
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201])
    expect(new Set(answers.map(({ body }) => body.user.id)).size).toBe(1)

    const rotated = JSON.parse(await runKeys({ databaseUrl }, ['rotate', id, '--json'])) as { secret: string }
    const statusOf = async (server: ServerProcess, used: string): Promise<number> =>
      (await ask(server, used, 'GET', '/v1/admin/users')).status
    for (const server of [first, second])
      for (const used of [secret, rotated.secret])
        await waitForFact(async () => (await statusOf(server, used)) === 200, { what: 'both secrets to work' })

    await runKeys({ databaseUrl }, ['revoke', id])
    // The servers learn of the revocation at their next read of the keys, half a second later.
    const revokedAtMs = performance.now()
    while (performance.now() - revokedAtMs < 1_000)
      await Promise.all([statusOf(first, rotated.secret), statusOf(second, rotated.secret)])
    for (const server of [first, second])
      for (const used of [secret, rotated.secret]) expect(await statusOf(server, used)).toBe(401)
  }, 180_000)
})
