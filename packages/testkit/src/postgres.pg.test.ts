/**
 * Tests the testkit's own Postgres: it keeps its data after SIGKILL, and ends with the test run.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { hasPostgres, startPostgres } from './postgres.ts'
import { waitForFact } from './wait-for-fact.ts'

describe.skipIf(!hasPostgres())('startPostgres', () => {
  it('a test Postgres keeps the committed rows of each database after SIGKILL', async () => {
    const postgres = await startPostgres()
    try {
      const [first, second] = await Promise.all([postgres.createDatabase(), postgres.createDatabase()])
      expect(first).not.toBe(second)
      await postgres.query('create table kept (value int)', [], first)
      await postgres.query('insert into kept values ($1)', [7], first)

      await postgres.kill9()
      await expect(postgres.query('select 1')).rejects.toThrow()
      await postgres.start()

      expect(await postgres.query('select value from kept', [], first)).toEqual([{ value: 7 }])
      await expect(postgres.query('select value from kept', [], second)).rejects.toThrow(/does not exist/)
      await postgres.restart('immediate')
      expect(await postgres.query('show fsync')).toEqual([{ fsync: 'on' }])
    } finally {
      await postgres.remove()
    }
    expect(existsSync(postgres.dataDir)).toBe(false)
  })
})

describe('the reaper, which cleans up after killed test runs', () => {
  it('the reaper ends processes and removes folders of a killed test run', async () => {
    const reaper = new URL('../reaper.mjs', import.meta.url).pathname
    // Simulates a test run: it starts a sleeper, registers it, and is then killed with SIGKILL.
    const run = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { spawn } from 'node:child_process'
         import { mkdtempSync, readFileSync } from 'node:fs'
         const reaper = spawn(process.execPath, [${JSON.stringify(reaper)}], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
         const sleeper = spawn('sleep', ['300'], { stdio: 'ignore' })
         const stat = readFileSync('/proc/' + sleeper.pid + '/stat', 'utf8')
         const folder = mkdtempSync('/tmp/chorus-reaper-')
         reaper.stdin.write('+pid ' + sleeper.pid + ' ' + stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] + '\\n')
         reaper.stdin.write('+dir ' + folder + '\\n', () => console.log(sleeper.pid + ' ' + folder))
         setInterval(() => undefined, 1000)`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const line = await new Promise<string>((resolve) => createInterface({ input: run.stdout }).once('line', resolve))
    const [pid = '', folder = ''] = line.split(' ')
    expect(isRunning(pid)).toBe(true)
    run.kill('SIGKILL')
    await waitForFact(() => !isRunning(pid) && !existsSync(folder), { what: 'the end of the sleeper and its folder' })
  })
})

function isRunning(pid: string): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.at(stat.lastIndexOf(')') + 2) !== 'Z'
  } catch {
    return false
  }
}
