/**
 * Tests a real pgbouncer between the server and Postgres. The server works with it in session mode;
 * in other modes it refuses to start.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openPostgresDatabase, poolMax } from './database-postgres.ts'
import { migrate } from './migrate.ts'
import { openTestDatabase, type TestDatabase, testEngines } from './testing/open-test-database.ts'

const program = '/usr/sbin/pgbouncer'

describe.runIf(testEngines.includes('postgres') && existsSync(program))(
  'a pooler such as pgbouncer before Postgres',
  () => {
    let store: TestDatabase
    const running: { child: ChildProcess; folder: string }[] = []
    beforeAll(async () => {
      store = await openTestDatabase('postgres')
    })
    afterAll(async () => {
      for (const { child, folder } of running) {
        const ended = new Promise((resolve) => child.once('exit', resolve))
        if (child.exitCode === null && child.kill('SIGKILL')) await ended
        await rm(folder, { recursive: true, force: true })
      }
      await store.close()
    })

    /** Starts a new pgbouncer and returns the address of the test database behind it. */
    async function startPooler(mode: 'session' | 'transaction' | 'statement', settings = ''): Promise<string> {
      const folder = await mkdtemp(join(tmpdir(), 'chorus-pooler-'))
      await chmod(folder, 0o755)
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      await new Promise((resolve) => server.close(resolve))
      const url = new URL(store.url ?? '')
      const name = url.pathname.slice(1)
      const file = join(folder, 'pgbouncer.ini')
      await writeFile(
        file,
        `[databases]
${name} = host=${url.hostname} port=${url.port} dbname=${name} user=${url.username}${url.password === '' ? '' : ` password=${url.password}`}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
${settings}
`,
      )
      // pgbouncer refuses to run as root.
      const child = spawn(program, process.getuid?.() === 0 ? ['-u', 'nobody', file] : [file], { stdio: 'ignore' })
      running.push({ child, folder })
      await vi.waitFor(
        () =>
          new Promise<void>((resolve, reject) => {
            const socket = connect(port, '127.0.0.1', () => {
              socket.destroy()
              resolve()
            })
            socket.on('error', reject)
          }),
        { timeout: 10_000 },
      )
      url.host = `127.0.0.1:${port}`
      return url.href
    }

    it('[DB1] the server works behind pgbouncer in session mode, with every setting applied', async () => {
      const database = await openPostgresDatabase({
        url: await startPooler('session'),
        applicationName: 'chorus-pooled',
      })
      try {
        await migrate(database)
        expect(await database.epoch()).toBe(await store.database.epoch())
        const shown = `select current_setting('synchronous_commit') as commits, current_setting('jit') as jit`
        for (const pool of ['vital', 'browse', 'search'] as const) {
          const many = Array.from({ length: poolMax[pool] }, () => database.query({ name: 'shown', text: shown, pool }))
          for (const rows of await Promise.all(many)) expect(rows).toEqual([{ commits: 'on', jit: 'off' }])
        }
        expect(await database.lane(0).run({ text: shown }, 1_500)).toEqual([{ commits: 'on', jit: 'off' }])
      } finally {
        await database.close()
      }
    })

    it.each([
      ['transaction', ''],
      ['transaction', 'default_pool_size = 1'],
      ['transaction', 'server_round_robin = 1'],
      ['statement', ''],
    ] as const)('[DB1] refuses to start behind pgbouncer in %s mode (%s)', async (mode, settings) => {
      const url = await startPooler(mode, settings)
      await expect(openPostgresDatabase({ url, applicationName: 'chorus-pooled' })).rejects.toThrow(
        /^unable to use the database; the pooler that DATABASE_URL names shares connections between transactions: set its pool_mode to session, or name Postgres itself$/,
      )
    })
  },
)
