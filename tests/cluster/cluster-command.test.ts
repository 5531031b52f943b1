/**
 * The command `npm run cluster`, as its user sees it: it prints one line per part, users chat
 * across servers while parts die, and no process or file is left behind, however the command ends.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import {
  hasBalancer,
  hasPostgres,
  hasRedis,
  HttpUser,
  makeTempDir,
  removeTempDir,
  SocketUser,
  waitForFact,
} from '@chorus/testkit'
import { afterEach, describe, expect, it } from 'vitest'

const script = fileURLToPath(new URL('../../scripts/cluster.mjs', import.meta.url))
const canRun = hasPostgres() && hasRedis() && hasBalancer('haproxy') && hasBalancer('nginx')
const readyTimeoutMs = 110_000

interface PrintedPart {
  readonly url: string
  readonly pid: number
}

class ClusterCommand {
  readonly lines: string[] = []
  readonly tempDir = makeTempDir('cluster-command')
  readonly child: ChildProcess
  errors = ''

  constructor(args: readonly string[]) {
    chmodSync(this.tempDir, 0o711) // Postgres runs as another user, in a subfolder.
    this.child = spawn(process.execPath, [script, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      // Start the command in a separate process group, as a shell does. The end of this group must
      // end every part.
      detached: true,
      env: { ...process.env, TMPDIR: this.tempDir },
    })
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.lines.push(line))
    this.child.stderr?.on('data', (chunk: Buffer) => (this.errors += chunk.toString('utf8')))
  }

  /** Types a line into the running command, and waits until it prints a line that matches. */
  async type(text: string, answer: RegExp): Promise<RegExpExecArray> {
    const before = this.lines.length
    this.child.stdin?.write(`${text}\n`)
    const find = (): RegExpExecArray | undefined =>
      this.lines
        .slice(before)
        .map((line) => answer.exec(line))
        .find((match) => match !== null) ?? undefined
    await waitForFact(() => find() !== undefined, { what: `an answer to ${text}`, timeoutMs: 60_000 })
    return find()!
  }

  async waitForReady(): Promise<void> {
    await waitForFact(
      () => {
        if (this.child.exitCode !== null) return true
        return this.lines.includes('ready')
      },
      { what: 'ready', timeoutMs: readyTimeoutMs, everyMs: 100 },
    )
    if (!this.lines.includes('ready')) throw new Error(`unable to start the cluster; ${this.errors}`)
  }

  /** Returns the parts by name, from the lines printed before `ready`. */
  get parts(): Map<string, PrintedPart> {
    return new Map(
      this.lines.slice(0, this.lines.indexOf('ready')).map((line) => {
        const [, name, url, pid] = /^([a-z]+(?: \d+)?) (\S+) \(pid (\d+)\)$/.exec(line) ?? []
        if (name === undefined || url === undefined) throw new Error(`unable to read the line ${JSON.stringify(line)}`)
        return [name, { url, pid: Number(pid) }]
      }),
    )
  }

  part(name: string): PrintedPart {
    const part = this.parts.get(name)
    if (part === undefined) throw new Error(`unable to find ${name}; there are ${[...this.parts.keys()].join(', ')}`)
    return part
  }

  /**
   * Returns the pids of all processes of this command that still run, including the process that
   * ends the parts, and Postgres's own processes.
   */
  leftovers(): string[] {
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
      .filter((pid) => {
        const text = [readProc(pid, 'environ'), readProc(pid, 'cmdline')].join(' ')
        return text.includes(this.tempDir)
      })
  }

  async waitForNothingLeft(pids: readonly number[]): Promise<void> {
    await waitForFact(
      () =>
        pids.every((pid) => !isAlive(pid)) && this.leftovers().length === 0 && readdirSync(this.tempDir).length === 0,
      { what: 'the end of every process and folder', timeoutMs: 20_000, everyMs: 100 },
    )
  }

  async end(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exit = once(this.child, 'exit')
      this.child.kill('SIGTERM')
      await exit
    }
    removeTempDir(this.tempDir)
  }
}

function readProc(pid: string | number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/**
 * Returns whether a process is alive. A process that has ended but is still listed (a zombie)
 * counts as dead.
 */
function isAlive(pid: number): boolean {
  const stat = readProc(pid, 'stat')
  return stat !== '' && !/^\d+ \(.*\) Z/.test(stat)
}

const groupOf = (pid: number): number => Number(readProc(pid, 'stat').split(') ').at(-1)?.split(' ')[2])

let command: ClusterCommand | undefined
afterEach(async () => {
  await command?.end()
  command = undefined
})

describe.skipIf(!canRun)('npm run cluster', () => {
  it('npm run cluster starts all parts, reports dead ones, and Ctrl-C ends all', async () => {
    command = new ClusterCommand(['--servers', '3'])
    await command.waitForReady()
    expect([...command.parts.keys()]).toEqual([
      'balancer',
      'server 1',
      'server 2',
      'server 3',
      'metrics 1',
      'metrics 2',
      'metrics 3',
      'redis',
      'replica',
      'postgres',
    ])
    // Each server has an IP address of its own, because browsers share cookies between ports of one
    // address.
    expect(
      ['server 1', 'server 2', 'server 3', 'metrics 3'].map((name) => new URL(command!.part(name).url).hostname),
    ).toEqual(['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.3'])
    const metrics = await (await fetch(command.part('metrics 2').url)).text()
    expect(metrics).toContain('chorus_connections')
    const programs = {
      balancer: /haproxy/,
      server: /main\.js/,
      metrics: /main\.js/,
      redis: /redis-server/,
      replica: /redis-server/,
    }
    for (const [name, { pid, url }] of command.parts) {
      const kind = name.split(' ')[0]!
      expect(isAlive(pid), name).toBe(true)
      expect(readProc(pid, 'cmdline'), name).toMatch(programs[kind as keyof typeof programs] ?? /postgres/)
      expect(groupOf(pid), name).toBe(command.child.pid)
      expect(new URL(url).protocol, name).toMatch(
        { redis: /^redis:/, replica: /^redis:/, postgres: /^postgres:/ }[kind] ?? /^http:/,
      )
    }

    const ada = await HttpUser.signUp(command.part('balancer').url)
    const bob = await HttpUser.signUp(command.part('balancer').url)
    const conversation = await ada.createConversation('direct', [bob.id])
    const writer = await SocketUser.connect(command.part('server 1').url, { cookie: ada.cookie })
    const reader = await SocketUser.connect(command.part('server 3').url, { cookie: bob.cookie })
    const send = async (text: string): Promise<void> => {
      const answer = await writer.command('send', { conversation, clientId: randomUUID(), text })
      expect(answer.ok).toBe(true)
      await reader.waitForSeq(conversation, answer.seq as number)
    }
    await send('from one server to another')

    const died = async (name: string, how: string): Promise<void> => {
      const { pid } = command!.part(name)
      process.kill(pid, 'SIGKILL')
      await waitForFact(() => command!.lines.includes(`${name} died (pid ${pid}, ${how})`), {
        what: `the end of ${name}`,
      })
    }
    await died('server 2', 'SIGKILL')
    await send('without the second server')
    await HttpUser.stranger(command.part('balancer').url).expect(200, 'GET', '/livez')
    await died('redis', 'SIGKILL')
    await send('without Redis')
    for (const name of ['balancer', 'server 1', 'server 3', 'replica', 'postgres']) {
      expect(isAlive(command.part(name).pid), name).toBe(true)
    }
    expect(writer.disconnections).toEqual([])
    expect(reader.disconnections).toEqual([])
    writer.close()
    reader.close()

    const pids = [...command.parts.values()].map(({ pid }) => pid)
    const exit = once(command.child, 'exit')
    // Signal the whole process group at once, as a terminal does after Ctrl-C.
    process.kill(-command.child.pid!, 'SIGINT')
    expect(await exit).toEqual([130, null])
    await command.waitForNothingLeft(pids)
    // Only the parts that have a web address print one, so a reader finds the right address at
    // once.
    const printed = command.lines.join('\n').match(/https?:\/\/\S+/g)
    const withAddress = ['balancer', 'server 1', 'server 2', 'server 3', 'metrics 1', 'metrics 2', 'metrics 3']
    expect(printed).toEqual(withAddress.map((name) => command!.part(name).url))
    expect(command.lines.length).toBe(13)
  })

  it.each([
    ['HAProxy', []],
    ['nginx', ['--nginx']],
  ])('npm run cluster adds a server behind %s and starts a killed one', async (_name, balancer) => {
    command = new ClusterCommand(['--servers', '2', ...balancer])
    await command.waitForReady()
    const ada = await HttpUser.signUp(command.part('server 1').url)
    const reader = await SocketUser.connect(command.part('balancer').url, { cookie: ada.cookie })
    const [, added = '', pid] = await command.type('add', /^server 3 (\S+) \(pid (\d+)\)$/)
    expect(new URL(added).hostname).toBe('127.0.0.3')
    await waitForFact(() => command!.lines.some((line) => line.startsWith('metrics 3 ')), { what: 'its metrics' })
    const balanced = await command.type('', /^balancer (\S+) \(pid \d+\)$/).then(([, url]) => url)
    expect(balanced).toBe(command.part('balancer').url)

    // Kill the other two servers: the balancer must use the added one.
    for (const number of [1, 2]) await command.type(`kill ${number}`, new RegExp(`^server ${number} died`))
    await waitForFact(
      async () =>
        (
          await HttpUser.stranger(balanced!)
            .call('GET', '/livez')
            .catch(() => undefined)
        )?.status === 200,
      { what: 'an answer of the added server', timeoutMs: 20_000 },
    )
    await command.type('start 3', /^unable to start server 3; it is running$/)
    await command.type('start 2', /^server 2 \S+ \(pid \d+\)$/)
    await command.type('start 9', /^unable to start server 9; there are 3$/)
    await command.type('stop', /^unable to run "stop"; commands: add /)
    process.kill(Number(pid), 'SIGKILL')
    await waitForFact(() => command!.lines.some((line) => line.startsWith('server 3 died')), { what: 'its death' })
    await HttpUser.signUp(command.part('server 2').url)
    reader.close()
  })

  it('npm run cluster works with nginx and Redis Cluster, and a kill ends all parts', async () => {
    command = new ClusterCommand(['--servers=2', '--nginx', '--redis-cluster'])
    await command.waitForReady()
    expect([...command.parts.keys()]).toEqual([
      'balancer',
      'server 1',
      'server 2',
      'metrics 1',
      'metrics 2',
      'redis 1',
      'redis 2',
      'redis 3',
      'postgres',
    ])
    const ada = await HttpUser.signUp(command.part('balancer').url)
    const bob = await HttpUser.signUp(command.part('balancer').url)
    const conversation = await ada.createConversation('direct', [bob.id])
    const reader = await SocketUser.connect(command.part('server 2').url, { cookie: bob.cookie })
    const writer = await SocketUser.connect(command.part('server 1').url, { cookie: ada.cookie })
    const answer = await writer.command('send', { conversation, clientId: randomUUID(), text: 'over three masters' })
    await reader.waitForSeq(conversation, answer.seq as number)
    reader.close()
    writer.close()

    const pids = [...command.parts.values()].map(({ pid }) => pid)
    const exit = once(command.child, 'exit')
    process.kill(-command.child.pid!, 'SIGKILL')
    await exit
    await command.waitForNothingLeft(pids)
  })

  it('all parts end when the process that started them is killed', async () => {
    command = new ClusterCommand(['--servers', '1'])
    await command.waitForReady()
    const pids = [...command.parts.values()].map(({ pid }) => pid)
    const exit = once(command.child, 'exit')
    command.child.kill('SIGKILL')
    await exit
    await command.waitForNothingLeft(pids)
  })

  it('npm run cluster refuses a wrong argument with one line', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--servers', 'many'], { encoding: 'utf8' })
    expect(status).toBe(2)
    expect(stdout).toBe('')
    expect(stderr.trim().split('\n').at(-1)).toBe(
      'unable to start a cluster; --servers is "many": expected a whole number from 1 to 20',
    )
  })
})
