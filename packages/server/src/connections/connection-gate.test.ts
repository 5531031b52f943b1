/**
 * Tests how connections begin and end: session expiry, and event streams whose client leaves before
 * they open.
 */
import { request as ask } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fastify } from 'fastify'
import { ChorusError } from '@chorus/protocol'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Authenticator, Identity } from '../auth/authenticator.ts'
import { Limits } from '../auth/limits.ts'
import { TestNode } from '../commands/testing/test-node.ts'
import { readConfig } from '../config/config.ts'
import { LocalBusHub } from '../bus/bus-local.ts'
import { OutboundBudget } from '../delivery/outbound.ts'
import { RecordingTransport } from '../delivery/testing/recording-transport.ts'
import { addEventStream } from '../http/event-stream.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase } from '../database/testing/open-test-database.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { ConnectionGate } from './connection-gate.ts'

const dayMs = 24 * 60 * 60_000

describe('the connection gate', () => {
  let store: TestDatabase
  let node: TestNode
  let gate: ConnectionGate
  let clock: ManualClock
  let identity: Identity

  beforeAll(async () => {
    store = await openTestDatabase('embedded')
  })
  beforeEach(async () => {
    const hub = new LocalBusHub()
    node = await TestNode.start(store.database, hub)
    clock = new ManualClock()
    gate = new ConnectionGate({ parts: node.parts, bus: hub.join(), budget: new OutboundBudget(), clock })
    const fixture = new LogFixture(store.database)
    const user = await fixture.user()
    const session = await fixture.session(user)
    identity = {
      sessionId: session,
      userId: user,
      expiresInMs: 30 * dayMs,
      user: { id: user, handle: 'x', name: 'x', avatar: null, bot: false },
      record: { id: session, createdAt: '', lastUsedAt: '', userAgent: null },
    }
  })
  afterEach(() => node.stop())
  afterAll(() => store.close())

  it('[ACL2] closes a connection when its session expires, not before', () => {
    const connection = gate.open(identity, new RecordingTransport(), () => undefined)
    clock.advance(30 * dayMs - 1)
    gate.closeExpired()
    expect(connection.isOpen).toBe(true)
    clock.advance(1)
    gate.closeExpired()
    expect(connection.state).toEqual({ kind: 'closed', code: 'revoked' })
  })

  describe('the connection gate with event streams', () => {
    async function listen() {
      let letIn: (() => void) | undefined
      const authenticator = {
        authenticate: () =>
          new Promise<Identity>((resolve) => {
            letIn = () => resolve(identity)
          }),
      } as unknown as Authenticator
      const limits = new Limits(readConfig({ LIMIT_CONNECTIONS: '1' }), clock)
      const app = fastify({ logger: false })
      addEventStream(app, {
        authenticator,
        parts: { ...node.parts, limits },
        gate,
        addressOf: () => '192.0.2.1',
      })
      await app.listen({ host: '127.0.0.1', port: 0 })
      const { port } = app.server.address() as AddressInfo
      return {
        app,
        limits,
        port,
        whenAsked: () => vi.waitFor(() => letIn ?? Promise.reject(new Error('not asked yet'))),
      }
    }

    it('a client that leaves during authentication frees its connection slot', async () => {
      const { app, limits, port, whenAsked } = await listen()
      try {
        const opened = vi.spyOn(gate, 'open')
        const closed = new Promise<void>((resolve) => {
          app.server.on('connection', (socket) => socket.on('close', () => resolve()))
        })
        const request = ask({ host: '127.0.0.1', port, path: '/v1/events' })
        request.on('error', () => undefined)
        request.end()
        const letIn = await whenAsked()
        request.destroy()
        await closed
        letIn()
        await vi.waitFor(() => expect(opened).toHaveBeenCalled())
        await new Promise((resolve) => setImmediate(resolve))
        expect(node.parts.connections.size).toBe(0)
        // The closed connection no longer counts against the limit of the client's address.
        limits.openConnection('192.0.2.1')()
      } finally {
        await app.close()
      }
    })

    it('[SSE1] refuses an event stream by a `closing` event, or by 503 behind a load balancer', async () => {
      const { app } = await listen()
      const refusal = vi
        .spyOn(gate, 'refusal', 'get')
        .mockReturnValue(
          new ChorusError('unavailable', 'unable to connect; the server is stopping', { retryAfterMs: 1_500 }),
        )
      const get = (headers: Record<string, string>) => app.inject({ url: '/v1/events', headers })
      try {
        const stream = await get({ accept: 'text/event-stream' })
        expect([stream.statusCode, stream.headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8'])
        expect(stream.body).toBe(
          'retry: 1500\nevent: closing\ndata: {"code":"unavailable","message":"unable to connect; the server is stopping","retry":"later"}\n\n',
        )
        for (const headers of [{ accept: '*/*' }, { accept: 'text/event-stream', 'x-forwarded-for': '192.0.2.1' }])
          expect((await get(headers as Record<string, string>)).statusCode).toBe(503)
      } finally {
        refusal.mockRestore()
        await app.close()
      }
    })

    it('opens no event stream for a HEAD request', async () => {
      const { app } = await listen()
      try {
        expect((await app.inject({ method: 'HEAD', url: '/v1/events' })).statusCode).toBe(404)
        expect(node.parts.connections.size).toBe(0)
      } finally {
        await app.close()
      }
    })
  })
})
