/**
 * Values in paths and queries that violate the schema. The server refuses them before they reach an
 * SQL statement (rule BAD1).
 */
import { HttpUser } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let ada: HttpUser
let conversation: string

beforeAll(async () => {
  server = await startQuickServer({ env: { LIMIT_REQUESTS: '0' } })
  ada = await HttpUser.signUp(() => server.url)
  conversation = await ada.createConversation('group', [], 'values')
  await ada.send(conversation, 'one')
})

afterAll(async () => {
  await server.remove()
})

const token = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const id = '01900000-0000-7000-8000-000000000001'

const values = [
  '-'.repeat(36),
  '_'.repeat(36),
  'W10',
  'AAAA',
  'x'.repeat(2_000),
  token([]),
  token(['']),
  token([id]),
  token(['-'.repeat(36), '-'.repeat(36)]),
  token(['99999999999999999999', id]),
  token([1e308, id]),
  token([-1, id]),
  token([0.5, id]),
  token(['1', id, id]),
  token([['1'], [id]]),
  token({ 0: '1', 1: id }),
  token(["1'; drop table changes; --", id]),
  token(['\u0000', id]),
  token(['1', `${id} `]),
  token(['1', id.replaceAll('-', '')]),
  token(['NaN', 'infinity']),
  `${token(['1', id])}=`,
  ` ${token(['1', id])}`,
  '0',
  '-1',
  '1e3',
  '0x10',
  '1.0',
  '9007199254740993',
  '99999999999999999999',
  'NaN',
  'null',
  'true',
  id.toUpperCase(),
  `{${id}}`,
  id.replaceAll('-', ''),
  `${id},${'-'.repeat(36)}`,
  "' or 1=1 --",
  '%',
  '\\',
  '\u0000',
  '\ud7ff\uffff',
  '１２',
]

it('[BAD1] an invalid value in a path or query never causes a database error', async () => {
  const queries = [
    '/v1/conversations?page=',
    '/v1/conversations?limit=',
    '/v1/channels?page=',
    '/v1/channels?q=',
    '/v1/channels?limit=',
    '/v1/users?q=',
    '/v1/users?ids=',
    '/v1/users?page=',
    '/v1/users?limit=',
    '/v1/sync?cursor=',
    '/v1/sync?limit=',
    `/v1/conversations/${conversation}/members?page=`,
    `/v1/conversations/${conversation}/members?limit=`,
    `/v1/conversations/${conversation}/messages?before=`,
    `/v1/conversations/${conversation}/messages?after=`,
    `/v1/conversations/${conversation}/messages?around=`,
    `/v1/conversations/${conversation}/changes?after=`,
    `/v1/conversations/${conversation}/messages/`,
    `/v1/conversations/${conversation}/live/`,
    '/v1/conversations/',
    '/v1/users/',
    '/v1/presence?users=',
  ]
  const surprising: unknown[] = []
  const asks = queries.flatMap((query) => values.map((value) => `${query}${encodeURIComponent(value)}`))
  for (let from = 0; from < asks.length; from += 20)
    await Promise.all(
      asks.slice(from, from + 20).map(async (path) => {
        const { status, body } = await ada.call('GET', path)
        if (status >= 500) surprising.push([path, status, body])
        // A forged page token is always refused. A forged cursor is not refused: it gets `reset`.
        if (path.includes('page=') && status !== 400 && status !== 413) surprising.push([path, status, body])
      }),
    )
  for (const value of values)
    for (const [method, path] of [
      ['DELETE', `/v1/sessions/${encodeURIComponent(value)}`],
      ['PUT', `/v1/conversations/${conversation}/members/${encodeURIComponent(value)}`],
      ['DELETE', `/v1/conversations/${conversation}/members/${encodeURIComponent(value)}`],
      ['PUT', `/v1/conversations/${conversation}/messages/1/reactions/${encodeURIComponent(value)}`],
      ['DELETE', `/v1/conversations/${conversation}/messages/${encodeURIComponent(value)}`],
    ] as const) {
      const { status, body } = await ada.call(method, path)
      if (status >= 500 || status < 400)
        if (!(method === 'DELETE' && status < 300)) surprising.push([method, path, status, body])
    }
  expect(surprising).toEqual([])
  const errors = server.logs.text.split('\n').filter((line) => /"level":(?:"error"|50)/.test(line))
  expect(errors).toEqual([])
})
