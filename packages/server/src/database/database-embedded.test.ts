/**
 * Tests the embedded database engine: its data survives a close and a kill, and damaged files give
 * a one-line error.
 */
import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Id } from '@chorus/protocol'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openEmbeddedDatabase } from './database-embedded.ts'
import { migrate } from './migrate.ts'
import { LogFixture, openLog } from './testing/log-fixture.ts'

const built = new URL('../../dist/', import.meta.url)

/**
 * Folder of a database that has been started once. Each test copies it, because creating one takes
 * seconds.
 */
let made: string
let folder: string
beforeAll(async () => {
  made = mkdtempSync(join(tmpdir(), 'chorus-embedded-made-'))
  folder = made
  await withDatabase(async () => undefined)
}, 60_000)
afterAll(() => rmSync(made, { recursive: true, force: true }))
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'chorus-embedded-'))
  cpSync(made, folder, { recursive: true })
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function withDatabase<T>(use: (fixture: LogFixture) => Promise<T>): Promise<T> {
  const database = await openEmbeddedDatabase(folder)
  try {
    await migrate(database)
    return await use(new LogFixture(database))
  } finally {
    await database.close()
  }
}

describe('the embedded database', { timeout: 60_000 }, () => {
  it('the embedded database keeps its data and its epoch after a close', async () => {
    const [epoch, group] = await withDatabase(async (fixture) => {
      const ada = await fixture.user()
      const made = await fixture.group([ada])
      await fixture.send(made, ada, 'kept')
      return [await fixture.database.epoch(), made] as const
    })
    await withDatabase(async (fixture) => {
      expect(await fixture.database.epoch()).toBe(epoch)
      expect(await fixture.seqs(group)).toEqual([1, 2, 3])
    })
  })

  it('refuses to open a database folder twice; the open database keeps working', async () => {
    await withDatabase(async (fixture) => {
      await expect(openEmbeddedDatabase(folder)).rejects.toThrow(/^unable to open the data directory .* is using it/)
      expect(await fixture.sql('select 1 as one')).toEqual([{ one: 1 }])
    })
  })

  it('[ACK2] refuses an append in time while a long read blocks it, and recovers', async () => {
    await withDatabase(async (fixture) => {
      const ada = await fixture.user()
      const group = await fixture.group([ada])
      const impatient = new LogFixture(
        fixture.database,
        openLog(fixture.database, undefined, () => performance.now()),
      )
      const reading = fixture.sql('select pg_sleep(2.5)')
      const startedAtMs = performance.now()
      await expect(impatient.send(group, ada, 'waits')).rejects.toMatchObject({ retry: 'later' })
      expect(performance.now() - startedAtMs).toBeLessThan(2_000)
      await reading
      const { outcome } = await fixture.send(group, ada, 'goes on')
      expect(outcome).toBe('stored')
    })
  })

  it.each([
    ['the version file holds something else', (path: string) => writeFileSync(join(path, 'PG_VERSION'), 'nonsense\n')],
    ['the control file is gone', (path: string) => rmSync(join(path, 'global/pg_control'))],
    [
      'the log of writes is gone',
      (path: string) =>
        readdirSync(join(path, 'pg_wal')).forEach((name) => rmSync(join(path, 'pg_wal', name), { recursive: true })),
    ],
    ['the control file is cut', (path: string) => writeFileSync(join(path, 'global/pg_control'), 'x')],
  ])('reports in one line that the database cannot be opened: %s', async (_what, damage) => {
    damage(join(folder, 'postgres'))
    const error = await openEmbeddedDatabase(folder).then(
      async (database) => {
        await database.close()
        return undefined
      },
      (thrown: Error) => thrown,
    )
    expect(error?.message).toMatch(
      /^unable to open the embedded database in .*; .*: restore a backup or set another DATA_DIR$/,
    )
    expect(error?.message).not.toContain('\n')
    // The directory lock was released: the next attempt gives the same error.
    await expect(openEmbeddedDatabase(folder)).rejects.toThrow(/^unable to open the embedded database/)
  })

  it.runIf(existsSync(new URL('log/change-log.js', built)))(
    '[ACK1] keeps every acknowledged change when the process is killed',
    async () => {
      const [ada, group] = await withDatabase(async (fixture) => {
        const user = await fixture.user()
        return [user, await fixture.group([user])] as [Id, Id]
      })
      const acknowledged = new Map<number, string>()
      for (let round = 0; round < 4; round++) {
        await writeUntilKilled(folder, group, ada, 40 + round * 60, acknowledged)
        await withDatabase(async (fixture) => {
          const rows = await fixture.sql<{ seq: number; client_id: string }>(
            'select seq, client_id from changes where conversation = $1 and client_id is not null order by seq',
            [group],
          )
          const stored = new Map(rows.map(({ seq, client_id }) => [seq, client_id]))
          for (const [seq, clientId] of acknowledged) expect(stored.get(seq)).toBe(clientId)
          const seqs = await fixture.seqs(group)
          expect(seqs).toEqual(seqs.map((_, index) => index + 1))
        })
      }
      expect(acknowledged.size).toBeGreaterThan(160)
    },
    60_000,
  )
})

/** Runs a process that writes as fast as it can, and kills it after `count` acknowledged writes. */
async function writeUntilKilled(
  directory: string,
  group: Id,
  user: Id,
  count: number,
  acknowledged: Map<number, string>,
): Promise<void> {
  const href = (path: string): string => JSON.stringify(new URL(path, built).href)
  // Write the script to a file: with a script on the command line, the engine's thread would
  // inherit Node's flags for it.
  const file = `${directory}.mjs`
  writeFileSync(
    file,
    `import { randomUUID } from 'node:crypto'
       import { writeSync } from 'node:fs'
       import { openEmbeddedDatabase } from ${href('database/database-embedded.js')}
       import { ChangeLog } from ${href('log/change-log.js')}
       const database = await openEmbeddedDatabase(${JSON.stringify(directory)})
       const observer = { batchCommitted() {}, batchFailed() {} }
       const log = new ChangeLog(database, observer, () => performance.now())
       const write = async () => {
         for (;;) {
           const clientId = randomUUID()
           const row = { conversation: ${JSON.stringify(group)}, actor: ${JSON.stringify(user)}, clientId, text: 'x', replyTo: null, data: null }
           const { seq } = await log.append(row)
           writeSync(1, seq + ' ' + clientId + '\\n')
         }
       }
       for (let writer = 0; writer < 8; writer++) void write()`,
  )
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  let seen = 0
  for await (const line of createInterface({ input: child.stdout })) {
    const [seq, clientId] = line.split(' ')
    if (clientId?.length !== 36) continue
    acknowledged.set(Number(seq), clientId)
    if (++seen === count) child.kill('SIGKILL')
  }
  await ended
  rmSync(file)
}
