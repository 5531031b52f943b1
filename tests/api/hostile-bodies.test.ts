/**
 * Bodies, queries and packets that are not valid requests. The server refuses each with an error
 * from its error catalogue on every transport, stores nothing, and keeps working.
 */
import { randomUUID } from 'node:crypto'
import { EngineClient, HttpUser, SocketUser } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let ada: HttpUser
let socket: SocketUser
let conversation: string

beforeAll(async () => {
  server = await startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_SIGN_INS_ADDRESS: '0' } })
  ada = await HttpUser.signUp(() => server.url)
  const bob = await HttpUser.signUp(() => server.url)
  conversation = await ada.createConversation('direct', [bob.id])
  socket = await SocketUser.connect(server.url, { cookie: ada.cookie })
})

// After each test, the next valid message must get the next seq. This proves that the invalid input
// stored nothing. The socket must still be connected.
let top = 0
afterEach(async () => {
  await ada.expect(200, 'GET', '/readyz')
  const answer = await socket.command('send', { conversation, clientId: randomUUID(), text: 'the server is well' })
  expect(answer.ok).toBe(true)
  const expected = top + 1
  top = answer.seq as number
  if (expected > 1) expect(answer.seq).toBe(expected)
  expect(socket.disconnections).toEqual([])
})

afterAll(async () => {
  socket.close()
  await server.remove()
})

interface Refusal {
  readonly type: string
  readonly code: string
  readonly status: number
  readonly retry: string
  readonly detail: string
}

function expectRefusal(
  answer: { status: number; headers: Record<string, unknown>; body: unknown },
  what: string,
): void {
  expect([400, 413, 415], what).toContain(answer.status)
  expect(answer.headers['content-type'], what).toMatch(/^application\/problem\+json/)
  const problem = answer.body as Refusal
  expect(problem.status, what).toBe(answer.status)
  expect(['invalid', 'too-large', 'unsupported'], what).toContain(problem.code)
  expect(problem.retry, what).toBe('never')
  expect(problem.detail, what).toMatch(/^unable to .+; .+/)
  expect(JSON.stringify(problem), what).not.toMatch(/at .+:\d+:\d+|node_modules|SELECT|select \*/)
}

const post = (rawBody: string | Buffer) =>
  ada.call('POST', `/v1/conversations/${conversation}/messages`, undefined, { rawBody })

const id = '0190a0a0-0000-4000-8000-000000000002'
const wrap = (value: string) => `{"clientId":"${id}","text":"x","data":${value}}`

/**
 * Bodies that are not valid JSON, JSON that two parsers may read differently, and JSON that is not
 * a valid message.
 */
const malformed: [string, string | Buffer][] = [
  ['nothing', ''],
  ['a blank', ' '],
  ['null', 'null'],
  ['true', 'true'],
  ['a number', '1'],
  ['a string', '"x"'],
  ['an array', '[]'],
  ['an array of what is right', `[{"clientId":"${id}","text":"x"}]`],
  ['an empty object', '{}'],
  ['an open object', '{'],
  ['a closed one too often', `{"clientId":"${id}","text":"x"}}`],
  ['two values', `{"clientId":"${id}","text":"x"}{"a":1}`],
  ['a comma at the end', `{"clientId":"${id}","text":"x",}`],
  ['a comma at the beginning', `{,"clientId":"${id}","text":"x"}`],
  ['a missing colon', `{"clientId" "${id}","text":"x"}`],
  ['single quotes', `{'clientId':'${id}','text':'x'}`],
  ['keys without quotes', `{clientId:"${id}",text:"x"}`],
  ['a comment', `{"clientId":"${id}",/*x*/"text":"x"}`],
  ['a line comment', `{"clientId":"${id}","text":"x"}//`],
  ['NaN', wrap('NaN')],
  ['Infinity', wrap('Infinity')],
  ['minus Infinity', wrap('-Infinity')],
  ['a plus sign', wrap('+1')],
  ['a leading zero', wrap('012')],
  ['hexadecimal', wrap('0x1F')],
  ['a dot alone', wrap('.5')],
  ['a dot at the end', wrap('5.')],
  ['an exponent without digits', wrap('1e')],
  ['too large a number', wrap('1e400')],
  ['too large a number, negative', wrap('-1e400')],
  ['an unknown escape', wrap('"\\x41"')],
  ['a short unicode escape', wrap('"\\u12"')],
  ['a tab in a string', wrap('"a\tb"')],
  ['a line break in a string', wrap('"a\nb"')],
  ['NUL in a string', wrap('"a\u0000b"')],
  ['NUL as an escape', wrap('"a\\u0000b"')],
  ['NUL after the value', `{"clientId":"${id}","text":"x"}\u0000`],
  ['a lone high surrogate', wrap('"\\ud800"')],
  ['a lone low surrogate', wrap('"\\udc00"')],
  ['surrogates the wrong way round', wrap('"\\udc00\\ud800"')],
  ['a lone surrogate in the text', `{"clientId":"${id}","text":"\\ud800"}`],
  ['a lone surrogate in a key', wrap('{"\\ud800":1}')],
  ['True', wrap('True')],
  ['undefined', wrap('undefined')],
  ['an open string', wrap('"abc')],
  ['an open array', wrap('[1')],
  ['a bracket of the wrong kind', wrap('[1}')],
  ['a double comma', wrap('[1,,2]')],
  ['a vertical tab as blank', `{\u000b"clientId":"${id}","text":"x"}`],
  ['a no-break space as blank', `{\u00a0"clientId":"${id}","text":"x"}`],
  ['a byte order mark', Buffer.from(`\ufeff{"clientId":"${id}","text":"x"}`)],
  ['UTF-16', Buffer.from(`{"clientId":"${id}","text":"x"}`, 'utf16le')],
  ['UTF-16 with its mark', Buffer.from(`\ufeff{"clientId":"${id}","text":"x"}`, 'utf16le')],
  ['Latin-1', Buffer.from(`{"clientId":"${id}","text":"é"}`, 'latin1')],
  ['overlong UTF-8', Buffer.from([...Buffer.from(`{"clientId":"${id}","text":"`), 0xc0, 0xaf, ...Buffer.from('"}')])],
  [
    'a surrogate in UTF-8',
    Buffer.from([...Buffer.from(`{"clientId":"${id}","text":"`), 0xed, 0xa0, 0x80, ...Buffer.from('"}')]),
  ],
  [
    'beyond Unicode',
    Buffer.from([...Buffer.from(`{"clientId":"${id}","text":"`), 0xf4, 0x90, 0x80, 0x80, ...Buffer.from('"}')]),
  ],
  ['a cut sequence', Buffer.from([...Buffer.from(`{"clientId":"${id}","text":"`), 0xe2, 0x82, ...Buffer.from('"}')])],
  ['bytes at random', Buffer.from([0xff, 0xfe, 0x00, 0x80, 0x7f, 0x01])],
  ['a key twice', `{"clientId":"${id}","text":"x","text":"y"}`],
  ['a key twice, once escaped', `{"clientId":"${id}","text":"x","te\\u0078t":"y"}`],
  ['a key twice in depth', wrap('{"a":{"b":1,"b":2}}')],
  ['__proto__', `{"clientId":"${id}","text":"x","__proto__":{"isAdmin":true}}`],
  ['__proto__, escaped', `{"clientId":"${id}","text":"x","\\u005f_proto__":{"isAdmin":true}}`],
  ['__proto__ in depth', wrap('{"a":[{"__proto__":{"isAdmin":true}}]}')],
  ['constructor.prototype', wrap('{"constructor":{"prototype":{"isAdmin":true}}}')],
  ['arrays 10 000 deep', wrap('['.repeat(10_000) + ']'.repeat(10_000))],
  ['arrays 10 000 deep, open', '['.repeat(10_000)],
  ['objects 5 000 deep', wrap('{"a":'.repeat(5_000) + '1' + '}'.repeat(5_000))],
  ['arrays one deeper than allowed', wrap('['.repeat(22) + ']'.repeat(22))],
  ['10 000 keys', wrap(`{${Array.from({ length: 10_000 }, (_, key) => `"k${key}":1`).join()}}`)],
  ['an attachment that is no id', `{"clientId":"${id}","text":"x","attachments":["../../etc/passwd"]}`],
  ['a clientId that is no id', '{"clientId":"1","text":"x"}'],
  ['a text that is too long', `{"clientId":"${id}","text":"${'x'.repeat(20_001)}"}`],
  ['no text', `{"clientId":"${id}","text":""}`],
]

describe('the body of a message', () => {
  it.each(malformed)('[BAD1] a message body is refused: %s', async (what, body) => {
    expectRefusal(await post(body), what)
  })

  it('[BAD1] malformed bodies are refused on every path that takes a body', async () => {
    const base = `/v1/conversations/${conversation}`
    const addresses: [string, string][] = [
      ['POST', '/v1/users'],
      ['POST', '/v1/session'],
      ['PATCH', '/v1/session/data'],
      ['PATCH', '/v1/users/me'],
      ['POST', '/v1/conversations'],
      ['PATCH', base],
      ['PUT', `${base}/members/me`],
      ['PATCH', `${base}/messages/1`],
      ['PUT', `${base}/read`],
      ['PUT', `${base}/live/typing`],
      ['POST', '/v1/presence'],
      ['PUT', '/v1/status'],
    ]
    // Some of these paths accept a missing or an empty body, so those two are left out.
    const bodies = malformed.filter(([what]) => !['nothing', 'an empty object'].includes(what)).map(([, body]) => body)
    for (const [method, path] of addresses) {
      for (const rawBody of bodies) {
        if (path === '/v1/session/data' && isJsonObject(rawBody)) continue
        expectRefusal(
          await ada.call(method, path, undefined, { rawBody }),
          `${method} ${path} ${String(rawBody).slice(0, 60)}`,
        )
      }
    }
  }, 60_000)

  it('[LIM1] a body one byte above the limit is refused, also without a Content-Length', async () => {
    const fill = (bytes: number) => {
      const rest = `{"clientId":"${randomUUID()}","text":"x","data":""}`
      return rest.replace('"data":""', `"data":"${'a'.repeat(bytes - rest.length)}"`)
    }
    const over = await post(fill(131_073))
    expect([over.status, (over.body as Refusal).code]).toEqual([413, 'too-large'])
    const chunked = await ada.call('POST', `/v1/conversations/${conversation}/messages`, undefined, {
      rawBody: fill(140_000),
      headers: { 'transfer-encoding': 'chunked' },
    })
    expect(chunked.status).toBe(413)
    // The server reads a body at the limit. It then refuses this body for another reason: its field
    // `data` is too long.
    expect((await post(fill(131_072))).body).toMatchObject({ detail: expect.stringContaining('data') as string })
  })
})

/** Returns whether a body is a JSON object, which is valid session data. */
function isJsonObject(body: string | Buffer): boolean {
  try {
    return String(JSON.parse(String(body))) === '[object Object]'
  } catch {
    return false
  }
}

/** Invalid values that replace one valid field at a time. */
const wrongValues: unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53,
  '',
  'x',
  [],
  {},
  { $gt: '' },
  { $ne: null },
  ['x'],
  { toString: 'x' },
  { length: 1 },
  "' or 1=1 --",
  '1; drop table messages',
]

describe('values of the wrong type or range', () => {
  it('[BAD1] values of the wrong type are refused for every event and field', async () => {
    const right: Record<string, Record<string, unknown>> = {
      send: { conversation, clientId: id, text: 'x', replyTo: 1, attachments: [], data: {} },
      edit: { conversation, seq: 1, text: 'x' },
      delete: { conversation, seq: 1 },
      react: { conversation, seq: 1, emoji: '👍' },
      unreact: { conversation, seq: 1, emoji: '👍' },
      read: { conversation, seq: 0 },
      live: { conversation, key: 'typing', value: 1, ttlMs: 1_000 },
      watch: { users: [id] },
      status: { status: 'online' },
      sync: { cursor: 'x', limit: 10 },
    }
    const isRight = (event: string, field: string, value: unknown): boolean =>
      (field === 'data' && event === 'send') ||
      (field === 'value' && event === 'live') ||
      (field === 'text' && typeof value === 'string' && value !== '') ||
      (field === 'key' && value === 'x') ||
      (field === 'seq' && event === 'read' && value === 0) ||
      (field === 'cursor' && typeof value === 'string') ||
      (Array.isArray(value) && value.length === 0 && (field === 'attachments' || field === 'users'))
    for (const [event, payload] of Object.entries(right)) {
      for (const field of Object.keys(payload)) {
        for (const value of wrongValues) {
          if (isRight(event, field, value)) continue
          const answer = await socket.command(event, { ...payload, [field]: value })
          expect([event, field, value, answer.error?.code]).toEqual([event, field, value, 'invalid'])
        }
      }
      for (const whole of [undefined, null, 1, 'x', [], [payload], { ...payload, extra: 1 }, JSON.stringify(payload)]) {
        if (event === 'sync' && whole === undefined) continue
        const answer = await socket.command(event, whole)
        expect([event, whole, answer.error?.code]).toEqual([event, whole, 'invalid'])
      }
    }
  }, 60_000)

  it('[BAD1] packets with prototype keys, deep nesting or broken strings are refused', async () => {
    const raw = await EngineClient.connect(server.url, { cookie: ada.cookie })
    const bodies = [
      '{"__proto__":{"isAdmin":true}}',
      `{"conversation":"${conversation}","clientId":"${id}","text":"x","__proto__":{"isAdmin":true}}`,
      `{"conversation":"${conversation}","clientId":"${id}","text":"x","data":{"constructor":{"prototype":{"a":1}}}}`,
      `{"conversation":"${conversation}","clientId":"${id}","text":"x","data":${'['.repeat(1_000)}${']'.repeat(1_000)}}`,
      `{"conversation":"${conversation}","clientId":"${id}","text":"a\\u0000b"}`,
      `{"conversation":"${conversation}","clientId":"${id}","text":"\\ud800"}`,
      `{"conversation":"${conversation}","clientId":"${id}","text":"x","data":1e400}`,
      `{"conversation":"${conversation}","clientId":"${id}","text":"x","replyTo":9007199254740993}`,
      `{"conversation":"${conversation}","clientId":"${id}","text":"x","data":"${'a'.repeat(9_000)}"}`,
    ]
    for (const [index, body] of bodies.entries()) {
      raw.send(`42${index}["send",${body}]`)
      const answer = await raw.waitForPacket((packet) => packet.startsWith(`43${index}[`), body.slice(0, 80))
      expect(answer, body.slice(0, 80)).toMatch(/"code":"(invalid|too-large)"/)
    }
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined()
    raw.close()
  })

  it('[LIM1] invalid limits, seqs and ids in paths and queries are refused', async () => {
    const base = `/v1/conversations/${conversation}`
    for (const query of [
      'limit=1e9',
      'limit=201',
      'limit=0',
      'limit=-1',
      'limit=1.5',
      'limit=',
      'limit=NaN',
      'limit=50&limit=60',
      'limit[]=5',
      'limit[$gt]=5',
      'after=-1',
      'after=1e400',
      'after=9007199254740993',
      'after=0x10',
      'after=-0',
      'after=%00',
      'before=0',
      'around=0',
      'before=5&after=5',
      'unknown=1',
      '__proto__=1',
      'constructor=1',
    ]) {
      expectRefusal(await ada.call('GET', `${base}/messages?${query}`), query)
    }
    for (const path of ['abc', '0', '-1', '1.5', '9007199254740993', '1e3', '%00', '%ud800', '1%0d%0aset-cookie:x=1']) {
      const answer = await ada.call('GET', `${base}/messages/${path}`)
      expect([400, 404], path).toContain(answer.status)
      expect(answer.headers['set-cookie']).toBeUndefined()
    }
    for (const path of ['1', 'me', '__proto__', '..%2f..%2fetc%2fpasswd', '%00', id.slice(1), 'x'.repeat(400)]) {
      const answer = await ada.call('GET', `/v1/conversations/${path}/messages`)
      expect([400, 404], path).toContain(answer.status)
    }
    await ada.expect([400, 404, 414, 431], 'GET', `/v1/conversations/${'x'.repeat(5_000)}/messages`)
    const ids = Array.from({ length: 101 }, () => randomUUID())
    expectRefusal(await ada.call('GET', `/v1/users?ids=${ids.join(',')}`), '101 ids')
    expectRefusal(
      await ada.call('POST', '/v1/conversations', { kind: 'group', name: 'x', members: ids }),
      '101 members',
    )
    expectRefusal(await ada.call('POST', '/v1/presence', { users: ids }), '101 watched')
    expect((await socket.command('watch', { users: ids })).error?.code).toBe('too-large')
    expectRefusal(await ada.call('GET', `/v1/sync?cursor=${'x'.repeat(1_025)}`), 'a long cursor')
  })

  it('[RES2] an invalid cursor gets `reset`, over REST and Socket.IO', async () => {
    for (const cursor of ['x', '0', 'AAAA', 'eyJhIjoxfQ', '-', '_'.repeat(1_024)]) {
      const { body } = await ada.expect<{ reset?: boolean }>(200, 'GET', `/v1/sync?cursor=${cursor}`)
      expect(body.reset, cursor).toBe(true)
      const answer = await socket.command('sync', { cursor })
      expect(answer.reset, cursor).toBe(true)
    }
  })
})

describe('strings that are expensive to process', () => {
  it('long repetitions are handled without delay', async () => {
    const strings = [
      `${'a'.repeat(19_000)}!`,
      `@${'a'.repeat(19_000)}`,
      `http://${'a.'.repeat(9_000)}`,
      `${'('.repeat(9_000)}${')'.repeat(9_000)}`,
      `${'*_'.repeat(9_000)}`,
      `${'['.repeat(9_000)}](`,
      ' '.repeat(19_000),
    ]
    for (const text of strings) {
      await ada.send(conversation, text)
      top += 1
    }
    for (const query of ['a'.repeat(100), '%'.repeat(100), '_'.repeat(100), '\\'.repeat(100), `${'a'.repeat(99)}!`]) {
      await ada.expect(200, 'GET', `/v1/users?q=${encodeURIComponent(query)}`)
      await ada.expect(200, 'GET', `/v1/channels?q=${encodeURIComponent(query)}`)
    }
    const emoji = '\u{1f468}\u200d'.repeat(5_000)
    const answer = await socket.command('react', { conversation, seq: top, emoji })
    expect(answer.error?.code).toBe('too-large')
  })

  it('oversized or malformed passwords and handles are refused before hashing', async () => {
    const stranger = HttpUser.stranger(server.url)
    for (const fields of [
      { password: 'x'.repeat(100_000) },
      { password: `long enough\u0000` },
      { password: 'short' },
      { handle: 'a'.repeat(33) },
      { handle: 'a\r\nset-cookie: x=1' },
      { handle: '../../etc/passwd' },
      { handle: 'аdmin' },
      { name: `a\r\nb` },
      { name: 'a\u202eb' },
      { name: 'x'.repeat(101) },
    ]) {
      const body = { handle: 'somebody', password: 'a long enough password', name: 'Somebody', ...fields }
      expectRefusal(await stranger.call('POST', '/v1/users', body), JSON.stringify(fields).slice(0, 60))
    }
    await stranger.expect(401, 'POST', '/v1/session', { handle: ada.handle, password: 'a\u2028b' })
    // The same characters in another Unicode form are the same password.
    await HttpUser.signUp(() => server.url, { handle: 'composed', password: 'éééééééé'.normalize('NFC') })
    await stranger.expect(200, 'POST', '/v1/session', {
      handle: 'composed',
      password: 'éééééééé'.normalize('NFD'),
    })
  })

  it('line breaks in a request never reach a response header', async () => {
    const answer = await ada.call('GET', '/v1/session%0d%0ax-injected:%201', undefined, {
      headers: { 'user-agent': 'x'.repeat(2_000) },
    })
    expect(answer.headers['x-injected']).toBeUndefined()
    const named = await ada.createConversation('group', [], 'a name')
    expectRefusal(
      await ada.call('PATCH', `/v1/conversations/${named}`, { name: 'a\r\nset-cookie: x=1' }),
      'a name with CRLF',
    )
    expectRefusal(
      await ada.call('PATCH', '/v1/users/me', { avatar: 'javascript:alert(1)' }),
      'an avatar that is a script',
    )
    expectRefusal(await ada.call('PATCH', '/v1/users/me', { avatar: '//evil.example/x.png' }), 'an avatar elsewhere')
  })
})
