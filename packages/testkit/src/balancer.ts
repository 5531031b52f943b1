/**
 * Starts HAProxy or nginx in front of test servers, with the configuration shipped in deploy/. Only
 * addresses and folders are inserted, so tests use the configuration that operators run.
 */
import type { ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Certificate, joinCertificate } from './certificate.ts'
import { findFreePort } from './free-port.ts'
import { PartProcess, whenListening, withFreePort } from './part-process.ts'
import type { Part } from './part-process.ts'
import { makeTempDir, removeTempDir, spawnTracked } from './tracked.ts'
import { waitForFact } from './wait-for-fact.ts'

const startTimeoutMs = 20_000

export type BalancerKind = 'haproxy' | 'nginx'

/** A server behind the balancer: a port of 127.0.0.1, or an address like `127.0.0.2:3000`. */
export type BalancedServer = number | string

export interface BalancerOptions {
  /** The servers behind the balancer, in this order. */
  readonly servers: readonly BalancedServer[]
  /**
   * Certificate of the balancer. With a certificate, the balancer accepts only HTTPS, as configured
   * by the TLS lines of the shipped file.
   */
  readonly tls?: Certificate
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
  /**
   * Changes the list of servers. HAProxy is replaced by a new process, and the old one ends with
   * its last connection. nginx restarts, so its clients connect again.
   */
  setServers(servers: readonly BalancedServer[]): Promise<void>
}

const places: Readonly<Record<BalancerKind, string>> = {
  haproxy: fileURLToPath(new URL('../../../deploy/haproxy', import.meta.url)),
  nginx: fileURLToPath(new URL('../../../deploy/nginx', import.meta.url)),
}

function findBin(name: BalancerKind): string | undefined {
  const folders = [...(process.env.PATH?.split(delimiter) ?? []), '/usr/sbin', '/usr/local/sbin', '/usr/bin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

/** Returns whether this balancer is installed. Tests that need it are skipped otherwise. */
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
  const prepare = kind === 'haproxy' ? prepareHaproxy : prepareNginx
  let prepared = prepare(folder, port, options)
  const part = new PartProcess(kind)
  const spawn = (...more: string[]): ChildProcess =>
    spawnTracked(bin, [...prepared.args, ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: folder,
      env: { PATH: process.env.PATH, ...prepared.env },
    })
  const start = (): Promise<void> =>
    part.begin(
      () => spawn(),
      (child) => whenListening(port, child, part.logs, startTimeoutMs),
    )
  const setServers = async (servers: readonly BalancedServer[]): Promise<void> => {
    prepared = prepare(folder, port, { ...options, servers })
    if (kind === 'nginx') {
      await part.end('SIGTERM')
      return start()
    }
    const linesBefore = part.logs.lines.length
    const old = part.pid
    await part.replace(
      () => spawn('-sf', String(old)),
      () =>
        waitForFact(() => part.logs.lines.slice(linesBefore).some((line) => line.includes('Proxy chat stopped')), {
          what: 'the end of the old balancer',
          timeoutMs: startTimeoutMs,
        }),
    )
  }
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
    url: `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    logs: part.logs,
    get pid() {
      return part.pid
    },
    get exited() {
      return part.exited
    },
    start,
    setServers,
    kill9: () => part.end('SIGKILL'),
    stop: () => part.end('SIGTERM'),
    pause: () => part.signal('SIGSTOP'),
    resume: () => part.signal('SIGCONT'),
    remove,
  }
}

const addressOf = (server: BalancedServer): string => (typeof server === 'number' ? `127.0.0.1:${server}` : server)

/**
 * Returns the text of the comment that starts with `label` in a shipped configuration file. These
 * files contain their TLS lines as comments.
 */
function shippedLine(shipped: string, label: RegExp): string {
  const line = new RegExp(`^ *# +${label.source}(.*)$`, 'm').exec(shipped)?.[1]
  if (line === undefined) throw new Error(`unable to set up TLS; the shipped file has no comment ${label.source}`)
  return line
}

/** Enables the TLS lines of the shipped haproxy.cfg, with the given certificate file. */
function withHaproxyTls(shipped: string, bundle: string): string {
  const bind = shippedLine(shipped, /TLS: +(?=bind)/)
    .replace(':443', '"${BIND}"')
    .replace(/crt \S+/, `crt ${bundle}`)
  const settings = shippedLine(shipped, /and in global: /)
  const redirect = shippedLine(shipped, /(?=http-request redirect)/)
  return shipped
    .replace('    bind "${BIND}"\n', () => `    ${bind}\n    ${redirect}\n`)
    .replace(/^global\n/m, (line) => `${line}    ${settings}\n`)
}

/** Enables the TLS lines of the shipped nginx.conf, with the given certificate. */
function withNginxTls(shipped: string, port: number, { certificate, key }: Certificate): string {
  const listen = shippedLine(shipped, /TLS: +(?=listen)/)
    .replace('listen 443', `listen 127.0.0.1:${port}`)
    .replace('ssl_certificate …', `ssl_certificate ${certificate}`)
    .replace('ssl_certificate_key …', `ssl_certificate_key ${key}`)
  return shipped.replace(`listen 127.0.0.1:${port};`, () => listen)
}

function prepareHaproxy(
  folder: string,
  port: number,
  { servers, tls, edit = (text) => text }: BalancerOptions,
): Prepared {
  const shipped = readFileSync(join(places.haproxy, 'haproxy.cfg'), 'utf8')
  const lines = servers.map((_, index) => `    server server-${index + 1} "\${SERVER_${index + 1}}"\n`).join('')
  const blocks = /(?: {4}server server-\d+ .*\n)+/g
  if (shipped.match(blocks)?.length !== 3)
    throw new Error('unable to write haproxy.cfg; expected three lists of servers')
  const configuration = shipped.replace(blocks, () => lines)
  const path = join(folder, 'haproxy.cfg')
  writeFileSync(
    path,
    edit(tls === undefined ? configuration : withHaproxyTls(configuration, joinCertificate(tls, folder))),
  )
  const env: Record<string, string> = { BIND: `127.0.0.1:${port}` }
  for (const [index, server] of servers.entries()) env[`SERVER_${index + 1}`] = addressOf(server)
  return {
    // `-db`: run in the foreground and without a master process, so that killing this process kills
    // HAProxy.
    args: ['-db', '-f', path],
    env,
  }
}

function prepareNginx(
  folder: string,
  port: number,
  { servers, tls, edit = (text) => text }: BalancerOptions,
): Prepared {
  cpSync(places.nginx, folder, { recursive: true })
  const shipped = readFileSync(join(places.nginx, 'nginx.conf'), 'utf8')
  const listen = /^ {8}listen 80;$/m
  if (!listen.test(shipped)) throw new Error('unable to write nginx.conf; expected the line `listen 80;`')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => {
    const path = join(folder, name)
    mkdirSync(path, { recursive: true })
    return `    ${name}_temp_path ${path};\n`
  })
  const configuration = shipped
    .replace(listen, `        listen 127.0.0.1:${port};`)
    .replace(/^http \{\n/m, (line) => line + temporary.join(''))
  writeFileSync(
    join(folder, 'nginx.conf'),
    edit(tls === undefined ? configuration : withNginxTls(configuration, port, tls)),
  )
  writeFileSync(
    join(folder, 'servers.conf'),
    servers.map((server) => `server ${addressOf(server)} max_fails=0;\n`).join(''),
  )
  return {
    // Run nginx as a single process in the foreground. If nginx had a master process, killing it
    // would leave its worker processes running.
    args: [
      ...['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')],
      ...['-g', `daemon off; master_process off; pid ${join(folder, 'nginx.pid')};`],
    ],
    env: {},
  }
}
