/**
 * HAProxy and nginx, each with the configuration that ships in deploy/, in front of two servers.
 * Event streams pass without delay or interruption, forged headers and smuggled requests do not
 * pass, and clients survive a server that stops or dies.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  EngineClient,
  hasBalancer,
  hasPostgres,
  hasRedis,
  HttpUser,
  RawSocket,
  SocketUser,
  SseClient,
  startBalancer,
  startCluster,
  waitForFact,
} from '@chorus/testkit'
import type { Balancer, BalancerKind, Cluster } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

const noLimits = { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_SIGN_INS_ADDRESS: '0', LIMIT_CONNECTIONS: '0' }
const kinds = (['haproxy', 'nginx'] as const).filter(hasBalancer)
const canRun = kinds.length > 0 && hasPostgres() && hasRedis()

let cluster: Cluster
const balancers = new Map<BalancerKind, Balancer>()

beforeAll(async () => {
  if (!canRun) return
  const [first = 'haproxy', ...others] = kinds
  cluster = await startCluster({ servers: 2, balancer: first, env: noLimits })
  balancers.set(first, cluster.balancer)
  const servers = cluster.servers.map(({ port }) => port)
  for (const kind of others) balancers.set(kind, await startBalancer(kind, { servers }))
})

afterAll(async () => {
  for (const balancer of balancers.values()) await balancer.remove()
  await cluster?.remove()
})

/** Opens an event stream. Returns it with the name of the server that the balancer chose. */
async function openStream(url: string, cookie: string | undefined): Promise<{ stream: SseClient; server: string }> {
  const stream = await SseClient.open(url, { cookie })
  expect(stream.status).toBe(200)
  const { data } = await stream.waitFor(({ name }) => name === 'ready', 'ready')
  return { stream, server: (data as { server: string }).server }
}

/**
 * Signs up users until the polling connection of one is at the wanted server. Its cookies keep it
 * there.
 */
async function pollAt(url: string, wanted: string): Promise<SocketUser> {
  return waitForFact(
    async () => {
      const person = await HttpUser.signUp(url)
      const polling = await SocketUser.connect(url, {
        cookie: person.cookie,
        transports: ['polling'],
        client: { withCredentials: true },
      })
      if (polling.named<{ server: string }>('ready')[0]?.server === wanted) return polling
      polling.close()
      return undefined
    },
    { what: `polling at ${wanted}`, timeoutMs: 60_000 },
  )
}

const changesIn = (stream: SseClient): number =>
  stream.named('changes').flatMap(({ data }) => (data as { changes: unknown[] }).changes).length

describe.skipIf(!canRun).each(kinds)('two servers behind %s', (kind) => {
  let url: string
  let ada: HttpUser
  let bob: HttpUser
  let conversation: string

  beforeAll(async () => {
    url = balancers.get(kind)!.url
    ada = await HttpUser.signUp(url)
    bob = await HttpUser.signUp(url)
    conversation = await ada.createConversation('direct', [bob.id])
  })

  it('[SSE1] the balancer passes each event of a stream without buffering', async () => {
    const { stream } = await openStream(url, bob.cookie)
    for (let sent = 1; sent <= 10; sent += 1) {
      const before = changesIn(stream)
      await ada.send(conversation, `one at a time, ${sent}`)
      await waitForFact(() => changesIn(stream) > before, { what: 'the event' })
    }
    expect(stream.headers['content-encoding']).toBeUndefined()
    stream.close()
  })

  it('the balancer spreads new WebSockets and event streams over the servers', async () => {
    const streams = await Promise.all(Array.from({ length: 10 }, () => openStream(url, bob.cookie)))
    expect(new Set(streams.map(({ server }) => server))).toEqual(new Set(['server-1', 'server-2']))
    const sockets = await Promise.all(
      Array.from({ length: 10 }, () => SocketUser.connect(url, { cookie: bob.cookie, transports: ['websocket'] })),
    )
    const named = sockets.map((socket) => socket.named<{ server: string }>('ready')[0]!.server)
    expect(new Set(named)).toEqual(new Set(['server-1', 'server-2']))
    for (const { stream } of streams) stream.close()
    for (const socket of sockets) socket.close()
  })

  it('the balancer keeps a polling client at one server, also while it upgrades to WebSocket', async () => {
    const people = await Promise.all(Array.from({ length: 6 }, () => HttpUser.signUp(url)))
    const servers = new Set<string>()
    for (const [index, person] of people.entries()) {
      const room = await person.createConversation('direct', [ada.id])
      const polling = await SocketUser.connect(url, {
        cookie: person.cookie,
        transports: ['polling'],
        client: { withCredentials: index % 2 === 0 },
      })
      servers.add(polling.named<{ server: string }>('ready')[0]!.server)
      for (let sent = 0; sent < 3; sent += 1) {
        const answer = await polling.command('send', { conversation: room, clientId: randomUUID(), text: 'polled' })
        expect(answer.ok).toBe(true)
        await polling.waitForSeq(room, answer.seq as number)
      }
      expect(polling.disconnections).toEqual([])
      polling.close()

      const upgrading = await SocketUser.connect(url, { cookie: person.cookie, transports: ['polling', 'websocket'] })
      await waitForFact(() => upgrading.socket.io.engine.transport.name === 'websocket', { what: 'the upgrade' })
      expect((await upgrading.command('send', { conversation: room, clientId: randomUUID(), text: 'up' })).ok).toBe(
        true,
      )
      upgrading.close()
    }
    // The balancer chooses the server by the session. All sessions here have the same address, so a
    // choice by address would always give the same server.
    await waitForFact(
      async () => {
        if (servers.size === 2) return true
        const person = await HttpUser.signUp(url)
        const polling = await SocketUser.connect(url, { cookie: person.cookie, transports: ['polling'] })
        servers.add(polling.named<{ server: string }>('ready')[0]!.server)
        polling.close()
        return false
      },
      { what: 'polling at both servers', timeoutMs: 60_000 },
    )
  })

  it("a server accepts its own origin and the balancer's, and no other", async () => {
    const call = (target: string, origin: string) =>
      ada.call('PATCH', new URL('/v1/users/me', target).href, { name: ada.handle }, { headers: { origin } })
    expect((await call(url, url)).status).toBe(200)
    expect((await call(cluster.urls[0]!, cluster.urls[0]!)).status).toBe(200)
    expect((await call(url, 'http://evil.example')).status).toBe(403)
  })

  it('the balancer uses the other server after one was killed', async () => {
    const before = await openStream(url, bob.cookie)
    const killed = Number(before.server.slice(-1)) - 1
    const other = before.server === 'server-1' ? 'server-2' : 'server-1'
    await cluster.kill9(killed)
    await before.stream.ended
    for (let count = 0; count < 10; count += 1) {
      await ada.expect(200, 'GET', '/v1/session')
      await ada.send(conversation, `sent without ${before.server}`)
      const { stream, server } = await openStream(url, bob.cookie)
      expect(server).toBe(other)
      stream.close()
    }
    await cluster.start(killed)
    await waitForFact(
      async () => {
        const { stream, server } = await openStream(url, bob.cookie)
        stream.close()
        return server === before.server
      },
      { what: 'connections at the server that is back', timeoutMs: 20_000 },
    )
  })

  it('a stopping server gets no new clients, moves its own, and fails no request', async () => {
    const before = await openStream(url, bob.cookie)
    const stopped = Number(before.server.slice(-1)) - 1
    const other = before.server === 'server-1' ? 'server-2' : 'server-1'
    const direct = cluster.urls[stopped]!
    // Behind HAProxy, the polling session of a browser stays at a stopping server, because its
    // cookie names this server.
    const polling = kind === 'haproxy' ? await pollAt(url, before.server) : undefined

    let isOver = false
    const statuses = new Map<number, number>()
    const asking = (async () => {
      while (!isOver) {
        const { status } = await ada.call('GET', '/v1/session')
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    })()
    const exit = cluster.stop(stopped)
    // The next tests need both servers, so start the stopped one again even if this test fails.
    onTestFinished(async () => {
      isOver = true
      await exit.catch(() => undefined)
      await cluster.start(stopped)
    })
    if (kind === 'haproxy') {
      const { logs } = balancers.get(kind)!
      // HAProxy checks the health of a server separately for each backend of its configuration.
      const isDown = (backend: string): boolean =>
        logs.text.lastIndexOf(`Server ${backend}/${before.server} is DOWN`) >
        logs.text.lastIndexOf(`Server ${backend}/${before.server} is UP`)
      await waitForFact(() => ['servers', 'events'].every(isDown), { what: 'the look of HAProxy at /readyz' })
    } else {
      // nginx has no health check: it notices a stopping server when that refuses a request.
      await before.stream.waitFor(({ name }) => name === 'moving', 'moving', 20_000)
    }
    for (let count = 0; count < 10; count += 1) {
      const { stream, server } = await openStream(url, bob.cookie)
      expect(server).toBe(other)
      stream.close()
    }
    const socket = await SocketUser.connect(url, { cookie: bob.cookie })
    expect(socket.named<{ server: string }>('ready')[0]!.server).toBe(other)
    socket.close()
    if (polling !== undefined) {
      expect((await polling.command('status', { status: 'away' })).ok).toBe(true)
      await polling.waitFor(({ name }) => name === 'moving', 'moving', 20_000)
      polling.close()
    }
    await before.stream.waitFor(({ name }) => name === 'moving', 'moving', 20_000)
    expect(await exit).toEqual({ code: 0, signal: null })
    isOver = true
    await asking
    expect([...statuses.keys()]).toEqual([200])
    expect((await ada.call('GET', '/v1/session')).status).toBe(200)
    await expect(HttpUser.stranger(direct).call('GET', '/livez')).rejects.toThrow()
  })
})

it.skipIf(!canRun)('[SSE1] heartbeats keep idle connections open beyond the timeouts of balancers', async () => {
  const user = await HttpUser.signUp(cluster.urls[0]!)
  const conversation = await user.createConversation('channel')
  const shorten = (text: string): string =>
    text.replace(
      /((?:client|server|tunnel|send_timeout|proxy_read_timeout|proxy_send_timeout) +)60s/g,
      (_, name: string) => `${name}20s`,
    )
  const servers = cluster.servers.map(({ port }) => port)
  await Promise.all(
    kinds.map(async (kind) => {
      const balancer = await startBalancer(kind, { servers, edit: shorten })
      const stream = await SseClient.open(balancer.url, { cookie: user.cookie })
      const wire = await EngineClient.connect(balancer.url, { cookie: user.cookie })
      const comments = stream.commentCount
      const pings = () => wire.packets.filter((packet) => packet === '2').length
      await waitForFact(() => stream.commentCount >= comments + 2 && pings() >= 3, {
        what: 'two heartbeats of the stream and three of the socket',
        timeoutMs: 60_000,
      })
      await user.send(conversation, `after the silence behind ${kind}`)
      await stream.waitFor(({ name, data }) => name === 'changes' && JSON.stringify(data).includes(`behind ${kind}`))
      await wire.waitForPacket((packet) => packet.includes(`behind ${kind}`))
      stream.close()
      wire.close()
      await balancer.remove()
    }),
  )
})

/**
 * A server that records the requests which the balancer forwards to it. It uses Node's most lenient
 * HTTP parser, so that it accepts whatever the balancer lets through.
 */
class Witness {
  readonly requests: { readonly method: string; readonly path: string; readonly headers: string[]; body: string }[] = []
  readonly #server: Server

  constructor() {
    this.#server = createServer({ insecureHTTPParser: true }, (request, response) => {
      if (request.url === '/readyz') {
        response.end('{}')
        return
      }
      const seen = { method: request.method ?? '', path: request.url ?? '', headers: request.rawHeaders, body: '' }
      this.requests.push(seen)
      request.on('data', (chunk: Buffer) => (seen.body += chunk.toString('latin1')))
      request.on('end', () => response.end('seen'))
      request.on('error', () => undefined)
    })
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

describe.each(kinds)('the requests that %s forwards', (kind) => {
  let witness: Witness
  let balancer: Balancer

  beforeAll(async () => {
    witness = new Witness()
    balancer = await startBalancer(kind, { servers: [await witness.listen()] })
  })
  afterAll(async () => {
    await balancer.remove()
    witness.close()
  })

  /** Returns all values of a header of the last forwarded request. `name` is in lower case. */
  const valuesOf = (name: string): string[] => {
    const headers = witness.requests.at(-1)!.headers
    return headers.filter((_, index) => index % 2 === 1 && headers[index - 1]!.toLowerCase() === name)
  }

  it('forwarded requests contain the real client address, and no forged headers', async () => {
    const spoofed = {
      'x-forwarded-for': '203.0.113.9, 10.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-port': '443',
      'x-real-ip': '203.0.113.9',
      forwarded: 'for=203.0.113.9;proto=https',
      proxy: 'http://evil.example',
    }
    await HttpUser.stranger(balancer.url).expect(200, 'GET', '/who', undefined, { headers: spoofed })
    expect(valuesOf('x-forwarded-for')).toEqual(['127.0.0.1'])
    expect(valuesOf('x-forwarded-proto')).toEqual(['http'])
    for (const name of ['x-forwarded-host', 'x-forwarded-port', 'x-real-ip', 'forwarded', 'proxy']) {
      expect(valuesOf(name), name).toEqual([])
    }
    expect(valuesOf('host')).toEqual([new URL(balancer.url).host])
  })

  const host = 'Host: chat.example\r\n'
  const hidden = 'GET /smuggled HTTP/1.1\r\nHost: chat.example\r\n\r\n'
  it.each([
    [
      'CL.TE',
      `POST /outer HTTP/1.1\r\n${host}Content-Length: ${hidden.length + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
    ],
    [
      'TE.CL',
      `POST /outer HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`,
    ],
    [
      'xchunked',
      `POST /outer HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n${hidden}`,
    ],
    [
      'two codings',
      `POST /outer HTTP/1.1\r\n${host}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
    ],
    [
      'a tab before the coding',
      `POST /outer HTTP/1.1\r\n${host}Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${hidden}`,
    ],
    [
      'a space after the name',
      `POST /outer HTTP/1.1\r\n${host}Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${hidden}`,
    ],
    [
      'two lengths',
      `POST /outer HTTP/1.1\r\n${host}Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`,
    ],
    ['a length with a sign', `POST /outer HTTP/1.1\r\n${host}Content-Length: +0\r\n\r\n${hidden}`],
  ])('a malformed request (%s) smuggles no second request past the balancer', async (_name, bytes) => {
    const before = witness.requests.length
    const wire = await RawSocket.connect(balancer.port)
    wire.send(bytes)
    const status = await wire.waitForStatus()
    const isRefused = status >= 400 && status <= 501
    if (isRefused) {
      await wire.waitForClose()
      expect(witness.requests.length).toBe(before)
    }
    wire.close()
    // If a request was smuggled onto the connection to the server, the server sees it before this
    // request.
    await HttpUser.stranger(balancer.url).expect(200, 'GET', '/barrier')
    const seen = witness.requests.slice(before)
    expect(seen.at(-1)?.path).toBe('/barrier')
    for (const { path, headers } of seen.slice(0, -1)) {
      // A forwarded request has at most one length header, so all parsers find the same end. Every
      // further request went through the balancer, because it has the header that the balancer
      // adds.
      const names = headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
      expect(names.filter((name) => name === 'transfer-encoding' || name === 'content-length').length).toBeLessThan(2)
      expect(path === '/outer' || names.includes('x-forwarded-for')).toBe(true)
    }
  })

  it('the balancer hides the metrics under every spelling of the path', async () => {
    const before = witness.requests.length
    const stranger = HttpUser.stranger(balancer.url)
    for (const path of ['/metrics', '/metrics/', '/metrics?x=1', '/METRICS', '/%6detrics', '/metrics/x']) {
      expect((await stranger.call('GET', path)).status, path).toBe(404)
    }
    const wire = await RawSocket.connect(balancer.port)
    wire.send(`GET //metrics HTTP/1.1\r\n${host}\r\n`)
    expect(await wire.waitForStatus()).toBe(404)
    wire.close()
    expect(witness.requests.length).toBe(before)
  })

  it('the balancer forwards no upgrade except to WebSocket', async () => {
    const wire = await RawSocket.connect(balancer.port)
    wire.send(
      `GET /h2 HTTP/1.1\r\n${host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
    )
    expect(await wire.waitForStatus()).toBe(200)
    wire.close()
    expect(witness.requests.at(-1)!.path).toBe('/h2')
    expect(valuesOf('upgrade')).toEqual([])
  })
})
