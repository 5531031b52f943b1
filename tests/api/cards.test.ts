/**
 * Cards over the wire: a key posts a card into the conversation of a subject at one server, members
 * act at another one over Socket.IO and REST, and the key changes the card. With two servers on
 * Postgres if there is one, otherwise with one embedded server.
 */
import { createPublicKey, randomUUID, verify } from 'node:crypto'
import {
  type CreatedKey,
  createApiKey,
  hasPostgres,
  type HttpAnswer,
  HttpUser,
  makeClaims,
  runKeys,
  type ServerProcess,
  signToken,
  SocketUser,
  startServer,
  usePostgres,
  waitForFact,
} from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'

interface Card {
  readonly version: number
  readonly state: string
  readonly acted: { readonly seq: number; readonly action: string; readonly actor: string } | null
  readonly jws: string
}
interface Message {
  readonly seq: number
  readonly clientId: string
  readonly sender: string
  readonly text: string
  readonly card?: Card
}

let first: ServerProcess
let second: ServerProcess
let key: CreatedKey
let ids: Record<string, string>

beforeAll(async () => {
  const shared = hasPostgres() ? { databaseUrl: await (await usePostgres()).createDatabase() } : {}
  const env = { LIMIT_REQUESTS: '0', LIMIT_SENDS: '0' }
  first = await startServer({ ...shared, env })
  second = hasPostgres() ? await startServer({ ...shared, env }) : first
  key = await createApiKey(first.database)
  const put = async (externalId: string): Promise<[string, string]> => {
    const { body } = await ask<{ user: { id: string } }>('PUT', `/v1/admin/users/${externalId}`, { name: externalId })
    return [externalId, body.user.id]
  }
  ids = Object.fromEntries(await Promise.all(['ada', 'bob', 'cyd'].map(put)))
}, 180_000)

afterAll(async () => {
  await first.remove()
  if (second !== first) await second.remove()
})

/** Sends a request with the API key to the first server. */
function ask<Body>(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<HttpAnswer<Body>> {
  return HttpUser.stranger(first.url).call<Body>(method, path, body, {
    headers: { authorization: `Bearer ${key.secret}`, ...headers },
  })
}

const as = (externalId: string): Record<string, string> => ({ 'chorus-as': externalId })

const connect = (externalId: string): Promise<SocketUser> =>
  SocketUser.connect(second.url, { client: { auth: { token: signToken(key.signing, makeClaims(externalId)) } } })

async function openSubject(fields: object = {}): Promise<string> {
  const path = `/v1/admin/subjects/order/${randomUUID()}/conversation`
  const subject = { kind: 'group', members: ['ada', 'bob', 'cyd'], ...fields }
  return (await ask<{ conversation: { id: string } }>('PUT', path, subject)).body.conversation.id
}

const offer = {
  type: 'offer',
  title: 'Blue shoes',
  fields: { Size: '42', Price: '30 €' },
  actions: [
    { id: 'accept', label: 'Accept', by: ['ada', 'bob'] },
    { id: 'decline', label: 'Decline' },
  ],
  state: 'open',
}

async function post(conversation: string, fields: object = {}): Promise<Message> {
  const path = `/v1/admin/conversations/${conversation}/messages`
  const { status, body } = await ask<{ message: Message }>('POST', path, {
    clientId: randomUUID(),
    card: offer,
    ...fields,
  })
  expect(status).toBe(201)
  return body.message
}

it('[CARD1] [SUB1] members act on a card once, at any server and transport', async () => {
  const conversation = await openSubject()
  const [ada, bob] = [await connect('ada'), await connect('bob')]
  const { seq, card } = await post(conversation)
  expect(card).toMatchObject({ version: 1, state: 'open', acted: null })
  const isShown = (user: SocketUser) => () => user.changesOf(conversation).some((change) => change.seq === seq)
  for (const user of [ada, bob]) await waitForFact(isShown(user), { what: 'the card' })

  const path = `/v1/conversations/${conversation}/messages/${seq}/actions`
  const clientId = randomUUID()
  const act = { clientId, version: 1, action: 'accept' }
  const viaRest = (externalId: string, body: object) => ask<{ seq: number }>('POST', path, body, as(externalId))
  expect((await viaRest('cyd', act)).status).toBe(403)
  expect((await viaRest('ada', { ...act, action: 'other' })).status).toBe(404)
  const [done, again] = [await ada.command('act', { conversation, seq, ...act }), await viaRest('ada', act)]
  expect(done).toMatchObject({ ok: true, seq: again.body.seq })
  const acted = { seq: again.body.seq, action: 'accept', actor: ids['ada'] }
  const late = { conversation, seq, clientId: randomUUID(), version: 1, action: 'decline' }
  expect(await bob.command('act', late)).toMatchObject({
    ok: false,
    error: { code: 'stale', retry: 'never', current: { card: { ...card, acted } } },
  })
  const refused = await viaRest('cyd', { ...act, clientId: randomUUID() })
  expect([refused.status, refused.body]).toMatchObject([409, { code: 'stale', current: { card: { ...card, acted } } }])

  const change = { version: 1, state: 'paid', actions: [] }
  const patch = `/v1/admin/conversations/${conversation}/messages/${seq}/card`
  const updated = await ask<{ seq: number; card: Card }>('PATCH', patch, change)
  expect(updated).toMatchObject({ status: 200, body: { card: { version: 2, state: 'paid', acted: null } } })
  expect((await ask('PATCH', patch, change)).body).toEqual(updated.body)
  const stale = await ask('PATCH', patch, { ...change, state: 'lost' })
  expect([stale.status, stale.body]).toMatchObject([409, { code: 'stale', current: { card: updated.body.card } }])
  // The first response stays, also after the card has changed.
  expect((await viaRest('ada', act)).body).toEqual(again.body)

  for (const user of [ada, bob]) {
    const types = () => user.changesOf(conversation).filter((one) => one.seq >= seq)
    await waitForFact(() => types().length === 3, { what: 'the act and the change' })
    expect(types()).toMatchObject([
      { type: 'message.created', message: { card: { version: 1 } } },
      { type: 'card.acted', seq: acted.seq, target: seq, action: 'accept', actor: ids['ada'] },
      { type: 'card.updated', seq: updated.body.seq, message: { version: updated.body.seq, card: updated.body.card } },
    ])
    user.close()
  }
  const history = await ask<{ messages: Message[] }>(
    'GET',
    `/v1/conversations/${conversation}/messages`,
    undefined,
    as('bob'),
  )
  expect(history.body.messages).toMatchObject([{ seq, card: updated.body.card }])
}, 120_000)

it('[CARD1] two buyers that act at once at two servers store one act', async () => {
  const conversation = await openSubject()
  const [ada, bob] = [await connect('ada'), await connect('bob')]
  const { seq } = await post(conversation)
  const path = `/v1/conversations/${conversation}/messages/${seq}/actions`
  const acts = await Promise.all(
    Array.from({ length: 10 }, async (_, n) => {
      const act = { clientId: randomUUID(), version: 1, action: 'accept' }
      if (n % 2 === 0) return (await (n % 4 === 0 ? ada : bob).command('act', { conversation, seq, ...act })).ok
      return (await ask('POST', path, act, as(n % 4 === 1 ? 'ada' : 'bob'))).status === 200
    }),
  )
  expect(acts.filter(Boolean)).toHaveLength(1)
  ada.close()
  bob.close()
}, 60_000)

it('[CARD2] the public keys verify a card, also after their rotation', async () => {
  const conversation = await openSubject()
  const { clientId, card } = await post(conversation)
  interface Keys {
    readonly keys: readonly { readonly kid: string; readonly validUntil: string | null }[]
  }
  const readKeys = async () => (await HttpUser.stranger(second.url).call<Keys>('GET', '/v1/keys')).body.keys
  const isValid = (keys: Keys['keys']): boolean => {
    const [header = '', payload = '', signature = ''] = (card?.jws ?? '').split('.')
    const { alg, kid } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { alg: string; kid: string }
    const jwk = keys.find((one) => one.kid === kid)
    if (alg !== 'EdDSA' || jwk === undefined) return false
    const publicKey = createPublicKey({ key: jwk as never, format: 'jwk' })
    return verify(null, Buffer.from(`${header}.${payload}`), publicKey, Buffer.from(signature, 'base64url'))
  }
  expect(isValid(await readKeys())).toBe(true)
  const payload = JSON.parse(Buffer.from(card?.jws.split('.')[1] ?? '', 'base64url').toString()) as object
  expect(Object.keys(payload)).toEqual([
    'iss',
    'conversation',
    'card',
    'version',
    'type',
    'title',
    'fields',
    'actions',
    'state',
    'iat',
  ])
  const actions = [{ ...offer.actions[0], by: [ids['ada'], ids['bob']] }, offer.actions[1]]
  expect(payload).toMatchObject({ ...offer, conversation, card: clientId, version: 1, actions })
  expect(await runKeys(first.database, ['rotate-signing-key'])).toMatch(/^cards are signed with the key \S+ from /)
  expect(isValid(await readKeys())).toBe(true)
}, 60_000)

it('sends as a user, and refuses two different senders', async () => {
  const conversation = await openSubject()
  const path = `/v1/admin/conversations/${conversation}/messages`
  const message = { clientId: randomUUID(), text: 'Hello' }
  const send = (fields: object, headers = {}) =>
    ask<{ message: Message }>('POST', path, { ...message, ...fields }, headers)
  expect(await send({ as: 'ada' })).toMatchObject({ status: 201, body: { message: { sender: ids['ada'] } } })
  expect((await send({}, as('ada'))).status).toBe(200)
  expect((await send({ as: 'ada' }, as('ada'))).status).toBe(200)
  for (const other of ['bob', 'nobody'])
    expect(await send({ as: other }, as('ada'))).toMatchObject({ status: 400, body: { code: 'invalid' } })
  expect((await send({ as: 'nobody' })).status).toBe(404)
  expect((await ask('PATCH', `${path}/1/card`, { version: 1, state: 'x' }, as('ada'))).status).toBe(400)
}, 60_000)

it('[SUB1] connected members see a changed subject', async () => {
  const id = randomUUID()
  const path = `/v1/admin/subjects/order/${id}/conversation`
  const body = { kind: 'group', members: ['ada'], title: 'Blue shoes' }
  const { conversation } = (await ask<{ conversation: { id: string } }>('PUT', path, body)).body
  const ada = await connect('ada')
  expect((await ask('PUT', path, { ...body, title: 'Red shoes', data: { size: 42 } })).status).toBe(200)
  const updates = () => ada.changesOf(conversation.id).filter(({ type }) => type === 'conversation.updated')
  await waitForFact(() => updates().length === 1, { what: 'the changed subject' })
  expect(updates()).toMatchObject([
    { conversation: { id: conversation.id, subject: { type: 'order', id, title: 'Red shoes', data: { size: 42 } } } },
  ])
  ada.close()
}, 60_000)
