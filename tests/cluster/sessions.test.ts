/**
 * Sessions on several servers, with real servers, Redis and Postgres. A session may be created at
 * any server, and is valid at all of them with the same data. A revocation ends it on all servers
 * at once, whatever Redis has cached.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { hasPostgres, hasRedis, HttpUser, SocketUser, SseClient, startCluster, waitForFact } from '@chorus/testkit'
import type { Cluster } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** Time limit of rule ACL2, plus half a second for a machine whose processors are all busy. */
const goneWithinMs = 1_000 + 500
/** Time limit of rule ACL2 while Redis is down. */
const goneWithoutRedisMs = 30_000

const serverCount = 3

describe.skipIf(!hasPostgres() || !hasRedis())('sessions across servers', () => {
  let cluster: Cluster

  beforeAll(async () => {
    cluster = await startCluster({
      servers: serverCount,
      proxies: ['publish', 'subscribe', 'replication'],
      env: { LIMIT_SIGN_INS_ADDRESS: '0' },
    })
  })
  afterAll(() => cluster?.remove())

  const urlOf = (server: number): string => cluster.urls[server] ?? ''
  const everywhere = Array.from({ length: serverCount }, (_, server) => server)

  /** Returns a client with the same session that sends its requests to another server. */
  function at(device: HttpUser, server: number): HttpUser {
    const same = HttpUser.stranger(() => urlOf(server))
    same.cookie = device.cookie
    return same
  }
  const statusAt = async (device: HttpUser, server: number): Promise<number> =>
    (await at(device, server).call('GET', '/v1/conversations')).status
  const sessionIdOf = async (device: HttpUser): Promise<string> =>
    (await device.expect<{ session: { id: string } }>(200, 'GET', '/v1/session')).body.session.id

  /**
   * Creates one user with two devices. The first device is used at each of these servers until the
   * server has cached its session.
   */
  async function twoDevices(
    servers: readonly number[] = everywhere,
  ): Promise<{ phone: HttpUser; laptop: HttpUser; phoneSession: string }> {
    const home = servers[0] ?? 0
    const phone = await HttpUser.signUp(() => urlOf(home))
    const laptop = await HttpUser.signIn(() => urlOf(home), phone.handle, phone.password)
    for (const server of [...servers, ...servers]) expect(await statusAt(phone, server)).toBe(200)
    return { phone, laptop, phoneSession: await sessionIdOf(phone) }
  }

  async function cacheReads(server: number, outcome: string): Promise<number> {
    const response = await fetch(cluster.servers[server]?.metricsUrl ?? '')
    const line = new RegExp(`^chorus_cache_reads_total\\{cache="sessions",outcome="${outcome}"\\} (\\d+)`, 'm')
    return Number(line.exec(await response.text())?.[1] ?? 0)
  }

  /** Sends requests until every server refuses the session. Returns the time since `sinceMs`. */
  async function goneEverywhere(device: HttpUser, servers: readonly number[], sinceMs: number): Promise<number> {
    await waitForFact(
      async () =>
        (await Promise.all(servers.map((server) => statusAt(device, server)))).every((status) => status === 401),
      { what: 'a refusal at every server', everyMs: 5, timeoutMs: goneWithoutRedisMs },
    )
    return performance.now() - sinceMs
  }

  /** Checks that no server accepts the session, over any transport. */
  async function expectGone(device: HttpUser, servers: readonly number[]): Promise<void> {
    for (const server of servers) {
      expect(await statusAt(device, server)).toBe(401)
      expect((await at(device, server).call('GET', '/v1/session/data')).status).toBe(401)
      await expect(SocketUser.connect(urlOf(server), { cookie: device.cookie })).rejects.toThrow()
      expect((await at(device, server).call('GET', '/v1/events')).status).toBe(401)
    }
  }

  it('a session works at all servers, with the same data everywhere', async () => {
    const { phone, phoneSession } = await twoDevices()
    for (const server of everywhere) expect(await sessionIdOf(at(phone, server))).toBe(phoneSession)
    const hits = await Promise.all(everywhere.map((server) => cacheReads(server, 'hit')))
    expect(hits.every((count) => count > 0)).toBe(true)

    for (let round = 0; round < 10; round++) {
      await Promise.all(
        everywhere.map((server) =>
          at(phone, server).expect(200, 'PATCH', '/v1/session/data', { [`from-${server}`]: round, last: server }),
        ),
      )
      const seen = await Promise.all(
        everywhere.map((server) => at(phone, server).expect<{ data: unknown }>(200, 'GET', '/v1/session/data')),
      )
      const [first] = seen
      for (const { body } of seen) expect(body).toEqual(first?.body)
      expect(first?.body.data).toMatchObject({ 'from-0': round, 'from-1': round, 'from-2': round })
    }
  })

  it('[ACL2] a revocation ends connections and requests at all servers within a second', async () => {
    const { phone, laptop, phoneSession } = await twoDevices()
    const sockets = await Promise.all(
      everywhere.map((server) => SocketUser.connect(urlOf(server), { cookie: phone.cookie })),
    )
    const streams = await Promise.all(
      everywhere.map((server) => SseClient.open(urlOf(server), { cookie: phone.cookie })),
    )
    const ownSocket = await SocketUser.connect(urlOf(2), { cookie: laptop.cookie })

    const revokedAt = performance.now()
    await at(laptop, 1).expect(204, 'DELETE', `/v1/sessions/${phoneSession}`)
    await Promise.all([
      goneEverywhere(phone, everywhere, revokedAt),
      ...streams.map(({ ended }) => ended),
      waitForFact(() => sockets.every(({ disconnections }) => disconnections.length > 0), { everyMs: 5 }),
    ])
    expect(performance.now() - revokedAt).toBeLessThan(goneWithinMs)
    for (const socket of sockets) expect(socket.named('closing')).toMatchObject([{ code: 'revoked', retry: 'never' }])
    await expectGone(phone, everywhere)
    expect(ownSocket.disconnections).toEqual([])
    expect(await statusAt(laptop, 0)).toBe(200)
    ownSocket.close()
  })

  it('[ACL2] a session whose server was killed is still served, and can be revoked', async () => {
    const { phone, laptop, phoneSession } = await twoDevices([0, 1, 2])
    await at(phone, 0).expect(200, 'PATCH', '/v1/session/data', { kept: true })
    await cluster.kill9(0)
    const others = [1, 2]
    for (const server of others) {
      expect(await statusAt(phone, server)).toBe(200)
      const { body } = await at(phone, server).expect(200, 'GET', '/v1/session/data')
      expect(body).toEqual({ data: { kept: true } })
    }
    const revokedAt = performance.now()
    await at(laptop, 1).expect(204, 'DELETE', `/v1/sessions/${phoneSession}`)
    expect(await goneEverywhere(phone, others, revokedAt)).toBeLessThan(goneWithinMs)
    // The killed server starts again. It must not accept the revoked session, although Redis still
    // has that session in its cache.
    await cluster.start(0)
    await expectGone(phone, everywhere)
    expect(await statusAt(laptop, 0)).toBe(200)
  })

  it('sign-ins per account and minute are limited across all servers', async () => {
    const { handle } = await HttpUser.signUp(() => urlOf(0))
    const statuses: number[] = []
    for (let attempt = 0; attempt < 18; attempt++) {
      const guess = await HttpUser.stranger(() => urlOf(attempt % serverCount)).call('POST', '/v1/session', {
        handle,
        password: `wrong guess ${attempt}`,
      })
      statuses.push(guess.status)
    }
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 401), ...Array.from({ length: 8 }, () => 429)])
  })

  it('the sends of a user are limited across all servers', async () => {
    const sender = await HttpUser.signUp(() => urlOf(0))
    const conversation = await sender.createConversation('group')
    const sockets = await Promise.all(
      everywhere.map((server) => SocketUser.connect(urlOf(server), { cookie: sender.cookie })),
    )
    const startedAt = performance.now()
    let stored = 0
    await Promise.all(
      sockets.map(async (socket) => {
        while (performance.now() - startedAt < 4_000) {
          const clientId = crypto.randomUUID()
          const answer = await socket.command('send', { conversation, clientId, text: 'again' })
          if (answer.ok) {
            stored++
            continue
          }
          expect(answer.error?.code).toBe('rate-limited')
          // Pause after a refusal: the server disconnects a client that keeps sending without a
          // pause.
          await pause(20)
        }
      }),
    )
    const seconds = (performance.now() - startedAt) / 1_000
    const share = 60 + 30 * seconds
    expect(stored).toBeGreaterThanOrEqual(60)
    // If each server had a limit of its own, the user could send three times as much.
    expect(stored).toBeLessThan((serverCount * share) / 1.5)
    for (const socket of sockets) socket.close()
  })

  it('[ACL2] a revoked session stays revoked after failover to a lagging replica', async () => {
    const { phone, laptop, phoneSession } = await twoDevices()
    const { replica } = cluster
    await waitForFact(async () => (await keysOf(replica)) > 0, { what: 'cached sessions at the replica' })
    // From here on, the replica receives no data from the primary.
    cluster.proxyOf('replication').close()
    const revokedAt = performance.now()
    await at(laptop, 1).expect(204, 'DELETE', `/v1/sessions/${phoneSession}`)
    expect(await goneEverywhere(phone, everywhere, revokedAt)).toBeLessThan(goneWithinMs)
    await cluster.failOverRedis()
    expect(await keysOf(replica)).toBeGreaterThan(0)
    await expectGone(phone, everywhere)
    // Check again after the servers have found the new primary, and after a restart of one server.
    await waitForFact(async () => (await readiness(0)) && (await readiness(1)) && (await readiness(2)), {
      what: 'servers that are not degraded',
      timeoutMs: 30_000,
    })
    await expectGone(phone, everywhere)
    await cluster.kill9(2)
    await cluster.start(2)
    await expectGone(phone, everywhere)
    expect(await statusAt(laptop, 2)).toBe(200)
  })

  it('[ACL2] without Redis, users can sign in and revocations reach every server', async () => {
    const { phone, laptop, phoneSession } = await twoDevices()
    const sockets = await Promise.all(
      everywhere.map((server) => SocketUser.connect(urlOf(server), { cookie: phone.cookie })),
    )
    await cluster.replica?.kill9()
    const other = await HttpUser.signUp(() => urlOf(2))
    for (const server of everywhere) {
      expect(await statusAt(other, server)).toBe(200)
      expect(await statusAt(phone, server)).toBe(200)
    }
    const revokedAt = performance.now()
    await at(laptop, 1).expect(204, 'DELETE', `/v1/sessions/${phoneSession}`)
    // Requests read the session from Postgres, so they are refused at once. The next sweep closes
    // the connections.
    await expectGone(phone, everywhere)
    await waitForFact(() => sockets.every(({ disconnections }) => disconnections.length > 0), {
      what: 'every connection closed',
      timeoutMs: goneWithoutRedisMs,
    })
    expect(performance.now() - revokedAt).toBeLessThan(goneWithoutRedisMs)
  })

  async function keysOf(redis: Cluster['replica']): Promise<number> {
    const keys = await redis?.command('KEYS', 'chorus:*:session:*')
    return Array.isArray(keys) ? keys.length : 0
  }
  async function readiness(server: number): Promise<boolean> {
    const response = await fetch(`${urlOf(server)}/readyz`)
    return response.status === 200 && ((await response.json()) as { degraded: string[] }).degraded.length === 0
  }
})
