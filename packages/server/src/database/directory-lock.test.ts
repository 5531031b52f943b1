/**
 * Tests the lock of a data directory: it is refused while its holder lives, and only one process
 * takes it over from a dead holder.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lockDirectory } from './directory-lock.ts'

/**
 * Built file of the lock, for the processes that the tests start: they cannot load the TypeScript
 * source.
 */
const built = new URL('../../dist/database/directory-lock.js', import.meta.url)

let folder: string
const children: ChildProcess[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'chorus-lock-'))
})
afterEach(async () => {
  await Promise.all(children.splice(0).map(end))
  rmSync(folder, { recursive: true, force: true })
})

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

/** Takes the lock in a separate process. Resolves with its output: `held` or the error message. */
async function lockElsewhere(wrapper: readonly string[] = []): Promise<{ child: ChildProcess; says: string }> {
  const [program = process.execPath, ...words] = [...wrapper, process.execPath]
  const child = spawn(
    program,
    [
      ...words,
      '--input-type=module',
      '-e',
      `import { lockDirectory } from ${JSON.stringify(pathToFileURL(built.pathname).href)}
       process.stdin.once('data', () => {
         lockDirectory(${JSON.stringify(folder)}).then(() => console.log('held'), (error) => console.log(error.message))
       })
       console.log('ready')`,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  await lines.next()
  child.stdin.write('go\n')
  return { child, says: String((await lines.next()).value) }
}

const current = (): string =>
  join(
    folder,
    readdirSync(folder)
      .filter((name) => /^lock\.\d+$/.test(name))
      .sort()
      .at(-1) ?? '',
  )

/** Whether this machine allows a test to create new namespaces. */
const canUnshare = spawnSync('unshare', ['--pid', '--net', '--mount-proc', '--fork', 'true']).status === 0

describe('the lock of a data directory', () => {
  it('[LOCK1] refuses a second lock in the same process until the first is released', async () => {
    const lock = await lockDirectory(folder)
    await expect(lockDirectory(folder)).rejects.toThrow(
      new RegExp(
        `^unable to open the data directory .*; the server with pid ${process.pid} is using it: stop it or set another DATA_DIR$`,
      ),
    )
    lock.release()
    const again = await lockDirectory(folder)
    again.release()
    expect(readdirSync(folder)).toEqual(['lock.2'])
  })

  it.runIf(existsSync(built))('refuses the lock to another process until its holder is killed', async () => {
    const first = await lockElsewhere()
    expect(first.says).toBe('held')
    const second = await lockElsewhere()
    expect(second.says).toContain(`the server with pid ${first.child.pid} is using it`)
    await expect(lockDirectory(folder)).rejects.toThrow(/is using it/)
    const before = readFileSync(current(), 'utf8')
    // The first process still holds the lock.
    expect(JSON.parse(before)).toMatchObject({ pid: first.child.pid })
    await end(first.child)
    const lock = await lockDirectory(folder)
    expect(JSON.parse(readFileSync(current(), 'utf8'))).toMatchObject({ pid: process.pid })
    lock.release()
  })

  it.runIf(existsSync(built))(
    'lets only one of many processes take over from a dead holder',
    async () => {
      for (let round = 0; round < 3; round++) {
        writeFileSync(
          join(folder, `lock.${round * 100 + 50}`),
          JSON.stringify({ pid: 999_999_999, bootId: 'x', startTime: '1' }),
        )
        const all = await Promise.all(Array.from({ length: 5 }, () => lockElsewhere()))
        expect(all.filter(({ says }) => says === 'held')).toHaveLength(1)
        for (const { says } of all) if (says !== 'held') expect(says).toMatch(/^unable to open the data directory/)
        await Promise.all(all.map(({ child }) => end(child)))
      }
      expect(readdirSync(folder).filter((name) => name.startsWith('lock-draft'))).toEqual([])
    },
    30_000,
  )

  it('treats reused pids and unreadable lock files as dead holders', async () => {
    const self = { pid: process.pid, bootId: 'before', startTime: '1' }
    const parent = { pid: process.ppid, bootId: 'any', startTime: '1' }
    for (const [index, holder] of [self, parent, { pid: 0 }, { pid: -1 }].entries()) {
      writeFileSync(join(folder, `lock.${index * 10 + 1}`), JSON.stringify(holder))
      ;(await lockDirectory(folder)).release()
    }
    writeFileSync(join(folder, 'lock.99'), 'no json')
    ;(await lockDirectory(folder)).release()
    // The numbers of lock files never go back, and lower lock files are removed.
    expect(readdirSync(folder)).toEqual(['lock.100'])
  })

  it('treats a zombie process as a dead holder of the lock', async () => {
    // The shell starts a child, then becomes a program that never waits for it. So the killed child
    // remains a zombie.
    const shell = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] })
    children.push(shell)
    const pid = Number((await createInterface({ input: shell.stdout })[Symbol.asyncIterator]().next()).value)
    const statOf = (): string => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      return stat.slice(stat.lastIndexOf(')') + 2)
    }
    while (readFileSync(`/proc/${shell.pid}/comm`, 'utf8').trim() !== 'sleep')
      await new Promise((resolve) => setTimeout(resolve, 5))
    process.kill(pid, 'SIGKILL')
    while (!statOf().startsWith('Z')) await new Promise((resolve) => setTimeout(resolve, 5))
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    writeFileSync(join(folder, 'lock.7'), JSON.stringify({ pid, bootId, startTime: statOf().split(' ')[19] }))
    ;(await lockDirectory(folder)).release()
    expect(readdirSync(folder)).toEqual(['lock.8'])
  })

  it.runIf(existsSync(built) && canUnshare)(
    '[LOCK1] refuses the lock in other namespaces, where both processes have pid 1',
    async () => {
      const container = ['unshare', '--pid', '--net', '--mount-proc', '--fork', '--kill-child']
      const first = await lockElsewhere(container)
      expect(first.says).toBe('held')
      const before = readFileSync(current(), 'utf8')
      expect(JSON.parse(before)).toMatchObject({ pid: 1 })
      for (const wrapper of [container, []]) {
        const second = await lockElsewhere(wrapper)
        expect(second.says).toMatch(
          /^unable to open the data directory .*is using it: stop it or set another DATA_DIR$/,
        )
        await end(second.child)
      }
      // The first process still holds the lock. Its death frees the directory at once.
      expect(readFileSync(current(), 'utf8')).toBe(before)
      await end(first.child)
      const next = await lockElsewhere(container)
      expect(next.says).toBe('held')
      await end(next.child)
    },
    30_000,
  )

  it("[LOCK1] refuses the lock while the holder's socket listens, whatever pid the lock file names", async () => {
    const lock = await lockDirectory(folder)
    const held = JSON.parse(readFileSync(current(), 'utf8')) as object
    for (const pid of [1, 999_999_999, process.pid]) {
      // Replace the holder's pid in the lock file: seen from another pid namespace, it belongs to
      // no process or to another one.
      writeFileSync(current(), JSON.stringify({ ...held, pid, startTime: '1' }))
      if (existsSync(built)) expect((await lockElsewhere()).says).toContain('is using it')
    }
    lock.release()
    ;(await lockDirectory(folder)).release()
  })

  it.runIf(existsSync(built))('[LOCK1] refuses the lock of a suspended holder until it is killed', async () => {
    const first = await lockElsewhere()
    first.child.kill('SIGSTOP')
    await expect(lockDirectory(folder)).rejects.toThrow(/is using it/)
    await end(first.child)
    // The socket file is still there, but no process listens on it.
    expect(readdirSync(folder).some((name) => name.endsWith('.sock'))).toBe(true)
    const lock = await lockDirectory(folder)
    expect(readdirSync(folder).filter((name) => name.endsWith('.sock'))).toHaveLength(1)
    lock.release()
  })

  it('[LOCK1] locks a directory whose path is too long for a socket', async () => {
    const deep = join(folder, 'x'.repeat(120), 'y'.repeat(120))
    const lock = await lockDirectory(deep)
    const name = readdirSync(deep).find((entry) => entry.endsWith('.sock')) ?? ''
    expect(statSync(join(deep, name)).isSocket()).toBe(true)
    expect(statSync(join(deep, name)).mode & 0o777).toBe(0o600)
    if (existsSync(built)) {
      folder = deep
      expect((await lockElsewhere()).says).toContain('is using it')
      folder = join(deep, '../..')
    }
    lock.release()
    expect(readdirSync(deep)).toEqual(['lock.1'])
    ;(await lockDirectory(deep)).release()
  })

  it('[LOCK1] respects the lock of an earlier version, which has no socket', async () => {
    const shell = spawn('sleep', ['60'], { stdio: 'ignore' })
    children.push(shell)
    const stat = readFileSync(`/proc/${shell.pid}/stat`, 'utf8')
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const startTime = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    writeFileSync(join(folder, 'lock.3'), JSON.stringify({ pid: shell.pid, bootId, startTime }))
    await expect(lockDirectory(folder)).rejects.toThrow(`the server with pid ${shell.pid} is using it`)
    await end(shell)
    ;(await lockDirectory(folder)).release()
  })
})
