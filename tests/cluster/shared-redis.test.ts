/**
 * Two installations that share one Redis. The name of every key and channel contains the identity
 * of the installation's database. The test lists the names that running servers use, so it also
 * covers names that are added later.
 */
import { randomUUID } from 'node:crypto'
import {
  hasPostgres,
  hasRedis,
  HttpUser,
  type Redis,
  type ServerProcess,
  SocketUser,
  startRedis,
  startServer,
  usePostgres,
  waitForFact,
} from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const password = 'a long enough password'
const signInsMax = 3

describe.runIf(hasPostgres() && hasRedis())('two installations on one Redis', () => {
  let redis: Redis
  const servers: ServerProcess[] = []
  /**
   * URLs of the two servers of the first installation. `two` is the URL of the only server of the
   * second one.
   */
  let one: readonly string[] = []
  let two = ''
  const handle = `shared-${randomUUID().slice(0, 8)}`

  beforeAll(async () => {
    const databases = await usePostgres()
    redis = await startRedis()
    const urls = [await databases.createDatabase(), await databases.createDatabase()]
    for (const databaseUrl of [urls[0], urls[0], urls[1]])
      servers.push(
        await startServer({
          databaseUrl: databaseUrl ?? '',
          env: { REDIS_URL: redis.url, LIMIT_SIGN_INS: String(signInsMax), CANARY: 'on' },
        }),
      )
    one = servers.slice(0, 2).map(({ url }) => url)
    two = servers[2]?.url ?? ''
  })

  afterAll(async () => {
    for (const server of servers) await server.remove()
    await redis?.remove()
  })

  /**
   * Returns the database identities found in the names of all keys and channels, and the names that
   * contain no identity.
   */
  async function findNames(): Promise<{ readonly ids: Set<string>; readonly others: string[] }> {
    const names = [
      ...((await redis.command('KEYS', '*')) as string[]),
      ...((await redis.command('PUBSUB', 'SHARDCHANNELS')) as string[]),
      ...((await redis.command('PUBSUB', 'CHANNELS')) as string[]),
    ]
    const ids = new Set<string>()
    const others: string[] = []
    for (const name of names) {
      const id = /^chorus:([0-9a-f]{16}):/.exec(name)?.[1]
      if (id === undefined) others.push(name)
      else ids.add(id)
    }
    return { ids, others }
  }

  it('[BUS2] the name of every key and channel contains the identity of its installation', async () => {
    const people = [await HttpUser.signUp(one[0] ?? ''), await HttpUser.signUp(one[1] ?? '')]
    const [ada, bob] = people as [HttpUser, HttpUser]
    const conversation = await ada.createConversation('direct', [bob.id])
    const here = await SocketUser.connect(one[0] ?? '', { cookie: ada.cookie })
    const there = await SocketUser.connect(one[1] ?? '', { cookie: bob.cookie })
    await there.command('watch', { users: [ada.id] })
    const { seq } = await here.command('send', { conversation, clientId: randomUUID(), text: 'hello' })
    await there.waitForSeq(conversation, seq as number)
    await here.command('live', { conversation, key: 'typing', value: true, ttlMs: 60_000 })
    await there.waitFor(({ name }) => name === 'live', 'typing')
    await HttpUser.signUp(two)

    // Wait until a name of each kind exists: leases, live values, limits, sessions, pages, jobs,
    // the list of servers, channels. Then check all names.
    for (const kind of ['presence-', ':live:', ':limit:', ':session:', ':page:', '{jobs}', ':servers', ':c:'])
      await waitForFact(
        async () => {
          const { body } = await ada.call('GET', `/v1/conversations/${conversation}/messages`)
          expect(body).toBeDefined()
          const names = [
            ...((await redis.command('KEYS', `*${kind}*`)) as string[]),
            ...((await redis.command('PUBSUB', 'SHARDCHANNELS', `*${kind}*`)) as string[]),
          ]
          return names.length > 0
        },
        { what: `a name with ${kind}`, timeoutMs: 20_000 },
      )
    await waitForFact(async () => (await findNames()).ids.size === 2, { what: 'names of both installations' })
    const { ids, others } = await findNames()
    expect(others).toEqual([])
    expect(ids.size).toBe(2)
    here.close()
    there.close()
  })

  it('[BUS2] two installations count sign-ins of the same handle separately', async () => {
    await HttpUser.signUp(one[0] ?? '', { handle, password })
    await HttpUser.signUp(two, { handle, password })
    const stranger = HttpUser.stranger(one[0] ?? '')
    const statuses: number[] = []
    for (let attempt = 0; attempt <= signInsMax; attempt += 1)
      statuses.push((await stranger.call('POST', '/v1/session', { handle, password: 'wrong password' })).status)
    expect(statuses.at(-1)).toBe(429)
    await HttpUser.signIn(two, handle, password)
  })
})
