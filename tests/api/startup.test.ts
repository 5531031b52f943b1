/**
 * Starts that must fail. The process prints one line on stderr that names the problem, never
 * reports that it is listening, and exits with a status other than zero.
 */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import {
  findFreePort,
  hasPostgres,
  HttpUser,
  makeTempDir,
  runFailingServer,
  startServer,
  usePostgres,
} from '@chorus/testkit'
import type { FailedStart } from '@chorus/testkit'
import { describe, expect, it } from 'vitest'

function expectOneLine({ code, signal, stderr, stdout }: FailedStart, pattern: RegExp): void {
  expect(stderr, stdout.join('\n')).toHaveLength(1)
  expect(stderr[0]).toMatch(pattern)
  expect(stdout.join('\n')).not.toContain('listening on')
  expect(signal).toBeNull()
  expect(code).toBeGreaterThan(0)
}

/**
 * Returns the settings for a fresh database. The failures under test come after the database has
 * been opened, so use Postgres if there is one: it opens faster than the embedded database.
 */
async function quickDatabase(): Promise<Readonly<Record<string, string>>> {
  return hasPostgres() ? { DATABASE_URL: await (await usePostgres()).createDatabase() } : {}
}

// The unit tests of config.ts cover every value of every variable. These tests cover what the
// process prints.
describe('a start with a wrong setting', () => {
  it.each([
    ['PORT', 'http', /PORT is "http"; expected a port/],
    ['DATABASE_URL', 'mysql://user:hunter2@localhost/x', /DATABASE_URL .*expected postgres:/],
    ['REDIS_URL', 'redis://127.0.0.1:6379', /REDIS_URL .*DATABASE_URL/],
    ['REDIS_SUBSCRIBE_URL', 'redis://127.0.0.1:6379', /REDIS_SUBSCRIBE_URL .*REDIS_URL/],
    ['PUBLIC_URL', 'chat.example', /PUBLIC_URL is "chat.example"; expected/],
    ['ALLOWED_ORIGINS', '*', /ALLOWED_ORIGINS is "\*"; expected/],
    ['SIGN_UP', 'maybe', /SIGN_UP is "maybe"; expected open or closed/],
    ['LIMIT_SENDS', 'many', /LIMIT_SENDS is "many"; expected/],
  ])(
    'a start with %s=%s prints one line with the variable, its value and what is expected',
    async (variable, value, pattern) => {
      const failed = await runFailingServer({ [variable]: value })
      expectOneLine(failed, pattern)
      expect(failed.stderr[0]).not.toContain('hunter2')
    },
  )
})

describe('a start with a busy port', () => {
  it('a start prints one line that names a busy PORT or METRICS_PORT', async () => {
    const busy = createServer()
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', () => resolve()))
    const port = String((busy.address() as AddressInfo).port)
    const database = await quickDatabase()
    const first = await runFailingServer({ ...database, PORT: port })
    const second = await runFailingServer({ ...database, METRICS_PORT: port })
    expectOneLine(first, new RegExp(`unable to listen on PORT ${port}.*taken`))
    expectOneLine(second, new RegExp(`unable to listen on METRICS_PORT ${port}.*taken`))
    busy.close()
  })
})

describe('a start with a data directory', () => {
  it('[ACK1] a start refuses a data directory in use or damaged, but not after a crash', async () => {
    const server = await startServer()
    try {
      const ada = await HttpUser.signUp(() => server.url)
      const conversation = await ada.createConversation('group', [], 'before')
      expectOneLine(
        await runFailingServer({ DATA_DIR: server.dataDir }),
        new RegExp(`unable to open the data directory .* pid ${server.pid} `),
      )
      const { seq } = await ada.send(conversation, 'the first goes on')
      await server.restart()
      await ada.expect(200, 'GET', `/v1/conversations/${conversation}/messages/${seq}`)

      // A truncated and an overwritten control file of the database. For each, the server prints
      // one line. It never repairs damage by deleting user data.
      await server.kill9()
      const control = findFile(server.dataDir, 'pg_control')
      const intact = readFileSync(control)
      truncateSync(control, 100)
      expectOneLine(await runFailingServer({ DATA_DIR: server.dataDir }), /unable to (open|start|use).*/)
      writeFileSync(control, Buffer.alloc(intact.length, 0x5a))
      expectOneLine(await runFailingServer({ DATA_DIR: server.dataDir }), /unable to (open|start|use).*/)
      writeFileSync(control, intact)
      await server.start()
      await ada.expect(200, 'GET', `/v1/conversations/${conversation}/messages/${seq}`)
    } finally {
      await server.remove()
    }
  })

  it('a start refuses a data directory that is a file or is below a file', async () => {
    const file = join(makeTempDir('not-a-folder'), 'file')
    writeFileSync(file, 'hello')
    const [itself, below] = await Promise.all([
      runFailingServer({ DATA_DIR: file }),
      runFailingServer({ DATA_DIR: join(file, 'data') }),
    ])
    expectOneLine(itself, /unable to .*file/)
    expectOneLine(below, /unable to .*file/)
    expect(readFileSync(file, 'utf8')).toBe('hello')
  })
})

function findFile(folder: string, name: string): string {
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.name === name) return join(entry.parentPath, entry.name)
  }
  throw new Error(`unable to find ${name} in ${folder}`)
}

describe('a start with an unusable database', () => {
  it('a start refuses an unreachable database, and prints no password', async () => {
    const port = await findFreePort()
    const failed = await runFailingServer({ DATABASE_URL: `postgres://chorus:hunter2@127.0.0.1:${port}/chorus` })
    expectOneLine(failed, /unable to reach the database that DATABASE_URL names; .*ECONNREFUSED/)
    expect(failed.stderr[0]).not.toContain('hunter2')
  })

  it('a start refuses a database that accepts connections but never responds', async () => {
    const sockets: Socket[] = []
    const silent = createServer((socket) => sockets.push(socket))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', () => resolve()))
    const { port } = silent.address() as AddressInfo
    expectOneLine(
      await runFailingServer({ DATABASE_URL: `postgres://x@127.0.0.1:${port}/x` }, 15_000),
      /unable to reach the database that DATABASE_URL names/,
    )
    for (const socket of sockets) socket.destroy()
    silent.close()
  })

  it('a start refuses a database older than Postgres 15', async () => {
    const old = createServer((socket) => answerAsOldPostgres(socket))
    await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', () => resolve()))
    const { port } = old.address() as AddressInfo
    expectOneLine(
      await runFailingServer({ DATABASE_URL: `postgres://x@127.0.0.1:${port}/x` }),
      /unable to use the database; it is Postgres 14.*15 or later/,
    )
    old.close()
  })

  it.skipIf(!hasPostgres())('a start refuses a missing database and an unknown database user', async () => {
    const databases = await usePostgres()
    const missing = new URL(databases.url)
    missing.pathname = '/no_such_database'
    expectOneLine(
      await runFailingServer({ DATABASE_URL: missing.href }),
      /unable to reach the database that DATABASE_URL names; .*no_such_database/,
    )
    const nobody = new URL(databases.url)
    nobody.username = 'no_such_user'
    expectOneLine(
      await runFailingServer({ DATABASE_URL: nobody.href }),
      /unable to reach the database that DATABASE_URL names; .*no_such_user/,
    )
  })
})

/** Speaks just enough of the Postgres protocol to report that the database is version 14. */
function answerAsOldPostgres(socket: Socket): void {
  const packet = (type: string, body: Buffer): Buffer => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(body.length + 4)
    return Buffer.concat([Buffer.from(type), length, body])
  }
  const ready = packet('Z', Buffer.from('I'))
  const column = (name: string, type: number): Buffer => {
    const facts = Buffer.alloc(18)
    facts.writeInt32BE(type, 6)
    facts.writeInt16BE(4, 10)
    facts.writeInt32BE(-1, 12)
    return Buffer.concat([Buffer.from(`${name}\0`), facts])
  }
  const value = (text: string): Buffer => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(text.length)
    return Buffer.concat([length, Buffer.from(text)])
  }
  const count = Buffer.from([0, 2])
  let isOpen = false
  socket.on('error', () => undefined)
  socket.on('data', (data) => {
    if (!isOpen) {
      isOpen = true
      socket.write(Buffer.concat([packet('R', Buffer.alloc(4)), ready]))
    } else if (data.includes('server_version_num')) {
      socket.write(
        Buffer.concat([
          packet('1', Buffer.alloc(0)),
          packet('2', Buffer.alloc(0)),
          packet('T', Buffer.concat([count, column('version', 23), column('replica', 16)])),
          packet('D', Buffer.concat([count, value('140012'), value('f')])),
          packet('C', Buffer.from('SELECT 1\0')),
          ready,
        ]),
      )
    } else if (data[0] === 0x58) socket.end()
  })
}
