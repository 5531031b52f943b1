import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fetchKeySet, keySetBounds, readKeySet } from './fetch-key-set.ts'

let server: Server
let url = ''
let respond: (request: IncomingMessage, response: ServerResponse) => void
let requests = 0

beforeAll(async () => {
  server = createServer((request, response) => {
    requests++
    respond(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const key = { kid: 'k', kty: 'OKP', crv: 'Ed25519', x: 'x' }

describe('fetchKeySet', () => {
  it('returns the named keys', async () => {
    respond = (_request, response) => response.end(JSON.stringify({ keys: [key, { kty: 'RSA' }] }))
    expect(await fetchKeySet(url)).toEqual([{ kid: 'k', jwk: key }])
  })

  it('[TOKEN2] follows no redirect', async () => {
    requests = 0
    respond = (_request, response) => response.writeHead(302, { location: url }).end()
    await expect(fetchKeySet(url)).rejects.toThrow('redirects are not followed')
    expect(requests).toBe(1)
  })

  it('[TOKEN2] reads at most 64 kB', async () => {
    let sent = 0
    respond = (_request, response) => {
      const more = (): void => {
        while (!response.destroyed && sent < 50_000_000) {
          sent += 65_536
          if (!response.write(Buffer.alloc(65_536, 32))) return void response.once('drain', more)
        }
        response.end()
      }
      more()
    }
    await expect(fetchKeySet(url)).rejects.toThrow(`larger than ${keySetBounds.bytesMax} bytes`)
    expect(sent).toBeLessThan(20_000_000)
  })

  it('[TOKEN2] waits at most three seconds for the whole answer', async () => {
    respond = (_request, response) => {
      response.write('{"keys": [')
      const timer = setInterval(() => response.write(' '), 100)
      response.once('close', () => clearInterval(timer))
    }
    const startMs = performance.now()
    await expect(fetchKeySet(url)).rejects.toThrow('no complete answer within 3000 ms')
    expect(performance.now() - startMs).toBeLessThan(8_000)
  })

  it.each([
    [500, '{"keys": []}', 'status 500'],
    [204, '', 'status 204'],
    [200, 'not JSON', 'JSON'],
    [200, 'null', 'not a JWK set'],
    [200, '[]', 'not a JWK set'],
    [200, '{"keys": {}}', 'not a JWK set'],
  ])('[TOKEN2] refuses the answer %d %j', async (status, body, reason) => {
    respond = (_request, response) => response.writeHead(status).end(body)
    await expect(fetchKeySet(url)).rejects.toThrow(reason)
  })

  it('refuses an answer that is cut, and a closed port', async () => {
    respond = (_request, response) => {
      response.writeHead(200, { 'content-length': 1_000 })
      response.write('{')
      setTimeout(() => response.destroy(), 20)
    }
    await expect(fetchKeySet(url)).rejects.toThrow()
    await expect(fetchKeySet('http://127.0.0.1:1/keys')).rejects.toThrow('ECONNREFUSED')
  })

  it('ends when it is aborted', async () => {
    respond = () => undefined
    const aborter = new AbortController()
    const loading = fetchKeySet(url, aborter.signal)
    aborter.abort()
    await expect(loading).rejects.toThrow('aborted')
  })
})

it('[LIM1] reads at most a hundred keys of a set', () => {
  const keys = Array.from({ length: 500 }, (_, n) => ({ ...key, kid: `k${n}` }))
  expect(readKeySet(JSON.stringify({ keys: [null, 7, { ...key, kid: 'a b' }, ...keys] }))).toHaveLength(97)
})
