/**
 * JWK sets at an address of the integrator: bounded in time and size, without redirects, and never
 * stalled by unknown kids.
 */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type CreatedKey,
  createApiKey,
  HttpUser,
  makeClaims,
  makeKeyPair,
  runKeys,
  type ServerProcess,
  type SigningKey,
  signToken,
  waitForFact,
} from '@chorus/testkit'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let key: CreatedKey
let http: HttpUser
let issuer: Server
let origin = ''
let loads = 0
let respond: (response: ServerResponse) => unknown = () => undefined
let count = 0

const old = makeKeyPair('ES256', 'old')
const fresh = makeKeyPair('EdDSA', 'fresh')
const setOf = (...keys: SigningKey[]): string => JSON.stringify({ keys: keys.map(({ kid, jwk }) => ({ ...jwk, kid })) })

beforeAll(async () => {
  issuer = createServer((_request, response) => {
    loads++
    respond(response)
  })
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`
  server = await startQuickServer({
    env: { LIMIT_REQUESTS: '0', LIMIT_CONNECTIONS: '0', TRUSTED_PROXIES: '127.0.0.1' },
  })
  key = await createApiKey(server.database)
  http = HttpUser.stranger(server.url)
})

afterAll(async () => {
  await server.remove()
  issuer.closeAllConnections()
  issuer.close()
})

/** Each test has an address of its own, so each test loads its set. */
beforeEach(async () => {
  await runKeys(server.database, ['set-jwks', key.id, `${origin}/keys-${++count}`])
  // Servers read the registration at most half a second later.
  const registeredAtMs = performance.now()
  await waitForFact(() => performance.now() - registeredAtMs > 600, { what: 'the registration' })
  loads = 0
})

interface Outcome {
  readonly status: number
  readonly code: string | undefined
  readonly detail: string | undefined
}

async function use(token: string, address = '198.51.100.1'): Promise<Outcome> {
  const headers = { authorization: `Bearer ${token}`, 'x-forwarded-for': address }
  const { status, body } = await http.call<{ code?: string; detail?: string }>('GET', '/v1/conversations', undefined, {
    headers,
  })
  return { status, code: body.code, detail: body.detail }
}

const tokenOf = (signing: SigningKey, header: object = {}): string => signToken(signing, makeClaims('ada'), header)

it('[TOKEN2] verifies tokens of a set, and finds a rotated key at once', async () => {
  respond = (response) => response.end(setOf(old))
  expect(await use(tokenOf(old))).toMatchObject({ status: 200 })
  respond = (response) => response.end(setOf(old, fresh))
  expect(await use(tokenOf(fresh))).toMatchObject({ status: 200 })
  expect(await use(tokenOf(old))).toMatchObject({ status: 200 })
  expect(await use(tokenOf(old, { kid: 'neither' }))).toMatchObject({ status: 401, code: 'unauthenticated' })
  expect(loads).toBe(3)
  expect(await use(tokenOf(fresh, { kid: 'old' }))).toMatchObject({ status: 401 })
})

it('[TOKEN2] refuses a kid that two sets have', async () => {
  respond = (response) => response.end(setOf(old, fresh))
  const other = await createApiKey(server.database)
  await runKeys(server.database, ['add-public-key', other.id, '-', '--kid', old.kid], JSON.stringify(old.jwk))
  await waitForFact(async () => (await use(tokenOf(old))).detail?.includes('more than one') === true, {
    what: 'the refusal',
    timeoutMs: 5_000,
  })
  expect(await use(tokenOf(fresh))).toMatchObject({ status: 200 })
  await runKeys(server.database, ['revoke', other.id])
})

it('[TOKEN2] a flood of unknown kids loads little and delays no fresh key of another network', async () => {
  respond = (response) => response.end(setOf(old))
  expect(await use(tokenOf(old))).toMatchObject({ status: 200 })
  const flood = async (n: number): Promise<void> => {
    const { status, code } = await use(tokenOf(old, { kid: `garbage-${n}` }))
    expect(['unauthenticated', 'unavailable']).toContain(code)
    expect([401, 503]).toContain(status)
  }
  for (let from = 0; from < 2_000; from += 100)
    await Promise.all(Array.from({ length: 100 }, (_, n) => flood(from + n)))
  expect(loads).toBeLessThanOrEqual(3)
  respond = (response) => response.end(setOf(fresh))
  await waitForFact(async () => (await use(tokenOf(fresh), '203.0.113.9')).status === 200, {
    what: 'the fresh key',
    timeoutMs: 6_000,
  })
  // The network of the garbage has it by the same load.
  expect(await use(tokenOf(fresh))).toMatchObject({ status: 200 })
  expect(loads).toBeLessThanOrEqual(5)
}, 60_000)

it.each<[what: string, answer: (response: ServerResponse) => unknown]>([
  ['redirects', (response) => response.writeHead(302, { location: `${origin}/elsewhere` }).end()],
  ['is huge', (response) => response.end(setOf(old) + ' '.repeat(200_000))],
  ['sends no end', (response) => response.write('{"keys":[')],
])(
  '[TOKEN2] answers unavailable in time while the address %s',
  async (_what, answer) => {
    respond = answer
    const startMs = performance.now()
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => use(tokenOf(old))))
    expect(performance.now() - startMs).toBeLessThan(8_000)
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: 503, code: 'unavailable' })
    expect(loads).toBeLessThanOrEqual(3)
    // Other keys go on.
    expect(await use(signToken(key.signing, makeClaims('ben')))).toMatchObject({ status: 200 })
  },
  60_000,
)

it('[TOKEN2] accepts tokens again when the address is back', async () => {
  respond = (response) => response.destroy()
  expect(await use(tokenOf(old))).toMatchObject({ status: 503 })
  respond = (response) => response.end(setOf(old))
  expect(await use(tokenOf(old))).toMatchObject({ status: 200 })
  respond = (response) => response.destroy()
  expect(await use(tokenOf(old))).toMatchObject({ status: 200 })
})
