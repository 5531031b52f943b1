/**
 * The command `npm run webhooks`, run as an operator runs it, on both databases, including its
 * error messages.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { hasPostgres, makeTempDir, removeTempDir, startServer, usePostgres } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'

const entry = fileURLToPath(new URL('../../packages/server/dist/webhooks-command.js', import.meta.url))

interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

let dataDir: string
/**
 * URL of a Postgres database, if there is a Postgres. It makes most tests fast: the embedded
 * database takes seconds to open for each command.
 */
let databaseUrl: string | undefined
beforeAll(async () => {
  dataDir = makeTempDir('webhooks')
  databaseUrl = hasPostgres() ? await (await usePostgres()).createDatabase() : undefined
})
afterAll(() => removeTempDir(dataDir))

function run(...args: string[]): Promise<Ended> {
  return runOn(databaseUrl === undefined ? { DATA_DIR: dataDir } : { DATABASE_URL: databaseUrl }, args)
}

function runOn(env: Record<string, string>, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [entry, ...args],
      { env: { PATH: process.env.PATH, ...env }, timeout: 25_000 },
      (error, stdout, stderr) =>
        resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr }),
    )
  })
}

it('npm run webhooks adds, lists, rotates, disables and removes an endpoint', async () => {
  const added = await run('add', 'http://127.0.0.1:9/hook', '--types', 'message.created,message.edited')
  expect(added).toMatchObject({ status: 0, stderr: '' })
  const [, id = '', secret = ''] = /^added (\S+)\nsecret (whsec_\S+)\n$/.exec(added.stdout) ?? []
  expect(Buffer.from(secret.slice('whsec_'.length), 'base64')).toHaveLength(32)

  const listed = await run('list')
  expect(listed.stdout).toBe(`${id}  http://127.0.0.1:9/hook  message.created,message.edited  enabled  0 due  0 dead\n`)
  expect(listed.stdout).not.toContain('whsec_')
  const rotated = await run('rotate', id)
  expect(rotated.stdout).toMatch(/^secret whsec_\S+\nboth secrets sign until: npm run webhooks -- rotate \S+ --end\n$/)
  expect(rotated.stdout).not.toContain(secret)
  expect((await run('disable', id)).stdout).toBe(`disabled ${id}\n`)
  expect((await run('list')).stdout).toContain('disabled (disabled by an operator)')
  expect((await run('dead-letters')).stdout).toBe('no dead letters\n')
  expect((await run('replay', id, '--since', '2026-01-01T00:00:00Z')).stdout).toBe('due again: 0\n')
  expect((await run('remove', id)).stdout).toBe(`removed ${id}\n`)
  expect(await run('enable', id)).toMatchObject({ status: 1, stderr: `unable to enable; there is no endpoint ${id}\n` })
}, 120_000)

it.each([
  [['add', 'ftp://example.org'], 'unable to add; expected an address like https://example.org/hook'],
  [['add', 'https://user:secret@example.org'], 'unable to add; the address contains a password'],
  [['add', 'https://example.org/hook#part'], 'unable to add; the address contains a fragment'],
  [['add', 'https://example.org:0/'], 'unable to add; port 0 is not a valid port'],
  [['add', `https://example.org/${'x'.repeat(2_100)}`], 'unable to add; the address is longer than 2048 characters'],
  [['add', 'javascript:alert(1)'], 'unable to add; expected an address like https://example.org/hook'],
  [
    ['add', 'https://example.org', '--types', 'message.seen'],
    'unable to add; "message.seen" is not a type; expected message',
  ],
  [['add', 'https://example.org', '--type', 'message.created'], 'unable to add; --type is unknown'],
  [['remove', 'x'], 'unable to remove; "x" is not the id of an endpoint'],
  [['replay', '01a201f9-c37b-729b-86b8-9acb2b390bf9'], 'unable to replay; expected --from'],
  [['replay', '01a201f9-c37b-729b-86b8-9acb2b390bf9', '--since', 'yesterday'], '"yesterday" is not a time like'],
  [['fly'], 'unable to fly; the action is unknown'],
])('npm run webhooks refuses %j', async (args, reason) => {
  const { status, stdout, stderr } = await run(...args)
  expect(status).toBe(1)
  expect(stdout).toBe('')
  expect(stderr).toContain(reason)
})

it('npm run webhooks works through the server that uses an embedded database', async () => {
  const server = await startServer({ dataDir })
  const inDataDir = (...args: string[]): Promise<Ended> => runOn({ DATA_DIR: dataDir }, args)
  try {
    const added = await inDataDir('add', 'http://127.0.0.1:9/hook')
    expect(added).toMatchObject({ status: 0, stderr: '' })
    expect((await inDataDir('list')).stdout).toContain('http://127.0.0.1:9/hook  all types  enabled')
    expect(await inDataDir('remove', '01a201f9-c37b-729b-86b8-9acb2b390bf9')).toMatchObject({
      status: 1,
      stderr: 'unable to remove; there is no endpoint 01a201f9-c37b-729b-86b8-9acb2b390bf9\n',
    })
    await server.stop()
    expect((await inDataDir('list')).stdout).toContain('http://127.0.0.1:9/hook')
  } finally {
    await server.remove()
  }
}, 120_000)
