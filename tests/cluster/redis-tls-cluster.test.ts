/**
 * Two servers and a Redis Cluster with TLS. Published messages, subscriptions, rate limits and jobs
 * reach every master.
 */
import { randomUUID } from 'node:crypto'
import {
  hasPostgres,
  hasRedis,
  HttpUser,
  type RedisCluster,
  type ServerProcess,
  SocketUser,
  startRedisCluster,
  startServer,
  usePostgres,
  waitForFact,
} from '@chorus/testkit'
import { afterEach, describe, expect, it } from 'vitest'

describe.runIf(hasPostgres() && hasRedis())('two servers over a Redis Cluster with TLS', () => {
  const ends: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  async function start(
    tls: 'addresses' | 'names' | 'strangers',
    count: number,
  ): Promise<{ readonly cluster: RedisCluster; readonly servers: readonly ServerProcess[] }> {
    const databases = await usePostgres()
    const databaseUrl = await databases.createDatabase()
    const cluster = await startRedisCluster({ tls })
    ends.push(() => cluster.remove())
    const servers: ServerProcess[] = []
    for (let index = 0; index < count; index += 1) {
      const server = await startServer({
        databaseUrl,
        env: { REDIS_URL: cluster.url, NODE_EXTRA_CA_CERTS: cluster.caFile ?? '', LOG_LEVEL: 'debug' },
      })
      ends.push(() => server.remove())
      servers.push(server)
    }
    return { cluster, servers }
  }

  const degradedOf = async (server: ServerProcess): Promise<readonly string[]> =>
    ((await (await fetch(`${server.url}/readyz`)).json()) as { degraded: string[] }).degraded

  it.each(['addresses', 'names'] as const)(
    '[TAIL1] messages, live values and jobs work when the masters are named by %s',
    async (named) => {
      const { cluster, servers } = await start(named, 2)
      const [first, second] = servers as [ServerProcess, ServerProcess]
      for (const server of servers)
        await waitForFact(async () => (await degradedOf(server)).length === 0, {
          what: 'nothing degraded',
          timeoutMs: 30_000,
        })
      const ada = await HttpUser.signUp(first.url)
      const bob = await HttpUser.signUp(second.url)
      const conversation = await ada.createConversation('direct', [bob.id])
      const here = await SocketUser.connect(first.url, { cookie: ada.cookie })
      const there = await SocketUser.connect(second.url, { cookie: bob.cookie })
      const { seq } = await here.command('send', { conversation, clientId: randomUUID(), text: 'hello' })
      await there.waitForSeq(conversation, seq as number)
      await here.command('live', { conversation, key: 'typing', value: true, ttlMs: 60_000 })
      // Live values cross servers only over Redis, so this proves that publishing and subscribing
      // work.
      await there.waitFor(({ name }) => name === 'live', 'typing')
      // The workers of the job queue have found their master. They use a second Redis client library
      // with connections of its own.
      await waitForFact(
        async () => {
          for (const master of cluster.masters)
            if (((await master.command('KEYS', '*{jobs}*')) as string[]).length > 0) return true
          return false
        },
        { what: 'the queue', timeoutMs: 20_000 },
      )
      for (const server of servers) expect(server.logs.text).not.toMatch(/cannot use Redis|is unavailable|DEP0123/)
      here.close()
      there.close()
    },
  )

  it('a server refuses to start if the certificate of Redis is for another name', async () => {
    await expect(start('strangers', 1)).rejects.toThrow(/REDIS_URL is .*TLS failed.*altname/i)
  })
})
