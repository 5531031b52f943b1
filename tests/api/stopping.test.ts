/**
 * An orderly stop of the server: it reports not ready, asks all clients to move to another server,
 * answers every send it has received, and exits.
 */
import { randomUUID } from 'node:crypto'
import { HttpUser, RawSocket, SocketUser, SseClient, waitForFact } from '@chorus/testkit'
import { expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

it('[ACK1] [ACK2] SIGTERM makes the server ask clients to move, answer every send, and exit', async () => {
  const server = await startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0' } })
  try {
    const ada = await HttpUser.signUp(() => server.url)
    const bob = await HttpUser.signUp(() => server.url)
    const conversation = await ada.createConversation('direct', [bob.id])
    const writer = await SocketUser.connect(server.url, { cookie: ada.cookie })
    const polling = await SocketUser.connect(server.url, { cookie: bob.cookie, transports: ['polling'] })
    const stream = await SseClient.open(server.url, { cookie: bob.cookie })
    await stream.waitFor(({ name }) => name === 'ready', 'ready')

    const stored = new Map<string, number>()
    const refused = new Set<string>()
    let unanswered = 0
    let isSending = true
    const senders = Array.from({ length: 4 }, async () => {
      while (isSending && writer.socket.connected) {
        const clientId = randomUUID()
        try {
          const answer = await writer.command('send', { conversation, clientId, text: 'in flight' })
          if (answer.ok) stored.set(clientId, answer.seq as number)
          else refused.add(clientId)
        } catch {
          unanswered += 1
        }
      }
    })
    const overHttp = (async () => {
      while (isSending) {
        const clientId = randomUUID()
        try {
          const answer = await ada.call<{ message?: { seq: number } }>(
            'POST',
            `/v1/conversations/${conversation}/messages`,
            { clientId, text: 'over HTTP' },
          )
          if (answer.body.message !== undefined) stored.set(clientId, answer.body.message.seq)
        } catch {
          isSending = writer.socket.connected // The server refuses connections after it has stopped listening.
        }
      }
    })()
    await waitForFact(() => stored.size > 50, { what: 'a stream of sends' })

    const startedAt = performance.now()
    const stopped = server.stop('SIGTERM')
    await writer.waitFor(({ name }) => name === 'moving', 'moving')
    // A well-behaved client that is asked to move leaves after its last response. This one does so,
    // too.
    isSending = false
    await Promise.all(senders)
    const before = stored.size
    expect(unanswered).toBe(0)
    await stream.waitFor(({ name }) => name === 'moving', 'moving')
    await polling.waitFor(({ name }) => name === 'moving', 'moving')
    const { code, signal } = await stopped
    expect({ code, signal }).toEqual({ code: 0, signal: null })
    expect(performance.now() - startedAt).toBeLessThan(15_000)
    await overHttp
    await stream.ended
    expect(before).toBeGreaterThan(50)

    await server.start()
    const seqs = new Map<string, number>()
    for (let after = 0, more = true; more; ) {
      const { body } = await bob.expect<{ messages: { seq: number; clientId: string }[]; hasAfter: boolean }>(
        200,
        'GET',
        `/v1/conversations/${conversation}/messages?after=${after}&limit=200`,
      )
      for (const message of body.messages) {
        expect(seqs.has(message.clientId)).toBe(false)
        seqs.set(message.clientId, message.seq)
      }
      after = body.messages.at(-1)?.seq ?? after
      more = body.hasAfter
    }
    for (const [clientId, seq] of stored) expect(seqs.get(clientId)).toBe(seq)
    for (const clientId of refused) expect(seqs.has(clientId)).toBe(false)
  } finally {
    await server.remove()
  }
})

it('[ACK2] a stopping server answers every send of a client that does not move', async () => {
  const server = await startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0' } })
  try {
    const ada = await HttpUser.signUp(() => server.url)
    const bob = await HttpUser.signUp(() => server.url)
    const conversation = await ada.createConversation('direct', [bob.id])
    const writers = await Promise.all([
      SocketUser.connect(server.url, { cookie: ada.cookie }),
      SocketUser.connect(server.url, { cookie: ada.cookie, transports: ['polling'] }),
    ])
    let stored = 0
    let unanswered = 0
    const refusals = new Set<string>()
    // Each writer sends until a send is refused. Every send must get a response.
    const senders = writers.flatMap((writer) =>
      Array.from({ length: 8 }, async () => {
        for (;;) {
          const send = { conversation, clientId: randomUUID(), text: 'I stay' }
          const gone = new Promise<undefined>((resolve) => writer.socket.once('disconnect', () => resolve(undefined)))
          const answer = await Promise.race([writer.command('send', send), gone])
          if (answer?.ok === true) stored += 1
          else if (answer === undefined) unanswered += 1
          else refusals.add(answer.error?.code ?? '')
          if (answer?.ok !== true) return
        }
      }),
    )
    await waitForFact(() => stored > 50, { what: 'a stream of sends' })
    const stopped = server.stop('SIGTERM')
    await Promise.all(senders)
    expect({ unanswered, refusals: [...refusals] }).toEqual({ unanswered: 0, refusals: ['unavailable'] })
    expect((await stopped).code).toBe(0)
  } finally {
    await server.remove()
  }
})

it('a stopping server moves its clients at evenly spread times, and closes the rest', async () => {
  const server = await startQuickServer({ env: { DRAIN_MS: '4000', LIMIT_CONNECTIONS: '0' } })
  try {
    const ada = await HttpUser.signUp(() => server.url)
    const sockets = await Promise.all(
      Array.from({ length: 24 }, () => SocketUser.connect(server.url, { cookie: ada.cookie })),
    )
    const stopped = server.stop('SIGTERM')
    const times = await Promise.all(
      sockets.map(async (socket) => {
        const { payload } = await socket.waitFor(({ name }) => name === 'moving', 'moving')
        return (payload as { inMs: number }).inMs
      }),
    )
    times.sort((left, right) => left - right)
    expect(times[0]).toBeGreaterThanOrEqual(1_000)
    expect(times.at(-1)).toBeLessThanOrEqual(4_000)
    // The 24 clients are asked to move within 1 s to 4 s: one client in each 125 ms.
    for (const [index, inMs] of times.entries()) expect(Math.abs(inMs - (1_000 + (index + 0.5) * 125))).toBeLessThan(64)
    for (const socket of sockets) {
      const { payload } = await socket.waitFor(({ name }) => name === 'closing', 'closing')
      expect(payload).toMatchObject({ code: 'stopping', retry: 'later' })
    }
    expect((await stopped).code).toBe(0)
  } finally {
    await server.remove()
  }
})

it('a stopping server reports not ready, serves briefly, then refuses connections', async () => {
  const server = await startQuickServer({ env: { DRAIN_NOTICE_MS: '3000', DRAIN_MS: '5000' } })
  try {
    const ada = await HttpUser.signUp(() => server.url)
    const socket = await SocketUser.connect(server.url, { cookie: ada.cookie })
    await ada.expect(200, 'GET', '/readyz')
    const stopped = server.stop('SIGTERM')
    await waitForFact(async () => (await ada.call('GET', '/readyz')).status === 503, { what: 'not ready' })
    const late = await SocketUser.connect(server.url, { cookie: ada.cookie })
    await late.waitFor(({ name }) => name === 'moving', 'moving')
    await socket.waitFor(({ name }) => name === 'moving', 'moving')
    await ada.expect(503, 'GET', '/v1/events')
    // A browser's EventSource never reconnects after a 503. So it gets a stream with a retry time
    // instead.
    const accept = { headers: { accept: 'text/event-stream' } }
    const { body: refusal } = await ada.expect<string>(200, 'GET', '/v1/events', undefined, accept)
    expect(refusal).toMatch(/^retry: \d+\nevent: closing\ndata: .*"unavailable"/)
    const behindBalancer = { headers: { ...accept.headers, 'x-forwarded-for': '127.0.0.9' } }
    await ada.expect(503, 'GET', '/v1/events', undefined, behindBalancer)
    // Polling and WebSocket get a plain 503, so that a balancer tries another server.
    const poll = await ada.expect(503, 'GET', '/socket.io/?EIO=4&transport=polling')
    expect(poll.headers['retry-after']).toBe('1')
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' }
    const headers = { ...upgrade, 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
    const answer = await ada.expect(503, 'GET', '/socket.io/?EIO=4&transport=websocket', undefined, { headers })
    expect(answer.headers['retry-after']).toBe('1')
    expect((await stopped).code).toBe(0)
  } finally {
    await server.remove()
  }
})

it('a client that resets a refused upgrade does not end a stopping server early', async () => {
  const server = await startQuickServer({ env: { DRAIN_NOTICE_MS: '2000', DRAIN_MS: '4000' } })
  try {
    const ada = await HttpUser.signUp(() => server.url)
    const stopped = server.stop('SIGTERM')
    await waitForFact(async () => (await ada.call('GET', '/readyz')).status === 503, { what: 'not ready' })
    const headers = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
    const lines = ['GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', 'Host: x', ...headers]
    let resets = 0
    let isStopped = false
    void stopped.then(() => {
      isStopped = true
    })
    while (!isStopped) {
      const socket = await RawSocket.connect(server.port).catch(() => undefined)
      if (socket === undefined) break
      socket.send([...lines, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', ''].join('\r\n'))
      // Reset some connections while the server decides about the upgrade, and some after its answer.
      if (++resets % 2 === 0)
        await waitForFact(() => socket.isClosed || socket.status > 0, { what: 'an answer or the end', everyMs: 1 })
      socket.socket.resetAndDestroy()
    }
    expect(resets).toBeGreaterThan(0)
    expect((await stopped).code).toBe(0)
  } finally {
    await server.remove()
  }
})
