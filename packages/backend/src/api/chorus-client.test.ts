/** Tests the client's own logic against a stand-in: addresses, retries, errors, timeouts. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Fault, problem, type RecordedRequest, StandIn } from '../testing/stand-in.ts'
import { ChorusApiError } from './api-error.ts'
import { type ChorusClient, createChorusClient } from './chorus-client.ts'

const secret = 'sk_0123456789abcdef_abcdefghijklmnop'
const conversation = '0198c0de-0000-7000-8000-000000000001'
let server: StandIn
let chorus: ChorusClient

beforeEach(async () => {
  server = await new StandIn().start()
  server.handle = () => ({ status: 200, body: {} })
  chorus = createChorusClient({ url: server.url, secret })
})
afterEach(() => server.stop())

/** Returns each fault once, then none. */
function faults(...list: Fault[]): void {
  server.fault = () => list.shift()
}

async function errorOf(call: Promise<unknown>): Promise<ChorusApiError> {
  const error = await call.then(
    () => new Error('unable to see an error; the call succeeded'),
    (reason: unknown) => reason,
  )
  if (!(error instanceof ChorusApiError)) throw error
  return error
}

const only = (): RecordedRequest => {
  expect(server.requests).toHaveLength(1)
  return server.requests[0]!
}

describe('calls', () => {
  it('encode external ids as one part of the path', async () => {
    await chorus.users.put('shop/ü 1?', { name: 'Ada' })
    const { method, path, headers, body } = only()
    expect([method, path, body]).toEqual(['PUT', '/v1/admin/users/shop%2F%C3%BC%201%3F', { name: 'Ada' }])
    expect(headers.authorization).toBe(`Bearer ${secret}`)
    expect(headers['content-type']).toBe('application/json')
  })

  it.each(['', '.', '..', '\ud800'])('refuse the external id %j, which no address can carry', async (id) => {
    await expect(chorus.users.get(id)).rejects.toThrow('cannot be a part of an address')
    expect(server.requests).toEqual([])
  })

  it('report whether something was created', async () => {
    server.handle = () => ({ status: 201, body: { user: { id: 'u' } } })
    expect(await chorus.users.put('u', { name: 'Ada' })).toEqual({ user: { id: 'u' }, created: true })
    server.handle = () => ({ status: 200, body: { user: { id: 'u' } } })
    expect(await chorus.users.put('u', { name: 'Ada' })).toEqual({ user: { id: 'u' }, created: false })
  })

  it('put many users, list pages, erase and revoke', async () => {
    server.handle = () => ({ status: 200, body: { results: [{ externalId: 'a' }], users: [], next: 'n' } })
    expect(await chorus.users.putMany([{ externalId: 'a', name: 'A' }])).toEqual([{ externalId: 'a' }])
    expect((await chorus.users.list({ limit: 2, page: 'p q' })).next).toBe('n')
    await chorus.users.list()
    server.handle = () => ({ status: 204 })
    await chorus.users.erase('a')
    await chorus.users.revokeTokens('a')
    expect(server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /v1/admin/users',
      'GET /v1/admin/users?limit=2&page=p+q',
      'GET /v1/admin/users',
      'DELETE /v1/admin/users/a',
      'POST /v1/admin/users/a/revoke-tokens',
    ])
    const many = Array.from({ length: 1_001 }, (_, index) => ({ externalId: `${index}`, name: 'A' }))
    await expect(chorus.users.putMany(many)).rejects.toThrow('at most 1000')
  })

  it('name subjects, cards, acts and history', async () => {
    const subject = { type: 'order', id: 'A/7' }
    await chorus.subjects.putConversation(subject, { kind: 'group', members: ['buyer'] })
    await chorus.messages.updateCard(conversation, 3, { version: 1, state: 'paid', actions: [] })
    await chorus.as('buyer').act(conversation, 3, { version: 1, action: 'accept' })
    await chorus.as('buyer').call('list-messages', { conversation, limit: 2 })
    await chorus.messages.list(conversation, { before: 9 })
    expect(server.requests.map(({ method, path, headers }) => [method, path, headers['chorus-as']])).toEqual([
      ['PUT', '/v1/admin/subjects/order/A%2F7/conversation', undefined],
      ['PATCH', `/v1/admin/conversations/${conversation}/messages/3/card`, undefined],
      ['POST', `/v1/conversations/${conversation}/messages/3/actions`, 'buyer'],
      ['GET', `/v1/conversations/${conversation}/messages?limit=2`, 'buyer'],
      ['GET', `/v1/conversations/${conversation}/messages?before=9`, undefined],
    ])
  })

  it('send an external id in a header percent-encoded', async () => {
    await chorus.as('shop/jürgen').call('list-conversations', {})
    expect(only().headers['chorus-as']).toBe('shop%2Fj%C3%BCrgen')
    await expect(chorus.as('a\nb').call('list-conversations', {})).rejects.toThrow('control characters')
    await expect(chorus.as('').call('list-conversations', {})).rejects.toThrow('unable to act as user')
  })

  it('keep the path of the address', async () => {
    const below = createChorusClient({ url: `${server.url}/chat/`, secret })
    await below.users.get('a')
    expect(only().path).toBe('/chat/v1/admin/users/a')
  })
})

describe('creating a client', () => {
  it.each(['chat.example.org', 'ftp://x', 'https://user:pass@x', 'https://x/?a=1'])('refuses the url %s', (url) => {
    expect(() => createChorusClient({ url, secret })).toThrow('url must be an http or https address')
  })

  it('refuses a secret of another kind without showing it', () => {
    const create = () => createChorusClient({ url: server.url, secret: 'signing-secret-of-the-key' })
    expect(create).toThrow('which begins with sk_')
    expect(create).not.toThrow('signing-secret-of-the-key')
  })
})

describe('retries', () => {
  it('send a lost request again with the same clientId', async () => {
    faults({ kind: 'lose' }, problem('unavailable', 503))
    const { duplicate } = await chorus.messages.send(conversation, { text: 'hello' })
    expect(duplicate).toBe(true)
    expect(server.posts).toHaveLength(1)
    expect(server.requests).toHaveLength(3)
    expect(new Set(server.requests.map(({ body }) => (body as { clientId: string }).clientId)).size).toBe(1)
    expect(server.requests[0]?.headers['idempotency-key']).toBeUndefined()
  })

  it('give all attempts of one call one Idempotency-Key, and each call its own', async () => {
    faults({ kind: 'break' }, problem('unknown', 504))
    await chorus.users.put('a', { name: 'A' })
    const keys = server.requests.map(({ headers }) => headers['idempotency-key'])
    expect(keys).toHaveLength(3)
    expect(new Set(keys).size).toBe(1)
    await chorus.users.put('a', { name: 'A' })
    expect(server.requests.at(-1)?.headers['idempotency-key']).not.toBe(keys[0])
    await chorus.users.put('a', { name: 'A' }, { idempotencyKey: 'mine' })
    expect(server.requests.at(-1)?.headers['idempotency-key']).toBe('mine')
    await chorus.users.get('a')
    expect(server.requests.at(-1)?.headers['idempotency-key']).toBeUndefined()
  })

  it('wait at least as long as the server asks', async () => {
    faults({ ...problem('rate-limited', 429), headers: { 'retry-after': '1' } } as Fault)
    const startedMs = performance.now()
    await chorus.users.get('a')
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(999)
  })

  it('leave a long wait to the caller', async () => {
    faults({ ...problem('rate-limited', 429), headers: { 'retry-after': '3600' } } as Fault)
    const error = await errorOf(chorus.users.get('a'))
    expect([error.code, error.retry, error.retryAfterMs]).toEqual(['rate-limited', 'later', 3_600_000])
    expect(server.requests).toHaveLength(1)
  })

  it('end after the attempts are used up', async () => {
    server.fault = () => problem('unavailable', 503)
    const error = await errorOf(chorus.users.get('a', { attemptsMax: 2 }))
    expect([error.code, error.failure, error.status]).toEqual(['unavailable', 'refused', 503])
    expect(server.requests).toHaveLength(2)
  })

  it.each(['invalid', 'unauthenticated', 'forbidden', 'not-found', 'conflict'])('never repeat %s', async (code) => {
    server.fault = () => problem(code, 400)
    const error = await errorOf(chorus.messages.send(conversation, { text: 'x' }))
    expect([error.code, error.retry, error.message]).toEqual([code, 'never', `unable to do this; ${code}`])
    expect(server.requests).toHaveLength(1)
  })
})

describe('errors', () => {
  it('carry the current card of a stale update', async () => {
    const card = { version: 2, state: 'accepted' }
    server.fault = () => problem('stale', 409, { current: { card } })
    const error = await errorOf(chorus.messages.updateCard(conversation, 3, { version: 1, state: 'paid' }))
    expect([error.code, error.retry, error.current]).toEqual(['stale', 'never', { card }])
    expect(server.requests).toHaveLength(1)
  })

  it('follow the retry of a code that this version does not know', async () => {
    server.fault = () => ({
      kind: 'status',
      status: 409,
      body: { code: 'busy', retry: 'later', detail: 'unable; busy' },
    })
    const error = await errorOf(chorus.users.get('a', { attemptsMax: 1 }))
    expect([error.code, error.retry, error.failure]).toEqual(['conflict', 'later', 'refused'])
  })

  it('tell a response of a proxy from one by Chorus', async () => {
    server.fault = () => ({ kind: 'status', status: 404, body: '<html>nothing here</html>' })
    const error = await errorOf(chorus.users.get('a'))
    expect([error.code, error.failure]).toEqual(['not-found', 'other-answer'])
  })

  it('do not follow redirects with the secret', async () => {
    server.fault = () => ({ kind: 'status', status: 307, headers: { location: `${server.url}/elsewhere` } })
    const error = await errorOf(chorus.users.put('a', { name: 'A' }))
    expect(error.message).toContain('redirects are not followed')
    expect(error.retry).toBe('never')
    expect(server.requests).toHaveLength(1)
  })

  it('say unavailable when the server certainly received nothing', async () => {
    const { url } = server
    await server.stop()
    const gone = createChorusClient({ url, secret, attemptsMax: 1 })
    const error = await errorOf(gone.users.put('a', { name: 'A' }))
    expect([error.code, error.failure, error.status]).toEqual(['unavailable', 'unreachable', undefined])
    await server.start()
  })

  it('say unknown when a change may have been made', async () => {
    server.fault = () => ({ kind: 'hang' })
    const error = await errorOf(chorus.messages.send(conversation, { text: 'x' }, { timeoutMs: 50, attemptsMax: 1 }))
    expect([error.code, error.failure]).toEqual(['unknown', 'timeout'])
    expect(error.message).toBe('unable to send message; no response within 50 ms')
  })

  it('refuse a response that is not JSON', async () => {
    server.fault = () => ({ kind: 'status', status: 200, body: '<html>' })
    const error = await errorOf(chorus.users.get('a', { attemptsMax: 1 }))
    expect([error.code, error.failure]).toEqual(['unavailable', 'other-answer'])
  })
})

describe('a signal', () => {
  it('ends a call that hangs, with its own reason', async () => {
    server.fault = () => ({ kind: 'hang' })
    const abort = new AbortController()
    const call = chorus.users.get('a', { signal: abort.signal })
    const reason = new Error('the request of my user has ended')
    setTimeout(() => abort.abort(reason), 20)
    await expect(call).rejects.toBe(reason)
  })

  it('ends the wait between two attempts', async () => {
    faults({ ...problem('rate-limited', 429), headers: { 'retry-after': '30' } } as Fault)
    const abort = new AbortController()
    const call = chorus.users.get('a', { signal: abort.signal })
    const reason = new Error('enough')
    setTimeout(() => abort.abort(reason), 100)
    await expect(call).rejects.toBe(reason)
  })

  it('that has aborted already sends nothing', async () => {
    const reason = new Error('before')
    await expect(chorus.users.get('a', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(server.requests).toEqual([])
  })
})
