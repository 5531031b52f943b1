/**
 * The packages as they are published: their tarballs, installed into empty projects, run. The
 * server's tarball serves the web application and the API, and manages keys. The back-end package
 * runs in a plain ES module, and by `require` in the Express example of docs/embedding.md. The types
 * resolve for each way to import them. tests/browser/packages.test.ts lets two users chat.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { signWebhook } from '@chorus/protocol'
import { LogLines, spawnTracked, waitForFact, whenExited } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  listFiles,
  type Manifest,
  PackedPackages,
  publishedPackages,
  readExample,
  readManifest,
} from '../packed-packages.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
let packed: PackedPackages
/** Project with all packages, which no program runs in. */
let all: string

beforeAll(() => {
  packed = new PackedPackages()
  const links = { '@types/node': '.', '@types/pg': '.', '@types/react': '.', pg: '.', react: '.', typescript: '.' }
  all = packed.createProject('types', {
    packages: publishedPackages,
    links: { ...links, '@electric-sql/pglite': 'packages/server' },
    files: { 'esm.mts': typedProgram, 'commonjs.cts': typedProgram, 'bundler.ts': typedProgram },
  })
}, 300_000)

afterAll(() => packed.remove())

describe.each(publishedPackages)('the published package %s', (name) => {
  const folder = (): string => join(all, 'node_modules/@chorus', name)
  const read = (): { manifest: Manifest; files: string[] } => ({
    manifest: readManifest(folder()),
    files: listFiles(folder()),
  })

  it('has what npm and its readers need', () => {
    const { manifest, files } = read()
    expect(manifest).toMatchObject({
      name: `@chorus/${name}`,
      version: readManifest(root).version,
      description: expect.stringMatching(/^.{20,}[.]$/),
      keywords: expect.arrayContaining(['chat']),
      license: 'Apache-2.0',
      type: 'module',
      engines: { node: '>=20.19' },
    })
    expect(manifest).not.toHaveProperty('private')
    // Exact versions only, and no install script: what was tested is what is installed.
    for (const version of Object.values(manifest.dependencies ?? {})) expect(version).toMatch(/^\d+[.]\d+[.]\d+$/)
    expect(manifest).not.toHaveProperty('scripts')
    expect(files).toEqual(expect.arrayContaining(['README.md', 'LICENSE', 'package.json']))
    expect(readFileSync(join(folder(), 'LICENSE'))).toEqual(readFileSync(join(root, 'LICENSE')))
  })

  it('exports only files that it contains, each with its types', () => {
    const { manifest, files } = read()
    for (const target of Object.values(manifest.exports)) {
      const conditions: Readonly<Record<string, string>> = typeof target === 'string' ? { default: target } : target
      for (const path of Object.values(conditions)) expect(files).toContain(normalize(path))
      if (name !== 'server' && 'types' in conditions)
        // TypeScript and Node take the first condition that matches.
        expect(Object.keys(conditions)).toEqual(['source', 'types', 'default'])
    }
    for (const path of Object.values((manifest['bin'] ?? {}) as Record<string, string>))
      expect(files).toContain(normalize(path))
  })

  it('has no tests, no fixtures, no build state, and no source that no map names', () => {
    const { files } = read()
    expect(files.filter((path) => /[.](test|suite)[.]|(^|\/)testing(\/|$)|tsbuildinfo|tsconfig/.test(path))).toEqual([])
    const maps = files.filter((path) => path.endsWith('.map') && !path.startsWith('dist/web/'))
    const named = maps.flatMap((path) => {
      const { sources } = JSON.parse(readFileSync(join(folder(), path), 'utf8')) as { sources: string[] }
      return sources.map((source) => normalize(join(dirname(path), source)))
    })
    const sources = files.filter((path) => path.startsWith('src/') && !path.endsWith('.sql'))
    expect(sources.filter((path) => !named.includes(path))).toEqual([])
    // Maps without their sources would be dead weight.
    expect(maps.length > 0).toBe(sources.length > 0)
  })
})

it('types resolve for ES modules, CommonJS and bundlers', () => {
  const options = { target: 'es2023', strict: true, noEmit: true, skipLibCheck: true, types: ['node'] }
  const compile = (file: string, ...more: string[]): string => {
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
    const tsc = join(all, 'node_modules/typescript/bin/tsc')
    return spawnSync(process.execPath, [tsc, ...flags, ...more, file], { cwd: all, encoding: 'utf8' }).stdout
  }
  expect(compile('esm.mts', '--module', 'node16')).toBe('')
  expect(compile('commonjs.cts', '--module', 'nodenext')).toBe('')
  expect(compile('bundler.ts', '--module', 'esnext', '--moduleResolution', 'bundler')).toBe('')
}, 120_000)

describe('the published server', () => {
  it('serves the page and the API from an empty folder, and manages keys', async () => {
    const project = packed.createProject('chat-server', { packages: ['server'] })
    const command = join(project, 'node_modules/@chorus/server/bin/chorus.js')
    const env = { PATH: process.env['PATH'], HOST: '127.0.0.1', PORT: '0', DATA_DIR: join(project, 'data') }
    const run = (...args: string[]) => spawnSync(process.execPath, [command, ...args], { env, encoding: 'utf8' })
    const logs = new LogLines()
    const child = spawnTracked(process.execPath, [command], { cwd: project, stdio: ['ignore', 'pipe', 'pipe'], env })
    try {
      for (const stream of [child.stdout, child.stderr]) if (stream) logs.follow(stream)
      const [, url] = await logs.waitFor(/listening on (http:\/\/[^\s"]+)/, child, 60_000)
      const page = await fetch(new URL('/', url))
      expect(page.status).toBe(200)
      const [, script] = /<script[^>]+src="([^"]+)"/.exec(await page.text()) ?? []
      expect(script).toBeDefined()
      expect((await fetch(new URL(script!, url))).status).toBe(200)
      expect((await fetch(new URL('/v1/session', url))).status).toBe(401)
      const created = run('keys', 'create', '--name', 'shop', '--json')
      expect(JSON.parse(created.stdout)).toMatchObject({ id: expect.stringMatching(/^key_/) })
      expect(run('webhooks', 'list').status).toBe(0)
      expect(run('serve')).toMatchObject({ status: 2, stderr: expect.stringContaining('unable to run serve') })
    } finally {
      child.kill('SIGTERM')
      expect(await whenExited(child)).toEqual({ code: 0, signal: null })
    }
  })
})

describe('the published backend package', () => {
  it('posts from a transaction in a plain ES module', () => {
    const project = packed.createProject('plain-esm', {
      packages: ['backend'],
      links: { '@electric-sql/pglite': 'packages/server' },
      manifest: { type: 'module' },
      files: { 'main.js': outboxProgram },
    })
    const output = execFileSync(process.execPath, ['main.js'], { cwd: project, encoding: 'utf8', timeout: 50_000 })
    expect(JSON.parse(output)).toEqual({
      path: '/v1/admin/conversations/0198c0de-0000-7000-8000-000000000001/messages',
      text: 'paid',
    })
  })

  it('runs the Express example by require, without a warning', async () => {
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
    const project = packed.createProject('express-cjs', {
      packages: ['backend'],
      links: { express: 'tests' },
      files: { 'server.cjs': readExample('server.cjs') },
    })
    const logs = new LogLines()
    const child = spawnTracked(process.execPath, ['server.cjs'], {
      cwd: project,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        PORT: '0',
        CHORUS_URL: 'http://127.0.0.1:3000',
        CHORUS_SECRET: 'sk_0123456789abcdef_abcdefghijklmnop',
        CHORUS_KEY_ID: 'key_0123456789abcdef',
        CHORUS_SIGNING_SECRET: 'c2lnbmluZyBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw',
        CHORUS_WEBHOOK_SECRET: secret,
      },
    })
    try {
      for (const stream of [child.stdout, child.stderr]) if (stream) logs.follow(stream)
      const [, url] = await logs.waitFor(/listening on (http:\/\/\S+)/, child, 30_000)
      expect((await fetch(`${url}/chat-token`, { method: 'POST' })).status).toBe(401)
      const answer = await fetch(`${url}/chat-token`, { method: 'POST', headers: { 'x-user-id': 'buyer-1' } })
      const { token } = (await answer.json()) as { token: string }
      const [header = '', claims = ''] = token
        .split('.')
        .map((part) => Buffer.from(part, 'base64url').toString('latin1'))
      expect(JSON.parse(header)).toMatchObject({ alg: 'HS256', kid: 'key_0123456789abcdef' })
      expect(JSON.parse(claims)).toMatchObject({ sub: 'buyer-1', name: 'Ada Lovelace' })

      const change = { seq: 1, type: 'message.created', message: { text: 'Grüße' } }
      const body = JSON.stringify({ type: 'message.created', data: { conversation: 'c', change } })
      const headers = await signWebhook({ id: 'epoch.c.1', timestamp: new Date(), body, secrets: [secret] })
      const send = (text: string) =>
        fetch(`${url}/webhooks`, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: text,
        })
      expect((await send(body)).status).toBe(204)
      await waitForFact(() => logs.lines.includes('epoch.c.1 Grüße'))
      expect((await send(`${body} `)).status).toBe(400)
      expect(logs.lines.filter((line) => /warning/i.test(line))).toEqual([])
    } finally {
      child.kill('SIGTERM')
      await whenExited(child)
    }
  })
})

const outboxProgram = `
import { createServer } from 'node:http'
import { PGlite } from '@electric-sql/pglite'
import { createChorusClient, createOutboxTable, postInTransaction, startOutboxRelay } from '@chorus/backend'

const database = await PGlite.create()
await createOutboxTable(database)
const conversation = '0198c0de-0000-7000-8000-000000000001'
const server = createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  response.writeHead(201, { 'content-type': 'application/json' }).end('{"message":{}}')
  console.log(JSON.stringify({ path: request.url, text: JSON.parse(body).text }))
  await relay.stop()
  await database.close()
  server.close()
  server.closeAllConnections()
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
await database.transaction((tx) => postInTransaction(tx, { conversation, text: 'paid' }))
const client = createChorusClient({
  url: 'http://127.0.0.1:' + server.address().port,
  secret: 'sk_0123456789abcdef_abcdefghijklmnop',
})
const relay = startOutboxRelay({ pool: database, client })
`

const typedProgram = `
import { PGlite } from '@electric-sql/pglite'
import { Pool, type PoolClient } from 'pg'
import { createElement, type ReactElement } from 'react'
import { ChorusError, createChatClient } from '@chorus/client'
import { createFileStore } from '@chorus/client/node'
import { limits, type Message } from '@chorus/protocol'
import { ChatProvider, useMessages } from '@chorus/react'
import {
  ChorusApiError, createChorusClient, createOutboxTable, postInTransaction, signUserToken, startOutboxRelay, verifyWebhook,
} from '@chorus/backend'

export async function use(pool: Pool, client: PoolClient, pglite: PGlite, body: Buffer): Promise<string> {
  await createOutboxTable(pool)
  await postInTransaction(client, { subject: { type: 'order', id: '7' }, text: 'paid' })
  await pglite.transaction((tx) => postInTransaction(tx, { conversation: 'c', text: 'paid' }))
  // @ts-expect-error: either the conversation or the subject
  await postInTransaction(client, { text: 'paid' })
  const chorus = createChorusClient({ url: 'https://chat.example.org', secret: 'sk_…' })
  for (const database of [pool, pglite]) await startOutboxRelay({ pool: database, client: chorus }).stop()
  const { event } = await verifyWebhook({ headers: {}, body, secrets: [] })
  const { change } = event.data
  if (change.type === 'message.created') return change.message.text
  const { messages } = await chorus.as('buyer-1').call('list-messages', { conversation: 'c' })
  // @ts-expect-error: a key cannot sign in
  await chorus.as('buyer-1').call('sign-in', { handle: 'a', password: 'b' })
  const error: unknown = undefined
  if (error instanceof ChorusApiError && error.code === 'stale') return error.current?.card?.state ?? ''
  return signUserToken({ keyId: 'key_1', signingSecret: 's', userId: messages[0]?.sender ?? '' })
}

export function openChat(url: string): ReactElement {
  const client = createChatClient({ url, store: createFileStore('./chat.json'), getToken: () => Promise.resolve('t') })
  const error: unknown = undefined
  if (error instanceof ChorusError && error.retry === 'later') throw error
  // @ts-expect-error: the client has no such option
  createChatClient({ url, token: 't' })
  return createElement(ChatProvider, { client, children: createElement(Texts) })
}

function Texts(): ReactElement {
  const texts: readonly Message['text'][] = useMessages('c').items.flatMap((row) =>
    row.kind === 'message' ? [row.message.text] : [],
  )
  return createElement('p', null, texts.join(' ').slice(0, limits.textMaxChars))
}
`
