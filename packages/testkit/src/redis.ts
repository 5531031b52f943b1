/**
 * Real Redis servers for tests: loopback, free port, temporary folder, no system configuration.
 * Starts one server, a primary with a replica, or a cluster. Each server can be killed, frozen,
 * promoted, and started again on its port with or without its data. A test queries it with {@link
 * Redis.command}, over a new connection per command.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from 'redis'
import { type Certificate, makeCertificate } from './certificate.ts'
import { findFreePort } from './free-port.ts'
import { PartProcess, withFreePort } from './part-process.ts'
import type { Part } from './part-process.ts'
import { makeTempDir, removeTempDir, spawnTracked } from './tracked.ts'
import { waitForFact } from './wait-for-fact.ts'

const startTimeoutMs = 20_000
const commandTimeoutMs = 5_000
const syncTimeoutMs = 20_000
const slotCount = 16_384
const migrateKeysAtATime = 100

export interface RedisOptions {
  /** Primary that this server replicates. */
  readonly replicaOf?: { readonly port: number }
  /** Password that clients must send. A replica also sends it to its primary. */
  readonly password?: string
  /**
   * Additional redis.conf settings, such as `{ 'maxmemory-policy': 'noeviction' }`; they override
   * the defaults of this file.
   */
  readonly settings?: Readonly<Record<string, string | number>>
  /** Whether to speak TLS only. `true` creates a certificate for 127.0.0.1. */
  readonly tls?: boolean | Certificate
  /**
   * Whether to write an append-only file, so that the data survives a kill. Without it, Redis
   * starts empty each time.
   */
  readonly keepsData?: boolean
  /** Port of the server. Default: a free port. */
  readonly port?: number
}

export interface Redis extends Part {
  readonly url: string
  readonly port: number
  readonly dataDir: string
  /** Certificate that clients must trust; only with TLS. */
  readonly caFile: string | undefined
  /** Runs one command and resolves to its reply (RESP2). Rejects when no reply comes within 5 s. */
  command(...args: readonly (string | number)[]): Promise<unknown>
  /** Returns one field of INFO, such as `master_link_status`. */
  info(field: string): Promise<string | undefined>
  /**
   * Starts the server again on the same port. `isEmpty` first deletes the stored data (the
   * append-only file).
   */
  start(options?: { readonly isEmpty?: boolean }): Promise<void>
  /**
   * Makes the server replicate another primary, also after a restart. `undefined` makes it a
   * primary.
   */
  follow(primary: { readonly port: number } | undefined): Promise<void>
  /** Waits until the server is a replica that has all data its primary had when the wait began. */
  waitForSync(): Promise<void>
}

function findBin(): string | undefined {
  const folders = [...(process.env.PATH?.split(':') ?? []), '/usr/bin', '/usr/local/bin']
  return folders.map((folder) => join(folder, 'redis-server')).find((path) => existsSync(path))
}

/** Returns whether tests against Redis can run on this machine. */
export function hasRedis(): boolean {
  return findBin() !== undefined
}

/** Starts a Redis server, which takes some tens of milliseconds. */
export function startRedis(options: RedisOptions = {}): Promise<Redis> {
  return withFreePort(options.port, findFreePort, (port) => startRedisAt(port, options))
}

async function startRedisAt(port: number, options: RedisOptions): Promise<Redis> {
  const bin = findBin()
  if (bin === undefined)
    throw new Error('unable to start Redis; it is not installed (Debian: apt-get install redis-server)')
  const dataDir = makeTempDir('redis')
  const { password } = options
  const tls = options.tls === true ? makeCertificate(dataDir) : options.tls === false ? undefined : options.tls
  const settings = settingsOf(port, dataDir, tls, options)
  const part = new PartProcess('Redis')
  let primary = options.replicaOf

  const start = async ({ isEmpty = false } = {}): Promise<void> => {
    if (isEmpty) {
      for (const kept of ['appendonlydir', 'dump.rdb']) rmSync(join(dataDir, kept), { recursive: true, force: true })
    }
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
    if (primary !== undefined) args.push('--replicaof', `127.0.0.1 ${primary.port}`)
    await part.begin(
      () => spawnTracked(bin, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: dataDir }),
      (child) => part.logs.waitFor(/Ready to accept connections/, child, startTimeoutMs),
    )
  }

  const command = (...args: readonly (string | number)[]): Promise<unknown> => runCommand({ port, password, tls }, args)

  const info = async (field: string): Promise<string | undefined> => {
    const text = String(await command('INFO', 'everything'))
    return new RegExp(`^${field}:(.*?)\r?$`, 'm').exec(text)?.[1]
  }

  const credentials = password === undefined ? '' : `:${encodeURIComponent(password)}@`
  const redis: Redis = {
    url: `${tls === undefined ? 'redis' : 'rediss'}://${credentials}${tls?.host ?? '127.0.0.1'}:${port}`,
    port,
    dataDir,
    logs: part.logs,
    caFile: tls?.certificate,
    get pid() {
      return part.pid
    },
    get exited() {
      return part.exited
    },
    command,
    info,
    kill9: () => part.end('SIGKILL'),
    stop: () => part.end('SIGTERM'),
    start,
    pause: () => part.signal('SIGSTOP'),
    resume: () => part.signal('SIGCONT'),
    async follow(next) {
      primary = next
      if (!part.isRunning) return
      await (next === undefined
        ? command('REPLICAOF', 'NO', 'ONE')
        : command('REPLICAOF', '127.0.0.1', String(next.port)))
    },
    async waitForSync() {
      await waitForFact(
        async () =>
          (await info('role')) === 'slave' &&
          (await info('master_link_status')) === 'up' &&
          (await info('master_sync_in_progress')) === '0',
        { what: 'a replica in sync', timeoutMs: syncTimeoutMs },
      )
    },
    async remove() {
      await part.end('SIGKILL')
      removeTempDir(dataDir)
    },
  }
  try {
    await start()
  } catch (error) {
    await redis.remove()
    throw error
  }
  return redis
}

/** Returns the settings of redis.conf. */
function settingsOf(
  port: number,
  dataDir: string,
  tls: Certificate | undefined,
  options: RedisOptions,
): Record<string, string | number> {
  const { password } = options
  return {
    bind: '127.0.0.1',
    port: tls === undefined ? port : 0,
    dir: dataDir,
    daemonize: 'no',
    save: '',
    appendonly: options.keepsData === true ? 'yes' : 'no',
    // Start the synchronization of a replica at once. By default, Redis waits for further replicas.
    'repl-diskless-sync-delay': 0,
    'repl-ping-replica-period': 1,
    ...(password !== undefined && { requirepass: password, masterauth: password }),
    ...(tls !== undefined && {
      'tls-port': port,
      'tls-cert-file': tls.certificate,
      'tls-key-file': tls.key,
      'tls-ca-cert-file': tls.certificate,
      'tls-auth-clients': 'no',
      'tls-replication': 'yes',
      ...(options.settings?.['cluster-enabled'] === 'yes' && { 'tls-cluster': 'yes' }),
    }),
    ...options.settings,
  }
}

interface RedisAddress {
  readonly port: number
  readonly password: string | undefined
  readonly tls: Certificate | undefined
}

/** Runs one command over a new connection. Rejects when no reply comes within 5 s. */
async function runCommand({ port, password, tls }: RedisAddress, args: readonly (string | number)[]): Promise<unknown> {
  const client = createClient({
    RESP: 2,
    ...(password !== undefined && { password }),
    socket: {
      host: '127.0.0.1',
      port,
      connectTimeout: commandTimeoutMs,
      reconnectStrategy: false,
      // The connection of the test itself does not verify the certificate. Only the servers under
      // test must verify it.
      ...(tls !== undefined && {
        tls: true as const,
        ca: readFileSync(tls.certificate),
        checkServerIdentity: () => undefined,
      }),
    },
    disableClientInfo: true,
    maintNotifications: 'disabled',
  })
  // Without a listener, an error event would end this process. The calls of the client below reject
  // with the same error.
  client.on('error', () => undefined)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`unable to run ${args[0]}; no reply within ${commandTimeoutMs} ms`)),
      commandTimeoutMs,
    )
  })
  const asked = (async () => {
    await client.connect()
    return client.sendCommand<unknown>(args.map(String))
  })()
  try {
    return await Promise.race([asked, late])
  } finally {
    clearTimeout(timer)
    asked.catch(() => undefined)
    if (client.isOpen) client.destroy()
  }
}

export interface RedisPair {
  readonly primary: Redis
  readonly replica: Redis
  /**
   * Makes the replica a primary, whatever the state of the old primary. Data it had not yet
   * received is lost.
   */
  promote(): Promise<void>
  /** Kills the primary and promotes the replica. */
  failOver(): Promise<void>
  /**
   * Makes the old primary a replica of the new primary, so that it discards its own data. Starts
   * the old primary if necessary.
   */
  rejoin(): Promise<void>
  remove(): Promise<void>
}

/** Starts a primary and a replica, and waits until the replica is in sync. */
export async function startRedisPair(
  options: Omit<RedisOptions, 'replicaOf' | 'port' | 'tls'> = {},
): Promise<RedisPair> {
  const primary = await startRedis(options)
  let replica: Redis
  try {
    replica = await startRedis({ ...options, replicaOf: primary })
    await replica.waitForSync()
  } catch (error) {
    await primary.remove()
    throw error
  }
  const promote = () => replica.follow(undefined)
  return {
    primary,
    replica,
    promote,
    async failOver() {
      await primary.kill9()
      await promote()
    },
    async rejoin() {
      await primary.follow(replica)
      const isDown = await primary.command('PING').then(
        () => false,
        () => true,
      )
      if (isDown) await primary.start()
      await primary.waitForSync()
    },
    async remove() {
      await Promise.all([primary.remove(), replica.remove()])
    },
  }
}

export interface RedisClusterOptions extends Omit<RedisOptions, 'replicaOf' | 'port' | 'tls' | 'password'> {
  readonly masters?: number
  /**
   * With a TLS mode, the cluster speaks TLS only. `addresses`: the certificate is valid for
   * `localhost`, but the masters announce 127.0.0.1. `names`: the certificate is valid for
   * `localhost`, and the masters announce `localhost`. `strangers`: the certificate is valid only
   * for `stranger.example`, so clients must refuse it.
   */
  readonly tls?: 'addresses' | 'names' | 'strangers'
}

export interface RedisCluster {
  readonly masters: readonly Redis[]
  /** URL of one master; clients discover the other masters from it. */
  readonly url: string
  /** Certificate that clients must trust; only with TLS. */
  readonly caFile: string | undefined
  /** Returns the master that currently holds a slot, according to the masters themselves. */
  ownerOf(slot: number): Promise<Redis>
  slotOf(key: string): Promise<number>
  /** Moves a slot with its keys, as an operator's resharding does, and updates every master. */
  moveSlot(slot: number, from: Redis, to: Redis): Promise<void>
  /** Waits until every master reports a complete cluster. */
  waitForOk(): Promise<void>
  remove(): Promise<void>
}

/**
 * Starts a Redis Cluster of masters without replicas, with all slots assigned evenly. Resolves when
 * each master reports `cluster_state:ok`.
 */
export async function startRedisCluster({
  masters: count = 3,
  tls,
  ...options
}: RedisClusterOptions = {}): Promise<RedisCluster> {
  const masters: Redis[] = []
  const folder = tls === undefined ? undefined : makeTempDir('redis-certificate')
  const certificate =
    folder === undefined
      ? undefined
      : makeCertificate(folder, 'localhost', tls === 'strangers' ? 'DNS:stranger.example' : 'DNS:localhost')
  const removeAll = async () => {
    await Promise.all(masters.map((master) => master.remove()))
    if (folder !== undefined) removeTempDir(folder)
  }
  const waitForOk = async (): Promise<void> => {
    await waitForFact(() => isWhole(masters), { what: 'a whole Redis Cluster', timeoutMs: syncTimeoutMs, everyMs: 50 })
  }

  try {
    for (let index = 0; index < count; index += 1) {
      masters.push(await startMaster(options, tls, certificate))
    }
    const [first] = masters
    if (first === undefined) throw new Error('unable to start a Redis Cluster; it needs a master')
    await joinMasters(first, masters)
    await waitForOk()
    return {
      masters,
      url: first.url,
      caFile: certificate?.certificate,
      ownerOf: (slot) => findOwner(slot, masters),
      slotOf: async (key) => Number(await first.command('CLUSTER', 'KEYSLOT', key)),
      moveSlot: (slot, from, to) => moveSlot(slot, from, to, masters),
      waitForOk,
      remove: removeAll,
    }
  } catch (error) {
    await removeAll()
    throw error
  }
}

async function startMaster(
  options: Omit<RedisClusterOptions, 'masters' | 'tls'>,
  tls: RedisClusterOptions['tls'],
  certificate: Certificate | undefined,
): Promise<Redis> {
  return startRedis({
    ...options,
    ...(certificate !== undefined && { tls: certificate }),
    settings: {
      'cluster-enabled': 'yes',
      ...(tls === 'names' && {
        'cluster-announce-hostname': 'localhost',
        'cluster-preferred-endpoint-type': 'hostname',
      }),
      'cluster-config-file': 'nodes.conf',
      // Redis by default uses its port + 10 000, which can be above 65 535.
      'cluster-port': await findFreePort(),
      'cluster-node-timeout': 5_000,
      // When one master is down, the slots of the other masters stay usable.
      'cluster-require-full-coverage': 'no',
      ...options.settings,
    },
  })
}

/** Assigns the slots evenly to the masters, and introduces the other masters to the first. */
async function joinMasters(first: Redis, masters: readonly Redis[]): Promise<void> {
  const count = masters.length
  for (const [index, master] of masters.entries()) {
    const from = Math.floor((index * slotCount) / count)
    const to = Math.floor(((index + 1) * slotCount) / count) - 1
    await master.command('CLUSTER', 'ADDSLOTSRANGE', from, to)
    await master.command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
  }
  const [, busPort] = (await first.command('CONFIG', 'GET', 'cluster-port')) as string[]
  for (const master of masters.slice(1)) {
    await master.command('CLUSTER', 'MEET', '127.0.0.1', first.port, busPort ?? '')
  }
}

/** Returns whether every master reports a complete cluster. */
async function isWhole(masters: readonly Redis[]): Promise<boolean> {
  for (const master of masters) {
    const text = String(await master.command('CLUSTER', 'INFO'))
    if (!/cluster_state:ok/.test(text) || !text.includes(`cluster_slots_ok:${slotCount}`)) return false
    if (!text.includes(`cluster_known_nodes:${masters.length}`)) return false
  }
  return true
}

async function findOwner(slot: number, masters: readonly Redis[]): Promise<Redis> {
  for (const master of masters) {
    const ranges = (await master.command('CLUSTER', 'SLOTS').catch(() => undefined)) as
      | [number, number, [string, number, ...unknown[]]][]
      | undefined
    const range = ranges?.find(([from, to]) => slot >= from && slot <= to)
    const owner = masters.find(({ port }) => port === range?.[2][1])
    if (owner !== undefined) return owner
  }
  throw new Error(`unable to find the owner of slot ${slot}; no master names it`)
}

async function moveSlot(slot: number, from: Redis, to: Redis, masters: readonly Redis[]): Promise<void> {
  const fromId = String(await from.command('CLUSTER', 'MYID'))
  const toId = String(await to.command('CLUSTER', 'MYID'))
  await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
  await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
  for (;;) {
    const keys = (await from.command('CLUSTER', 'GETKEYSINSLOT', slot, migrateKeysAtATime)) as string[]
    if (keys.length === 0) break
    await from.command('MIGRATE', '127.0.0.1', to.port, '', 0, commandTimeoutMs, 'REPLACE', 'KEYS', ...keys)
  }
  // Update the new owner first, so that the slot always has an owner.
  for (const master of [to, from, ...masters.filter((other) => other !== from && other !== to)]) {
    await master.command('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
  }
}
