/**
 * A browser's EventSource behind the balancers that ship in deploy/. It reconnects by itself after
 * its server was down: until then, the balancer answers it with a stream that contains only a retry
 * time (rule SSE1).
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  type Balancer,
  type BalancerKind,
  findFreePort,
  hasBalancer,
  HttpUser,
  startBalancer,
  startChromium,
  waitForFact,
} from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

const run = promisify(execFile)
const kinds: readonly BalancerKind[] = ['haproxy', 'nginx']
const eventStream = { accept: 'text/event-stream' }

describe.each(kinds)('%s in front of an event stream', (kind) => {
  const isHere = hasBalancer(kind)

  it.skipIf(!isHere)('[SSE1] without servers, EventSource gets a retry time, other requests an error', async () => {
    const balancer = await startBalancer(kind, { servers: [await findFreePort(), await findFreePort()] })
    try {
      const stranger = HttpUser.stranger(balancer.url)
      for (const accept of ['text/event-stream', 'application/json, text/event-stream;q=0.5']) {
        const answer = await stranger.call('GET', '/v1/events?cursor=x', undefined, { headers: { accept } })
        expect([answer.status, answer.headers['content-type'], answer.body]).toEqual([
          200,
          'text/event-stream',
          'retry: 2000\n\n',
        ])
        expect(answer.headers['cache-control']).toContain('no-store')
      }
      for (const [path, headers] of [
        ['/v1/events', { accept: '*/*' }],
        ['/v1/session', eventStream],
        ['/v1/events/x', eventStream],
        ['/socket.io/?EIO=4&transport=polling', eventStream],
      ] as const) {
        const { status } = await stranger.call('GET', path, undefined, { headers })
        expect([path, status >= 500 && status <= 504]).toEqual([path, true])
      }
    } finally {
      await balancer.remove()
    }
  })

  it.skipIf(!isHere)('[SSE1] refusals of a server reach the client unchanged', async () => {
    const server = await startQuickServer({ env: { LIMIT_REQUESTS: '3' } })
    const balancer = await startBalancer(kind, { servers: [server.port] })
    try {
      await waitForFact(async () => (await HttpUser.stranger(balancer.url).call('GET', '/livez')).status === 200)
      const stranger = await HttpUser.stranger(balancer.url).call('GET', '/v1/events', undefined, {
        headers: eventStream,
      })
      expect(stranger.status).toBe(401)
      const ada = await HttpUser.signUp(balancer.url)
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => ada.call('GET', '/v1/session', undefined, { headers: eventStream })),
      )
      expect(answers.some(({ status }) => status === 429)).toBe(true)
      const refused = await ada.call<string>('GET', '/v1/events', undefined, { headers: eventStream })
      expect(refused.status).toBe(200)
      expect(refused.body).toMatch(/^retry: \d+\nevent: closing\ndata: \{"code":"rate-limited"/)
    } finally {
      await balancer.remove()
      await server.remove()
    }
  })
})

describe.each(kinds)('%s in front of a server that answers 503', (kind) => {
  it.skipIf(!hasBalancer(kind))(
    '[SSE1] the balancer tries another server after a 503, other clients get the error',
    async () => {
      const asked: string[] = []
      const serve = (name: string, handle: (response: ServerResponse) => void): Promise<Server> =>
        new Promise((resolve) => {
          const server = createServer((request, response) => {
            if (request.url === '/readyz') return response.end()
            asked.push(name)
            handle(response)
            return undefined
          }).listen(0, '127.0.0.1', () => resolve(server))
        })
      const refuse = (response: ServerResponse): void =>
        void response.writeHead(503, { 'content-type': 'application/problem+json' }).end('{"code":"unavailable"}')
      const [leaving, other] = [
        await serve('leaving', refuse),
        await serve('other', (response) =>
          response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': ok\n\n'),
        ),
      ]
      const portOf = (server: Server): number => (server.address() as AddressInfo).port
      const both = await startBalancer(kind, { servers: [portOf(leaving), portOf(other)] })
      const one = await startBalancer(kind, { servers: [portOf(leaving)] })
      try {
        const ask = (balancer: Balancer, headers: Record<string, string>) =>
          HttpUser.stranger(balancer.url).call('GET', '/v1/events', undefined, { headers })
        await waitForFact(async () => (await ask(one, { accept: '*/*' })).body !== undefined && asked.length > 0)
        for (let count = 0; count < 10; count++) expect((await ask(both, eventStream)).body).toBe(': ok\n\n')
        expect(asked).toContain('other')
        const stream = await ask(one, eventStream)
        expect([stream.status, stream.headers['content-type'], stream.body]).toEqual([
          200,
          'text/event-stream',
          'retry: 2000\n\n',
        ])
        const plain = await ask(one, { accept: '*/*' })
        expect([plain.status, plain.body]).toEqual([503, { code: 'unavailable' }])
      } finally {
        await both.remove()
        await one.remove()
        leaving.close()
        other.close()
      }
    },
  )
})

describe('EventSource in Chromium', () => {
  let browser: Browser
  let server: ServerProcess
  const balancers: Balancer[] = []

  beforeAll(async () => {
    ;[browser, server] = await Promise.all([
      startChromium(),
      startQuickServer({ env: { LIMIT_SIGN_INS_ADDRESS: '0' } }),
    ])
    for (const kind of kinds)
      if (hasBalancer(kind)) balancers.push(await startBalancer(kind, { servers: [server.port] }))
  })

  afterAll(async () => {
    await browser.close()
    for (const balancer of balancers) await balancer.remove()
    await server.remove()
  })

  it('[SSE1] EventSource reconnects after the server was killed and started', async () => {
    const pages: Page[] = []
    for (const { url } of balancers) {
      const page = await (await browser.newContext()).newPage()
      await waitForFact(async () => (await HttpUser.stranger(url).call('GET', '/readyz')).status === 200)
      await page.goto(`${url}/`)
      const ada = await HttpUser.signUp(url)
      const [name = '', value = ''] = (ada.cookie ?? '').split('=', 2)
      await page.context().addCookies([{ name, value, url }])
      await page.evaluate(`
        window.seen = { ready: 0, errors: 0, states: [] }
        window.source = new EventSource('/v1/events')
        source.addEventListener('ready', () => seen.ready++)
        source.addEventListener('error', () => { seen.errors++; seen.states.push(source.readyState) })
      `)
      pages.push(page)
    }
    const read = (page: Page) => page.evaluate<{ ready: number; errors: number; states: number[] }>('window.seen')
    for (const page of pages)
      await waitForFact(async () => (await read(page)).ready === 1, { what: 'ready', timeoutMs: 20_000 })
    await server.kill9()
    // Wait for three errors: the broken stream, and at least two attempts that the balancer
    // answered with a stream that contains only a retry time.
    for (const page of pages)
      await waitForFact(async () => (await read(page)).errors >= 3, { what: 'two attempts', timeoutMs: 40_000 })
    await server.start()
    for (const page of pages) {
      await waitForFact(async () => (await read(page)).ready >= 2, { what: 'ready again', timeoutMs: 40_000 })
      // `readyState` 2 means CLOSED: such an EventSource never reconnects.
      expect((await read(page)).states).not.toContain(2)
    }
  })
})

it.skipIf(!hasBalancer('nginx'))(
  'nginx accepts the TLS line of its shipped file, and speaks HTTP/2',
  async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'chorus-tls-'))
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
    try {
      await run('openssl', [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
        ...['-subj', '/CN=127.0.0.1', '-keyout', key, '-out', certificate],
      ])
    } catch {
      return context.skip('openssl is not installed')
    }
    const shipped = await readFile(new URL('../../deploy/nginx/nginx.conf', import.meta.url), 'utf8')
    const line = /# TLS: {2}(listen 443 ssl.*)$/m.exec(shipped)?.[1] ?? ''
    expect(line).toContain('ssl_certificate_key …;')
    const server = await startQuickServer()
    const port = await findFreePort()
    const tls = line
      .replace('listen 443', `listen 127.0.0.1:${port}`)
      .replace('ssl_certificate …', `ssl_certificate ${certificate}`)
      .replace('ssl_certificate_key …', `ssl_certificate_key ${key}`)
    const balancer = await startBalancer('nginx', {
      servers: [server.port],
      edit: (text) => text.replace(/^( *)# TLS: {2}listen 443 ssl.*$/m, `$1${tls}`),
    })
    try {
      const protocol = await new Promise<unknown>((resolve, reject) => {
        const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
          resolve(socket.alpnProtocol)
          socket.destroy()
        })
        socket.on('error', reject)
      })
      expect(protocol).toBe('h2')
    } finally {
      await balancer.remove()
      await server.remove()
      await rm(folder, { recursive: true })
    }
  },
)
