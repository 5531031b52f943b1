/**
 * Requests of a careless or hostile integrator with API keys at a real server: repeated requests,
 * whose first responses show what was deleted since.
 */
import { randomUUID } from 'node:crypto'
import { type CreatedKey, createApiKey, type HttpAnswer, HttpUser, type ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let key: CreatedKey
let http: HttpUser

beforeAll(async () => {
  server = await startQuickServer()
  key = await createApiKey(server.database)
  http = HttpUser.stranger(server.url)
  const users = ['ada', 'bob', 'eve'].map((externalId) => ({ externalId, name: externalId }))
  expect((await ask('POST', '/v1/admin/users', { users })).status).toBe(200)
})

afterAll(async () => {
  await server.remove()
})

// The assertions of each test check the shape.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
const ask = (method: string, path: string, body?: unknown, headers: object = {}): Promise<HttpAnswer<any>> =>
  http.call(method, path, body, { headers: { authorization: `Bearer ${key.secret}`, ...headers } })
const as = (user: string): object => ({ 'chorus-as': user })
const once = (): object => ({ 'idempotency-key': randomUUID() })

async function open(members = ['ada', 'bob']): Promise<string> {
  const path = `/v1/admin/subjects/order/${randomUUID()}/conversation`
  const { status, body } = await ask('PUT', path, { kind: 'group', name: 'Order', members })
  expect(status).toBe(201)
  return body.conversation.id as string
}

describe('a repeated request', () => {
  it('[ERASE1] [IDEM3] shows no text that was edited or deleted since', async () => {
    const id = await open()
    const path = `/v1/conversations/${id}/messages`
    for (const [method, end] of [
      ['POST', ''],
      ['PATCH', '/edit'],
    ] as const) {
      const first = await ask('POST', path, { clientId: randomUUID(), text: 'first' }, as('ada'))
      const place = `${path}/${first.body.message.seq}`
      const headers = { ...as('ada'), ...once() }
      const body = { text: 'a secret', ...(end === '' && { clientId: randomUUID() }) }
      const made = await ask(method, end === '' ? path : place, body, headers)
      expect(made.body.message.text).toBe('a secret')
      const message = `${path}/${made.body.message.seq}`
      expect((await ask('PATCH', message, { text: 'harmless' }, as('ada'))).status).toBe(200)
      const edited = await ask(method, end === '' ? path : place, body, headers)
      expect([edited.status, edited.body.message.text]).toEqual([made.status, 'harmless'])
      expect((await ask('DELETE', message, undefined, as('ada'))).status).toBe(200)
      const deleted = await ask(method, end === '' ? path : place, body, headers)
      expect([deleted.status, deleted.body.message.text]).toEqual([made.status, ''])
    }
  })

  it('[ERASE1] [IDEM3] shows no last message and no card that was deleted since', async () => {
    const subject = `/v1/admin/subjects/order/${randomUUID()}/conversation`
    const order = { kind: 'group', name: 'Order', members: ['ada'] }
    const { conversation } = (await ask('PUT', subject, order)).body
    const path = `/v1/admin/conversations/${conversation.id}/messages`
    const card = { type: 'offer', title: 'A secret', state: 'open', actions: [{ id: 'accept', label: 'Accept' }] }
    const { message } = (await ask('POST', path, { clientId: randomUUID(), text: 'A secret', card })).body
    const [found, changed, stale] = [once(), once(), once()]
    const change = { version: 1, state: 'paid' }
    const repeat = async () => [
      await ask('PUT', subject, order, found),
      await ask('PATCH', `${path}/${message.seq}/card`, change, changed),
      await ask('PATCH', `${path}/${message.seq}/card`, { ...change, state: 'sent' }, stale),
    ]
    expect((await repeat()).map(({ status }) => status)).toEqual([200, 200, 409])
    expect(JSON.stringify((await repeat()).map(({ body }) => body as object))).toContain('A secret')
    expect((await ask('DELETE', `/v1/conversations/${conversation.id}/messages/${message.seq}`)).status).toBe(200)
    const after = await repeat()
    expect(after.map(({ status }) => status)).toEqual([200, 404, 404])
    expect(JSON.stringify(after.map(({ body }) => body as object))).not.toContain('A secret')
  })

  it('[ACL1] [IDEM3] shows nothing to a user who has left the conversation', async () => {
    const id = await open()
    const headers = { ...as('bob'), ...once() }
    const message = { clientId: randomUUID(), text: 'inside' }
    const path = `/v1/conversations/${id}/messages`
    expect((await ask('POST', path, message, headers)).status).toBe(201)
    expect((await ask('DELETE', `/v1/conversations/${id}/members/me`, undefined, as('bob'))).status).toBe(204)
    expect(await ask('POST', path, message, headers)).toMatchObject({ status: 404, body: { code: 'not-found' } })
  })
})
