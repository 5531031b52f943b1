/**
 * Starts HAProxy or nginx in front of test servers, with the configuration shipped in deploy/. Only
 * addresses and folders are inserted, so tests use the configuration that operators run.
 */
import type { ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findFreePort } from './free-port.ts'
import { PartProcess, whenListening, withFreePort } from './part-process.ts'
import type { Part } from './part-process.ts'
import { makeTempDir, removeTempDir, spawnTracked } from './tracked.ts'

const startTimeoutMs = 20_000

export type BalancerKind = 'haproxy' | 'nginx'

export interface BalancerOptions {
  /** Ports of the servers on loopback, in order. */
  readonly servers: readonly number[]
  /** Port of the balancer. Default: a free port. */
  readonly port?: number
  /**
   * Changes the configuration before use, for example to shorten timeouts that a test cannot wait
   * for.
   */
  readonly edit?: (configuration: string) => string
}

export interface Balancer extends Part {
  readonly kind: BalancerKind
  readonly url: string
  readonly port: number
  /** Starts the balancer again on the same port. */
  start(): Promise<void>
}

const places: Readonly<Record<BalancerKind, string>> = {
  haproxy: fileURLToPath(new URL('../../../deploy/haproxy', import.meta.url)),
  nginx: fileURLToPath(new URL('../../../deploy/nginx', import.meta.url)),
}

function findBin(name: BalancerKind): string | undefined {
  const folders = [...(process.env.PATH?.split(delimiter) ?? []), '/usr/sbin', '/usr/local/sbin', '/usr/bin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

/** Returns whether this balancer is installed, so that tests behind it can run. */
export function hasBalancer(kind: BalancerKind): boolean {
  return findBin(kind) !== undefined
}

export function startHaproxy(options: BalancerOptions): Promise<Balancer> {
  return startBalancer('haproxy', options)
}

export function startNginx(options: BalancerOptions): Promise<Balancer> {
  return startBalancer('nginx', options)
}

export function startBalancer(kind: BalancerKind, options: BalancerOptions): Promise<Balancer> {
  return withFreePort(options.port, findFreePort, (port) => startAt(kind, port, options))
}

interface Prepared {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

async function startAt(kind: BalancerKind, port: number, options: BalancerOptions): Promise<Balancer> {
  const bin = findBin(kind)
  if (bin === undefined)
    throw new Error(`unable to start ${kind}; it is not installed (Debian: apt-get install ${kind})`)
  const folder = makeTempDir(kind)
  const { args, env } = kind === 'haproxy' ? prepareHaproxy(folder, port, options) : prepareNginx(folder, port, options)
  const part = new PartProcess(kind)
  const start = (): Promise<void> =>
    part.begin(
      () =>
        spawnTracked(bin, args, {
          stdio: ['ignore', 'pipe', 'pipe'],
          cwd: folder,
          env: { PATH: process.env.PATH, ...env },
        }),
      (child: ChildProcess) => whenListening(port, child, part.logs, startTimeoutMs),
    )
  const remove = async (): Promise<void> => {
    await part.end('SIGKILL')
    removeTempDir(folder)
  }
  try {
    await start()
  } catch (error) {
    await remove()
    throw error
  }
  return {
    kind,
    url: `http://127.0.0.1:${port}`,
    port,
    logs: part.logs,
    get pid() {
      return part.pid
    },
    get exited() {
      return part.exited
    },
    start,
    kill9: () => part.end('SIGKILL'),
    stop: () => part.end('SIGTERM'),
    pause: () => part.signal('SIGSTOP'),
    resume: () => part.signal('SIGCONT'),
    remove,
  }
}

function prepareHaproxy(folder: string, port: number, { servers, edit = (text) => text }: BalancerOptions): Prepared {
  const shipped = readFileSync(join(places.haproxy, 'haproxy.cfg'), 'utf8')
  const lines = servers.map((_, index) => `    server server-${index + 1} "\${SERVER_${index + 1}}"\n`).join('')
  const blocks = /(?: {4}server server-\d+ .*\n)+/g
  if (shipped.match(blocks)?.length !== 3)
    throw new Error('unable to write haproxy.cfg; expected three lists of servers')
  const configuration = shipped.replace(blocks, () => lines)
  const path = join(folder, 'haproxy.cfg')
  writeFileSync(path, edit(configuration))
  const env: Record<string, string> = { BIND: `127.0.0.1:${port}` }
  for (const [index, server] of servers.entries()) env[`SERVER_${index + 1}`] = `127.0.0.1:${server}`
  return {
    // Run in the foreground and without a master process: this process serves the requests itself.
    args: ['-db', '-f', path],
    env,
  }
}

function prepareNginx(folder: string, port: number, { servers, edit = (text) => text }: BalancerOptions): Prepared {
  cpSync(places.nginx, folder, { recursive: true })
  const shipped = readFileSync(join(places.nginx, 'nginx.conf'), 'utf8')
  const listen = /^ {8}listen 80;$/m
  if (!listen.test(shipped)) throw new Error('unable to write nginx.conf; expected the line `listen 80;`')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => {
    const path = join(folder, name)
    mkdirSync(path)
    return `    ${name}_temp_path ${path};\n`
  })
  const configuration = shipped
    .replace(listen, `        listen 127.0.0.1:${port};`)
    .replace(/^http \{\n/m, (line) => line + temporary.join(''))
  writeFileSync(join(folder, 'nginx.conf'), edit(configuration))
  writeFileSync(
    join(folder, 'servers.conf'),
    servers.map((server) => `server 127.0.0.1:${server} max_fails=0;\n`).join(''),
  )
  return {
    // Run one process in the foreground: a killed master process would leave its workers running.
    args: [
      ...['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')],
      ...['-g', `daemon off; master_process off; pid ${join(folder, 'nginx.pid')};`],
    ],
    env: {},
  }
}
