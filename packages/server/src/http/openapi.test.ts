/**
 * Tests that the OpenAPI document and the server agree: every response of the main flows is
 * validated against the document, and extra fields are errors.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { AnySchema, ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { changeSchema, commands } from '@chorus/protocol'
import { readConfig } from '../config/config.ts'
import { connectToHolder } from '../database/directory-lock.ts'
import { readLine } from '../operator-commands/local-request.ts'
import { startNode } from '../start/node.ts'
import type { Node } from '../start/node.ts'
import { createLogger } from '../support/logger.ts'

interface Operation {
  readonly operationId: string
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: AnySchema }>> }>
  >
}

interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, AnySchema>> }
}

interface Answer {
  readonly status: number
  // Response body, validated against the document before a test reads it.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any
}

let folder: string
let node: Node
let document: Document
let cookie = ''
const checked = new Set<string>()
const validators = new Map<string, ValidateFunction>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chorus-openapi-'))
  const config = readConfig({ PORT: '0', DATA_DIR: folder, LIMIT_REQUESTS: '0', LIMIT_SENDS: '0' })
  node = await startNode(config, createLogger('silent', 'test'))
  document = (await (await fetch(`${node.url}/v1/openapi.json`)).json()) as Document
})

afterAll(async () => {
  await node.stop()
  await rm(folder, { recursive: true, force: true })
})

function operationOf(method: string, path: string): [string, Operation] {
  const found = Object.entries(document.paths)
    .filter(([template]) => new RegExp(`^${template.replace(/\{\w+\}/g, '[^/]+')}$`).test(path))
    // Like the router, prefer the path `/v1/users/me` to the template `/v1/users/{id}`.
    .sort(([a], [b]) => a.split('{').length - b.split('{').length)
    .find(([, operations]) => operations[method.toLowerCase()] !== undefined)
  if (found === undefined) throw new Error(`the document has no ${method} ${path}`)
  return [found[0], found[1][method.toLowerCase()]!]
}

/**
 * Returns the schema with extra fields forbidden. The document itself allows them, so that older
 * clients accept responses with fields of later versions.
 */
function closed(schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return schema
  if (Array.isArray(schema)) return schema.map(closed)
  const result = Object.fromEntries(Object.entries(schema).map(([name, part]) => [name, closed(part)]))
  return 'properties' in result && result.type === 'object' ? { ...result, additionalProperties: false } : result
}

/**
 * Validates every change against the schema of its type. In the document, one schema covers all
 * types.
 */
function expectChanges(body: unknown): void {
  if (typeof body !== 'object' || body === null) return
  for (const [name, part] of Object.entries(body)) {
    if (name === 'changes' && Array.isArray(part)) for (const change of part) changeSchema.parse(change)
    else expectChanges(part)
  }
}

function validatorFor(template: string, operation: Operation, status: number): ValidateFunction | undefined {
  const response = operation.responses[String(status)] ?? operation.responses.default!
  const isProblem = operation.responses[String(status)] === undefined
  const content = isProblem ? { $ref: '#/components/schemas/Problem' } : response.content?.['application/json']?.schema
  if (content === undefined) return undefined
  const key = `${operation.operationId} ${template} ${isProblem ? 'problem' : status}`
  let validate = validators.get(key)
  if (validate === undefined) {
    const ajv = new Ajv2020({ strict: false, allErrors: true })
    addFormats.default(ajv)
    validate = ajv.compile(closed({ ...(content as object), components: document.components }) as AnySchema)
    validators.set(key, validate)
  }
  return validate
}

/** Creates an API key through the socket of the data directory. Returns its secret. */
async function createKey(): Promise<string> {
  const socket = await connectToHolder(folder)
  if (socket === undefined) throw new Error('no server holds the folder')
  const answer = readLine(socket, 10_000, 10_000)
  const args = ['create', '--name', 'Shop', '--scope', 'read,write,admin', '--json']
  socket.write(`${JSON.stringify({ command: 'keys', args })}\n`)
  const { text } = JSON.parse(await answer) as { text: string }
  socket.destroy()
  return (JSON.parse(text) as { secret: string }).secret
}

/** Secret of the API key that requests send instead of the cookie. */
let secret: string | undefined

async function ask(method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(`${node.url}${path}`, {
    method,
    headers: {
      ...(secret === undefined ? { cookie } : { authorization: `Bearer ${secret}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const answer: Answer = { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
  const setCookie = response.headers.getSetCookie()[0]
  if (setCookie !== undefined) cookie = setCookie.split(';', 1)[0]!
  const [template, operation] = operationOf(method, path.split('?', 1)[0]!)
  const validate = validatorFor(template, operation, response.status)
  if (validate === undefined) expect(text).toBe('')
  else
    expect(
      validate(answer.body),
      `${method} ${path} ${response.status}: ${JSON.stringify(validate.errors)} ${text}`,
    ).toBe(true)
  expectChanges(answer.body)
  if (response.ok) checked.add(operation.operationId)
  return answer
}

describe('the OpenAPI document and the responses', () => {
  it('is a valid OpenAPI 3.1 document with every route of the protocol', async () => {
    const validation = await new Validator().validate(structuredClone(document) as unknown as Record<string, unknown>)
    expect(validation.errors).toBeUndefined()
    expect(validation.valid).toBe(true)
    const routes = Object.values(commands).filter((command) => 'route' in command && command.route !== undefined)
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path))
    expect(operations).toHaveLength(routes.length)
  })

  it('the document describes every response of the main flows', async () => {
    const password = 'correct horse'
    expect((await ask('GET', '/v1/session')).status).toBe(401)
    const ben = (await ask('POST', '/v1/users', { handle: 'ben', password, name: 'Ben' })).body.user
    expect((await ask('POST', '/v1/users', { handle: 'ben', password, name: 'Ben' })).status).toBe(409)
    const benCookie = cookie
    cookie = ''
    const anna = (await ask('POST', '/v1/users', { handle: 'anna', password, name: 'Anna' })).body.user
    await ask('DELETE', '/v1/session')
    expect((await ask('GET', '/v1/session')).status).toBe(401)
    expect((await ask('POST', '/v1/session', { handle: 'anna', password: 'wrong' })).status).toBe(401)
    expect((await ask('POST', '/v1/session', { handle: 'anna', password })).status).toBe(200)
    await ask('GET', '/v1/session')
    await ask('GET', '/v1/session/data')
    await ask('PATCH', '/v1/session/data', { theme: 'dark' })
    await ask('GET', `/v1/users/${ben.id}`)
    await ask('GET', '/v1/users?q=b')
    await ask('GET', `/v1/users?ids=${ben.id},${anna.id}`)
    await ask('PATCH', '/v1/users/me', { name: 'Anna A.', avatar: 'https://pics.example/a.png' })

    await ask('GET', '/v1/notifications')
    await ask('PUT', '/v1/notifications', { email: null, digest: 'off' })
    // A valid token is only sent by mail, so this one is unknown.
    expect((await ask('POST', '/v1/notifications/confirm', { token: 'a'.repeat(43) })).status).toBe(404)

    const direct = await ask('POST', '/v1/conversations', { kind: 'direct', members: [ben.id] })
    expect(direct.status).toBe(201)
    expect((await ask('POST', '/v1/conversations', { kind: 'direct', members: [ben.id] })).status).toBe(200)
    const { id } = (await ask('POST', '/v1/conversations', { kind: 'group', name: 'Team', members: [ben.id] })).body
      .conversation
    const channel = (await ask('POST', '/v1/conversations', { kind: 'channel', name: 'general' })).body.conversation.id
    await ask('GET', '/v1/conversations?limit=1')
    await ask('GET', '/v1/channels?q=gen')
    await ask('GET', `/v1/conversations/${id}`)
    await ask('PATCH', `/v1/conversations/${id}`, { name: 'The team' })
    await ask('GET', `/v1/conversations/${id}/members`)

    const messages = `/v1/conversations/${id}/messages`
    const clientId = randomUUID()
    const sent = await ask('POST', messages, { clientId, text: 'hello', data: { a: [1, null, { b: 'c' }] } })
    expect(sent.status).toBe(201)
    const repeated = await ask('POST', messages, { clientId, text: 'hello', data: { a: [1, null, { b: 'c' }] } })
    expect([repeated.status, repeated.body.duplicate, repeated.body.message.seq]).toEqual([
      200,
      true,
      sent.body.message.seq,
    ])
    expect((await ask('POST', messages, { clientId, text: 'other' })).status).toBe(409)
    const { seq } = sent.body.message
    await ask('POST', messages, { clientId: randomUUID(), text: 'an answer', replyTo: seq })
    await ask('PUT', `${messages}/${seq}/reactions/${encodeURIComponent('\u{1f44d}')}`)
    await ask('GET', messages)
    await ask('GET', `${messages}?around=${seq}&limit=2`)
    await ask('GET', `${messages}/${seq}`)
    await ask('DELETE', `${messages}/${seq}/reactions/${encodeURIComponent('\u{1f44d}')}`)
    await ask('PATCH', `${messages}/${seq}`, { text: 'hello again' })
    await ask('DELETE', `${messages}/${seq}`)
    await ask('GET', `${messages}/${seq}`)
    await ask('PUT', `/v1/conversations/${id}/read`, { seq })
    await ask('GET', `/v1/conversations/${id}/changes?limit=3`)
    await ask('PUT', `/v1/conversations/${id}/live/typing`, { value: true, ttlMs: 5_000 })
    await ask('GET', `/v1/conversations/${id}/live`)
    await ask('PUT', '/v1/status', { status: 'away' })
    await ask('POST', '/v1/presence', { users: [ben.id] })
    const page = await ask('GET', '/v1/sync')
    await ask('GET', `/v1/sync?cursor=${page.body.cursor}`)
    expect((await ask('GET', '/v1/sync?cursor=unreadable')).body.reset).toBe(true)

    // Signs in as another user, who may see less.
    const annaCookie = cookie
    cookie = benCookie
    await ask('PUT', `/v1/conversations/${channel}/members/me`)
    await ask('PUT', `/v1/conversations/${id}/read`, { seq })
    await ask('GET', '/v1/conversations')
    expect((await ask('PATCH', `/v1/conversations/${id}`, { name: 'Mine' })).status).toBe(403)
    await ask('DELETE', `/v1/conversations/${channel}/members/me`)
    cookie = annaCookie
    await ask('DELETE', `/v1/conversations/${id}/members/${ben.id}`)
    cookie = benCookie
    expect((await ask('GET', messages)).status).toBe(404)
    expect((await ask('POST', messages, { clientId: randomUUID(), text: 'x' })).status).toBe(404)
    await ask('GET', '/v1/sync')
    const { sessions } = (await ask('GET', '/v1/sessions')).body
    await ask('DELETE', `/v1/sessions/${sessions[0].id}`)

    secret = await createKey()
    const person = '/v1/admin/users/person-1'
    expect((await ask('PUT', person, { name: 'Person', deactivated: false })).status).toBe(201)
    expect((await ask('PUT', person, { name: 'Person' })).status).toBe(200)
    await ask('GET', person)
    await ask('GET', '/v1/admin/users?limit=1')
    const others = [
      { externalId: 'person-2', name: 'Second' },
      { externalId: 'person-3', name: 'Third', handle: 'ben' },
    ]
    expect((await ask('POST', '/v1/admin/users', { users: others })).body.results[1].error.code).toBe('conflict')

    const subject = '/v1/admin/subjects/order/7%2Fa/conversation'
    expect((await ask('GET', subject)).status).toBe(404)
    const order = { kind: 'group', name: 'Order 7/a', members: ['person-1', 'person-2'], data: { total: 7 } }
    const ordered = await ask('PUT', subject, order)
    expect([ordered.status, ordered.body.conversation.subject?.id]).toEqual([201, '7/a'])
    expect((await ask('PUT', subject, order)).status).toBe(200)
    await ask('GET', subject)
    const offers = `/v1/admin/conversations/${ordered.body.conversation.id}/messages`
    const card = { type: 'offer', title: 'Blue shoes', state: 'open', actions: [{ id: 'accept', label: 'Accept' }] }
    const posted = { clientId: randomUUID(), text: 'An offer', card }
    expect((await ask('POST', offers, posted)).status).toBe(201)
    const offer = await ask('POST', offers, posted)
    expect([offer.status, offer.body.message.card.version]).toEqual([200, 1])
    const acts = `${offers.replace('/admin', '')}/${offer.body.message.seq}/actions`
    await ask('POST', acts, { clientId: randomUUID(), version: 1, action: 'accept' })
    const late = await ask('POST', acts, { clientId: randomUUID(), version: 1, action: 'accept' })
    expect([late.status, late.body.code, late.body.current.card.acted.action]).toEqual([409, 'stale', 'accept'])
    const change = { version: 1, state: 'paid', actions: [] }
    await ask('PATCH', `${offers}/${offer.body.message.seq}/card`, change)
    expect((await ask('PATCH', `${offers}/${offer.body.message.seq}/card`, { ...change, state: 'sent' })).status).toBe(
      409,
    )
    await ask('GET', '/v1/keys')
    await ask('POST', `${person}/revoke-tokens`)
    expect((await ask('DELETE', person)).status).toBe(204)
    expect((await ask('GET', person)).body.user.erasing).toBe(true)

    const all = Object.values(document.paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    )
    expect([...checked, 'confirm-email'].sort()).toEqual(all.sort())
  }, 60_000)
})
