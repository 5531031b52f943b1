/**
 * The packages as they are published: their tarballs, unpacked into empty projects with their
 * dependencies, run. The server's tarball serves the web application and the API. The back-end
 * package runs in a plain ES module, and by `require` in the Express example of docs/embedding.md.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { signWebhook } from '@chorus/protocol'
import { LogLines, makeTempDir, removeTempDir, spawnTracked, waitForFact, whenExited } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = makeTempDir('packages')
const modules = join(folder, 'node_modules')

interface Manifest {
  readonly name: string
  readonly dependencies?: Readonly<Record<string, string>>
}

/** Packs a package of the workspace and unpacks it into node_modules. Returns its files. */
function install(name: string): string[] {
  const tarball = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder, '-w', `@chorus/${name}`], {
    cwd: root,
    encoding: 'utf8',
  }).trim()
  const target = join(modules, '@chorus', name)
  mkdirSync(target, { recursive: true })
  execFileSync('tar', ['-xzf', join(folder, tarball), '-C', target, '--strip-components=1'])
  return readdirSync(target, { recursive: true, encoding: 'utf8' })
}

/** Links installed packages into node_modules: the test needs no network. */
function link(dependencies: readonly string[], from?: string): void {
  for (const dependency of dependencies) {
    const path = join(modules, dependency)
    if (existsSync(path)) continue
    mkdirSync(dirname(path), { recursive: true })
    const nested = join(root, from ?? '', 'node_modules', dependency)
    symlinkSync(from !== undefined && existsSync(nested) ? nested : join(root, 'node_modules', dependency), path)
  }
}

/** Links the dependencies of a package that are no packages of the workspace. */
function linkDependencies(name: string): void {
  const manifest = JSON.parse(readFileSync(join(modules, '@chorus', name, 'package.json'), 'utf8')) as Manifest
  const dependencies = Object.keys(manifest.dependencies ?? {}).filter(
    (dependency) => !dependency.startsWith('@chorus/'),
  )
  link(dependencies, `packages/${name}`)
}

/** Creates an empty project that finds the installed packages. Returns its folder. */
function createProject(name: string, manifest: object, texts: Readonly<Record<string, string>>): string {
  const project = join(folder, name)
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name, private: true, ...manifest }))
  for (const [file, text] of Object.entries(texts)) writeFileSync(join(project, file), text)
  return project
}

/** Returns the example of a document that begins with the name of its file in a comment. */
function readExample(document: string, file: string): string {
  const parts = readFileSync(join(root, document), 'utf8').split(/^```\w*\n/m)
  const example = parts.find((text) => text.startsWith(`// ${file}\n`))
  if (example === undefined) throw new Error(`unable to find ${file} in ${document}`)
  return example
}

const packages = ['protocol', 'client', 'react', 'backend', 'server']
const files = new Map<string, string[]>()

beforeAll(() => {
  for (const name of packages) files.set(name, install(name))
}, 300_000)

afterAll(() => removeTempDir(folder))

it.each(packages)('the published package %s has a README, but no tests and no fixtures', (name) => {
  const packed = files.get(name) ?? []
  expect(packed).toContain('README.md')
  expect(packed).toContain('package.json')
  expect(packed.filter((path) => /[.](test|suite)[.]tsx?$|(^|\/)testing(\/|$)/.test(path))).toEqual([])
})

it('the published server serves the web page and the API from an empty folder', async () => {
  linkDependencies('protocol')
  linkDependencies('server')
  const command = join(modules, '@chorus/server/bin/chorus.js')
  const logs = new LogLines()
  const child = spawnTracked(process.execPath, [command], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOST: '127.0.0.1', PORT: '0', DATA_DIR: join(folder, 'data') },
  })
  try {
    for (const stream of [child.stdout, child.stderr]) if (stream) logs.follow(stream)
    const [, url] = await logs.waitFor(/listening on (http:\/\/[^\s"]+)/, child, 60_000)
    const page = await fetch(new URL('/', url))
    expect(page.status).toBe(200)
    const html = await page.text()
    const [, script] = /<script[^>]+src="([^"]+)"/.exec(html) ?? []
    expect(script).toBeDefined()
    expect((await fetch(new URL(script!, url))).status).toBe(200)
    expect((await fetch(new URL('/v1/session', url))).status).toBe(401)
  } finally {
    child.kill('SIGTERM')
    expect(await whenExited(child)).toEqual({ code: 0, signal: null })
  }
})

describe('the published backend package', () => {
  beforeAll(() => {
    linkDependencies('protocol')
    linkDependencies('backend')
  })

  it('posts from a transaction in a plain ES module', () => {
    link(['@electric-sql/pglite'], 'packages/server')
    const project = createProject('plain-esm', { type: 'module' }, { 'main.js': outboxProgram })
    const output = execFileSync(process.execPath, ['main.js'], { cwd: project, encoding: 'utf8', timeout: 50_000 })
    expect(JSON.parse(output)).toEqual({
      path: '/v1/admin/conversations/0198c0de-0000-7000-8000-000000000001/messages',
      text: 'paid',
    })
  })

  it('runs the Express example by require, without a warning', async () => {
    link(['express'], 'tests')
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
    const project = createProject('express-cjs', {}, { 'server.cjs': readExample('docs/embedding.md', 'server.cjs') })
    const logs = new LogLines()
    const child = spawnTracked(process.execPath, ['server.cjs'], {
      cwd: project,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        PORT: '0',
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

  it('has types for ES modules and for CommonJS', () => {
    link(['@electric-sql/pglite'], 'packages/server')
    link(['pg', '@types/pg', '@types/node', 'typescript'])
    const compilerOptions = { module: 'nodenext', target: 'es2023', strict: true, noEmit: true, types: ['node'] }
    const project = createProject(
      'types',
      {},
      {
        'tsconfig.json': JSON.stringify({ compilerOptions: { ...compilerOptions, skipLibCheck: true } }),
        'esm.mts': typedProgram,
        'commonjs.cts': typedProgram,
      },
    )
    const { stdout } = spawnSync(process.execPath, [join(modules, 'typescript/bin/tsc'), '-p', project], {
      encoding: 'utf8',
    })
    expect(stdout).toBe('')
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
`
