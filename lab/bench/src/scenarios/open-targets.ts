/**
 * Starts everything that a comparison needs, and stops it afterwards: a Postgres that writes
 * durably (fsync), a Redis, Chorus with both, and the compared systems.
 */
import { startPostgres, startRedis } from '@chorus/testkit'
import pg from 'pg'
import type { Options } from '../options/options.ts'
import { median } from '../report/statistics.ts'
import { startChorus } from '../targets/chorus.ts'
import type { ChorusOptions } from '../targets/chorus.ts'
import { startNchan } from '../targets/nchan.ts'
import { startPeer } from '../targets/peer.ts'
import type { Target, TargetName } from '../targets/target.ts'

export interface OpenTargets {
  readonly targets: readonly Target[]
  readonly versions: Readonly<Record<string, string>>
  readonly postgresSettings: Readonly<Record<string, string>>
  /** Returns the median time of committing a single row to Postgres over one connection. */
  measureCommitMs(): Promise<number>
  stop(): Promise<void>
}

/** Postgres settings that determine the cost of a commit. The report shows their actual values. */
const shownSettings = [
  'fsync',
  'synchronous_commit',
  'shared_buffers',
  'max_wal_size',
  'wal_level',
  'full_page_writes',
] as const

const descriptions = {
  'socket-io-redis-adapter': 'stock Socket.IO with @socket.io/redis-adapter',
  'socket-io-streams-adapter': 'stock Socket.IO with @socket.io/redis-streams-adapter',
  'one-channel': 'every process subscribes to one Redis channel and emits to all clients',
} as const

export interface OpenOptions {
  /** Number of servers, for Chorus and for the compared systems that support several servers. */
  readonly servers?: number
  readonly withRedis?: boolean
  readonly linkToDatabase?: ChorusOptions['linkToDatabase']
}

export async function openTargets(
  names: readonly TargetName[],
  options: Options,
  { servers = 1, withRedis = true, linkToDatabase }: OpenOptions = {},
): Promise<OpenTargets> {
  const postgres = await startPostgres()
  const redis = await startRedis()
  const broker = { role: 'redis', pid: redis.pid }
  const targets: Target[] = []
  const stop = async (): Promise<void> => {
    for (const target of targets.reverse()) await target.stop()
    await redis.remove()
    await postgres.remove()
  }
  const database = { role: 'database', pid: postgres.pid, withChildren: true }
  const start = async (name: TargetName): Promise<Target> => {
    switch (name) {
      case 'chorus':
        return startChorus({
          databases: postgres,
          servers,
          ...(withRedis && { redisUrl: redis.url }),
          ...(linkToDatabase !== undefined && { linkToDatabase }),
          processes: [database, broker],
          environment: options.serverEnvironment,
          profileDir: options.profileDir,
        })
      case 'chorus-embedded':
        return startChorus({ environment: options.serverEnvironment, profileDir: options.profileDir })
      case 'nchan':
        return startNchan(servers)
      case 'socket-io-memory':
        return startPeer({ name, description: 'stock Socket.IO, one process, in memory, nothing stored' })
      case 'socket-io-insert':
        return startPeer({
          name,
          description: 'stock Socket.IO, one process, one INSERT per message through a pool of 10',
          databaseUrl: await postgres.createDatabase(),
          processes: [database],
        })
      case 'socket-io-redis-adapter':
      case 'socket-io-streams-adapter':
      case 'one-channel':
        return startPeer({
          name,
          description: `${descriptions[name]}, ${servers === 1 ? 'one process' : `${servers} processes`}, nothing stored`,
          servers,
          redisUrl: redis.url,
          processes: [broker],
        })
    }
  }
  try {
    for (const name of names) targets.push(await start(name))
    const rows = await postgres.query<{ name: string; setting: string; version: string }>(
      `select name, current_setting(name) as setting, current_setting('server_version') as version
         from pg_settings where name = any ($1::text[])`,
      [[...shownSettings]],
    )
    return {
      targets,
      versions: {
        postgres: rows[0]?.version ?? 'unknown',
        redis: (await redis.info('redis_version')) ?? 'unknown',
      },
      postgresSettings: Object.fromEntries(rows.map(({ name, setting }) => [name, setting])),
      measureCommitMs: async () => measureCommitMs(await postgres.createDatabase()),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

const commits = 300

async function measureCommitMs(databaseUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await client.query('create table rows (id bigserial primary key, body text not null)')
    const took: number[] = []
    for (let commit = 0; commit < commits; commit++) {
      const startedAtMs = performance.now()
      await client.query({
        name: 'insert',
        text: 'insert into rows (body) values ($1) returning id',
        values: ['x'.repeat(100)],
      })
      took.push(performance.now() - startedAtMs)
    }
    return Math.round(median(took) * 1_000) / 1_000
  } finally {
    await client.end()
  }
}
