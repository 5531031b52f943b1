/**
 * Runs the commands that docs/from-the-tutorials.md shows. Each new command on that page needs an
 * entry here.
 */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  type Cluster,
  hasBalancer,
  hasPostgres,
  hasRedis,
  HttpUser,
  SocketUser,
  startCluster,
  startServer,
} from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const canRun = hasPostgres() && hasRedis() && hasBalancer('haproxy')
const run = async (program: string, ...args: string[]): Promise<string> =>
  (await promisify(execFile)(program, args, { cwd: repository, timeout: 60_000 })).stdout

/** Returns the commands in the column "see it" of all table rows. */
function readCommands(): string[] {
  const page = readFileSync(new URL('../../docs/from-the-tutorials.md', import.meta.url), 'utf8')
  const rows = page.split('\n').filter((line) => line.startsWith('| ') && !/^\| (---|idea)/.test(line))
  const cells = rows.map((row) => row.split(/(?<!\\)\|/)[3] ?? '')
  return [...new Set(cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? '')))].sort()
}

describe.skipIf(!canRun)('the page docs/from-the-tutorials.md', () => {
  let cluster: Cluster
  let ada: HttpUser
  let bob: HttpUser
  let conversation: string
  let writer: SocketUser
  let reader: SocketUser

  beforeAll(async () => {
    cluster = await startCluster({ servers: 2, hosts: true })
    ada = await HttpUser.signUp(cluster.urls[0]!)
    bob = await HttpUser.signUp(cluster.urls[1]!)
    conversation = await ada.createConversation('direct', [bob.id])
    writer = await SocketUser.connect(cluster.urls[0]!, { cookie: ada.cookie })
    reader = await SocketUser.connect(cluster.urls[1]!, { cookie: bob.cookie })
  })

  afterAll(async () => {
    writer?.close()
    reader?.close()
    await cluster?.remove()
  })

  async function send(text: string): Promise<number> {
    const { seq } = await writer.command('send', { conversation, clientId: randomUUID(), text })
    await reader.waitForSeq(conversation, seq as number)
    return seq as number
  }

  const startsWith =
    (...flags: string[]) =>
    async (): Promise<void> => {
      // Other tests start clusters with these flags. This test only checks that the command accepts
      // them: its error names just the unknown flag.
      const refused = await run('npm', 'run', '--silent', 'cluster', '--', ...flags, '--no-such-flag').catch(
        (error: { stderr: string }) => error.stderr,
      )
      expect(refused).toContain('"--no-such-flag" is not an argument')
    }

  const runners: Readonly<Record<string, () => Promise<unknown>>> = {
    'npm run cluster': () => send('from one server to another'),
    'npm run cluster -- --nginx': startsWith('--nginx'),
    'npm run cluster -- --servers 5': startsWith('--servers', '5'),
    'npm run cluster -- --subscribe-at-replica': startsWith('--subscribe-at-replica'),
    add: async () => {
      const added = await cluster.add()
      expect(new URL(added.url).hostname).toBe('127.0.0.3')
    },
    'curl http://127.0.0.1:9464/metrics': async () =>
      expect(await run('curl', '--silent', cluster.servers[0]!.metricsUrl)).toContain('chorus_connections'),
    'redis-cli pubsub shardchannels': async () => {
      const channels = (await cluster.redis.command('PUBSUB', 'SHARDCHANNELS')) as string[]
      expect(channels.some((channel) => channel.endsWith(`c:${conversation}`))).toBe(true)
    },
    'npm run trace -- --at URL,URL LINK USER': async () => {
      const seq = await send('traced')
      const at = cluster.servers.map(({ metricsUrl }) => metricsUrl).join()
      const link = `${cluster.urls[0]}/c/${conversation}/${seq}`
      const trace = await run('npm', 'run', '--silent', 'trace', '--', '--at', at, link, bob.handle)
      expect(trace).toMatch(/published it[^]*received it[^]*handed it to 1 connections/)
    },
    'kill -9': async () => {
      await cluster.kill9(0)
      await expect(
        writer.command('send', { conversation, clientId: randomUUID(), text: 'lost' }, 500),
      ).rejects.toThrow()
      await cluster.start(0)
      writer = await SocketUser.connect(cluster.urls[0]!, { cookie: ada.cookie })
      await send('after the kill')
    },
    'npm start': async () => {
      const databaseUrl = await cluster.postgres.createDatabase()
      const servers = [await startServer({ databaseUrl }), await startServer({ databaseUrl })]
      const [one, other] = await Promise.all(servers.map(({ url }) => HttpUser.signUp(url)))
      const room = await one!.createConversation('direct', [other!.id])
      const there = await SocketUser.connect(servers[1]!.url, { cookie: other!.cookie })
      const { seq } = await one!.send(room, 'without Redis')
      await there.waitForSeq(room, seq)
      there.close()
      for (const server of servers) await server.remove()
    },
    curl: async () => {
      await ada.expect(200, 'PATCH', '/v1/session/data', { place: 'Berlin' })
      const session = ['--silent', '--header', `cookie: ${ada.cookie}`, `${cluster.urls[1]}/v1/session/data`]
      expect(await run('curl', ...session)).toContain('Berlin')
    },
    'PUT /v1/conversations/ID/live/location': async () => {
      const value = { lat: 52.5, lon: 13.4 }
      await ada.expect([200, 204], 'PUT', `/v1/conversations/${conversation}/live/location`, { value, ttlMs: 60_000 })
      await reader.waitFor(({ name }) => name === 'live', 'the place of another user')
    },
  }
  /** Code on the page that is not run: two variables, and a benchmark that takes minutes. */
  const notRun = ['DATABASE_URL', 'REDIS_URL', 'npm run bench -- --scenario storm']

  it('the page shows only commands that this test runs', () => {
    const commands = readCommands().filter((command) => !notRun.includes(command))
    expect(commands).toEqual(Object.keys(runners).sort())
  })

  it.each(Object.keys(runners))('the command `%s` does what the page promises', async (command) => {
    await runners[command]!()
  })
})
