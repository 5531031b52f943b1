/**
 * Presence, typing and live values of users at different servers, with real servers, Redis and
 * Postgres. Users see each other across servers. Presence stays correct when a server is killed or
 * frozen, and when Redis is down, comes back empty, or fails over.
 */
import { hasPostgres, hasRedis, HttpUser, SocketUser, SseClient, startCluster, waitForFact } from '@chorus/testkit'
import type { Cluster } from '@chorus/testkit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

interface Presence {
  readonly user: string
  readonly status: 'online' | 'away' | 'offline' | 'unknown'
  readonly lastSeen: string | null
}

interface LiveValue {
  readonly conversation: string
  readonly key: string
  readonly user: string
  readonly value: unknown
}

/** Maximum time until a user whose connection is dead is shown as offline (rule PRES1). */
const ghostMaxMs = 30_000
/**
 * Maximum time until presence is correct again after Redis has come back (docs/spec.md, row "Redis
 * back").
 */
const rightWithinMs = 30_000

describe.skipIf(!hasPostgres() || !hasRedis())('presence and live values across servers', () => {
  let cluster: Cluster
  const sockets: SocketUser[] = []

  beforeAll(async () => {
    cluster = await startCluster({
      servers: 3,
      proxies: ['publish', 'subscribe'],
      env: { LIMIT_SIGN_INS: '0', LIMIT_SIGN_INS_ADDRESS: '0' },
    })
  })
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.close()
  })
  afterAll(() => cluster?.remove())

  const urlOf = (server: number): string => cluster.servers[server]?.url ?? ''
  const signUp = (): Promise<HttpUser> => HttpUser.signUp(() => urlOf(0))
  const connect = async (user: HttpUser, server: number): Promise<SocketUser> => {
    const socket = await SocketUser.connect(urlOf(server), { cookie: user.cookie })
    sockets.push(socket)
    return socket
  }
  const watch = async (socket: SocketUser, users: readonly HttpUser[]): Promise<string[]> => {
    const { presence } = await socket.command('watch', { users: users.map(({ id }) => id) })
    return (presence as Presence[]).map(({ status }) => status)
  }
  /** Repeats `watch` until its response has these statuses. */
  const waitToSee = (socket: SocketUser, users: readonly HttpUser[], statuses: readonly string[]): Promise<unknown> =>
    waitForFact(async () => JSON.stringify(await watch(socket, users)) === JSON.stringify(statuses), {
      what: `presence ${statuses.join(', ')}`,
      timeoutMs: rightWithinMs,
      everyMs: 100,
    })
  const toldOf = (socket: SocketUser, user: HttpUser): Presence[] =>
    socket
      .named<Presence[]>('presence')
      .flat()
      .filter((presence) => presence.user === user.id)
  const waitToHear = (socket: SocketUser, user: HttpUser, status: string, timeoutMs = rightWithinMs) =>
    waitForFact(() => toldOf(socket, user).at(-1)?.status === status, { what: `to be told ${status}`, timeoutMs })

  it('[PRES1, PRES2] presence follows users at other servers until they leave the conversation', async () => {
    const [ada, bob] = [await signUp(), await signUp()]
    const group = await ada.createConversation('group', [bob.id])
    const adas = await connect(ada, 0)
    await waitToSee(adas, [bob], ['offline'])
    const before = toldOf(adas, bob).length
    const bobs = await connect(bob, 1)
    await waitToHear(adas, bob, 'online')
    await bobs.command('status', { status: 'away' })
    await waitToHear(adas, bob, 'away')
    await bobs.command('status', { status: 'online' })
    await waitToHear(adas, bob, 'online')
    bobs.close()
    await waitToHear(adas, bob, 'offline')
    expect(toldOf(adas, bob).at(-1)?.lastSeen).not.toBeNull()
    const statuses = toldOf(adas, bob).map(({ status }) => status)
    expect(statuses.slice(before)).toEqual(['online', 'away', 'online', 'offline'])

    // Remove Bob with a request to a server at which neither Ada nor Bob is connected.
    const away = await connect(bob, 1)
    await waitToHear(adas, bob, 'online')
    const elsewhere = await HttpUser.signIn(() => urlOf(2), ada.handle, ada.password)
    await elsewhere.expect(204, 'DELETE', `/v1/conversations/${group}/members/${bob.id}`)
    await waitToHear(adas, bob, 'unknown')
    const told = toldOf(adas, bob).length
    away.close()
    const cleo = await signUp()
    await ada.createConversation('group', [cleo.id])
    expect(await watch(adas, [bob, cleo])).toEqual(['unknown', 'offline'])
    // A barrier: Ada receives a later status of another user. She must not have received one of Bob
    // before it.
    await connect(cleo, 1)
    await waitToHear(adas, cleo, 'online')
    expect(toldOf(adas, bob)).toHaveLength(told)
  })

  it('[PRES1, PRES2] status and watches over plain HTTP reach an event stream at another server', async () => {
    const [ada, bob] = [await signUp(), await signUp()]
    await ada.createConversation('group', [bob.id])
    const adas = await SseClient.open(urlOf(0), { cookie: ada.cookie })
    const bobs = await SseClient.open(urlOf(1), { cookie: bob.cookie })
    try {
      for (const stream of [adas, bobs]) await stream.waitFor(({ name }) => name === 'ready', 'ready')
      const statuses = (): (string | undefined)[] =>
        adas.events
          .filter(({ name }) => name === 'presence')
          .flatMap(({ data }) => data as Presence[])
          .filter(({ user }) => user === bob.id)
          .map(({ status }) => status)
      // Send each request to another server than the one with the user's event stream, as a
      // balancer may do.
      const callAt = (server: number, user: HttpUser, method: string, path: string, body: unknown) => {
        const there = HttpUser.stranger(urlOf(server))
        there.cookie = user.cookie
        return there.expect([200, 204], method, path, body)
      }
      await callAt(2, ada, 'POST', '/v1/presence', { users: [bob.id] })
      await waitForFact(() => statuses().at(-1) === 'online', { what: 'online' })
      await callAt(0, bob, 'PUT', '/v1/status', { status: 'away' })
      await waitForFact(() => statuses().at(-1) === 'away', { what: 'away' })
      await callAt(2, bob, 'PUT', '/v1/status', { status: 'online' })
      await waitForFact(() => statuses().at(-1) === 'online', { what: 'online again' })
    } finally {
      adas.close()
      bobs.close()
    }
  })

  it('[LIVE1, ACL1] live values cross servers, and end with the membership', async () => {
    const [ada, bob] = [await signUp(), await signUp()]
    const group = await ada.createConversation('group', [bob.id])
    const [adas, bobs] = [await connect(ada, 0), await connect(bob, 1)]
    const seenBy = (socket: SocketUser, key: string): LiveValue | undefined =>
      socket
        .named<LiveValue[]>('live')
        .flat()
        .filter((value) => value.conversation === group && value.key === key)
        .at(-1)
    await bobs.command('live', { conversation: group, key: 'typing', value: true, ttlMs: 60_000 })
    await waitForFact(() => seenBy(adas, 'typing')?.value === true, { what: 'typing' })
    await bobs.command('live', { conversation: group, key: 'typing', value: null, ttlMs: 1 })
    await waitForFact(() => seenBy(adas, 'typing')?.value === null, { what: 'the end of typing' })

    for (let step = 1; step <= 50; step += 1)
      await bobs.command('live', { conversation: group, key: 'location', value: [step, 0], ttlMs: 60_000 })
    const listAt = async (server: number): Promise<unknown[]> => {
      const person = await HttpUser.signIn(() => urlOf(server), ada.handle, ada.password)
      const { body } = await person.expect<{ values: LiveValue[] }>(200, 'GET', `/v1/conversations/${group}/live`)
      return body.values.map(({ key, value }) => [key, value])
    }
    await waitForFact(() => JSON.stringify(seenBy(adas, 'location')?.value) === '[50,0]', { what: 'the last location' })
    for (const server of [0, 1, 2]) {
      await waitForFact(async () => JSON.stringify(await listAt(server)) === '[["location",[50,0]]]', {
        what: `the location at server ${server}`,
        everyMs: 200,
      })
    }
    await ada.expect(204, 'DELETE', `/v1/conversations/${group}/members/${bob.id}`)
    await waitForFact(() => seenBy(adas, 'location')?.value === null, { what: 'the end of the location' })
    for (const server of [0, 1, 2]) expect(await listAt(server)).toEqual([])
  })

  it('[PRES1] users of a killed server are offline within 30 s, unless they reconnect', async () => {
    const [ada, bob, cleo] = [await signUp(), await signUp(), await signUp()]
    await ada.createConversation('group', [bob.id, cleo.id])
    const adas = await connect(ada, 0)
    await connect(bob, 2)
    await connect(cleo, 2)
    await waitToSee(adas, [bob, cleo], ['online', 'online'])
    const before = adas.events.length
    const diedAtMs = performance.now()
    const diedAt = Date.now()
    await cluster.kill9(2)
    await connect(cleo, 1)
    await waitForFact(() => toldOf(adas, bob).at(-1)?.status === 'offline', {
      what: 'the end of the ghost',
      timeoutMs: 40_000,
      everyMs: 20,
    })
    expect(performance.now() - diedAtMs).toBeLessThan(ghostMaxMs)
    const since = adas.events
      .slice(before)
      .flatMap(({ name, payload }) => (name === 'presence' ? (payload as Presence[]) : []))
    expect(since.map(({ user, status }) => [user, status])).toEqual([[bob.id, 'offline']])
    // `lastSeen` is the last time at which the server was alive. It can be too early by the time
    // between two refreshes of the server's lease.
    const seenAt = Date.parse(since[0]?.lastSeen ?? '')
    expect(Math.abs(seenAt - diedAt)).toBeLessThan(10_000)
    await cluster.start(2)
    const back = await connect(bob, 2)
    await waitToHear(adas, bob, 'online')
    back.close()
  })

  it('[PRES1] without Redis, users at other servers are unknown, never offline', async () => {
    const [ada, bob, cleo] = [await signUp(), await signUp(), await signUp()]
    const group = await ada.createConversation('group', [bob.id, cleo.id])
    const adas = await connect(ada, 0)
    const bobs = await connect(bob, 1)
    const cleos = await connect(cleo, 0)
    await waitToSee(adas, [bob, cleo], ['online', 'online'])
    const before = adas.events.length
    await cluster.redis.kill9()
    await waitToHear(adas, bob, 'unknown')
    expect(await watch(adas, [bob, cleo])).toEqual(['unknown', 'online'])
    // Without Redis, live values still work within one server, and messages work across servers.
    await cleos.command('live', { conversation: group, key: 'typing', value: true, ttlMs: 60_000 })
    await adas.waitFor(({ name }) => name === 'live', 'typing at the same server')
    const { ok, seq } = await bobs.command('send', {
      conversation: group,
      clientId: crypto.randomUUID(),
      text: 'still',
    })
    expect(ok).toBe(true)
    await adas.waitForSeq(group, seq as number)
    await cluster.redis.start({ isEmpty: true })
    const backAtMs = performance.now()
    await waitToHear(adas, bob, 'online')
    expect(performance.now() - backAtMs).toBeLessThan(rightWithinMs)
    const statuses = adas.events
      .slice(before)
      .flatMap(({ name, payload }) => (name === 'presence' ? (payload as Presence[]) : []))
      .map(({ status }) => status)
    expect(statuses).not.toContain('offline')
    bobs.close()
    await waitToHear(adas, bob, 'offline')
  })

  it('[PRES1] users of a frozen server are offline within 30 s, then online again', async () => {
    const [ada, bob] = [await signUp(), await signUp()]
    await ada.createConversation('group', [bob.id])
    const adas = await connect(ada, 0)
    // If its server is silent, a client closes the connection after a missed heartbeat, and
    // reconnects.
    const bobs = SocketUser.open(urlOf(1), { cookie: bob.cookie, client: { reconnection: true } })
    sockets.push(bobs)
    await bobs.waitFor(({ name }) => name === 'ready')
    await waitToSee(adas, [bob], ['online'])
    const before = adas.events.length
    const frozenAtMs = performance.now()
    cluster.pause(1)
    await waitToHear(adas, bob, 'offline', 40_000)
    expect(performance.now() - frozenAtMs).toBeLessThan(ghostMaxMs)
    cluster.resume(1)
    await waitToHear(adas, bob, 'online')
    const told = adas.events.slice(before).filter(({ name }) => name === 'presence')
    expect(told).toHaveLength(2)
  })

  it('[PRES1] presence is correct after a failover of Redis, without a false offline', async () => {
    const [ada, bob] = [await signUp(), await signUp()]
    await ada.createConversation('group', [bob.id])
    const adas = await connect(ada, 0)
    const bobs = await connect(bob, 1)
    await waitToSee(adas, [bob], ['online'])
    await cluster.failOverRedis()
    await waitToSee(adas, [bob], ['online'])
    const cleo = await signUp()
    await ada.createConversation('group', [cleo.id])
    await connect(cleo, 2)
    await waitToSee(adas, [bob, cleo], ['online', 'online'])
    expect(toldOf(adas, bob).map(({ status }) => status)).not.toContain('offline')
    bobs.close()
    await waitToHear(adas, bob, 'offline')
  })
})
