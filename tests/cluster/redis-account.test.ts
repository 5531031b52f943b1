/**
 * The Redis account that docs/operations.md describes. Its rights suffice for everything that
 * servers do, and forbid commands that would harm other users of the same Redis. The test
 * reads the rights from the document, so the document is tested, too.
 */
import { readFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import {
  hasPostgres,
  hasRedis,
  HttpUser,
  SocketUser,
  startRedis,
  startPostgres,
  startServer,
  waitForFact,
} from '@chorus/testkit'
import { expect, it } from 'vitest'

it.skipIf(!hasPostgres() || !hasRedis())(
  'the account of docs/operations.md suffices for servers, and forbids harmful commands',
  async () => {
    const databases = await startPostgres()
    const redis = await startRedis()
    const servers: Awaited<ReturnType<typeof startServer>>[] = []
    try {
      const text = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
      const rule = /^ACL SETUSER chorus .*$/m.exec(text)?.[0] ?? ''
      expect(await redis.command(...rule.split(' '))).toBe('OK')
      const url = `redis://chorus:password@127.0.0.1:${redis.port}`
      const databaseUrl = await databases.createDatabase()
      for (let count = 0; count < 2; count += 1)
        servers.push(await startServer({ databaseUrl, env: { REDIS_URL: url, CANARY: 'on' } }))
      const [first, second] = servers
      if (first === undefined || second === undefined) throw new Error('there are no two servers')

      const ada = await HttpUser.signUp(first.url)
      const bob = await HttpUser.signUp(second.url)
      const conversation = await ada.createConversation('direct', [bob.id])
      const here = await SocketUser.connect(first.url, { cookie: ada.cookie })
      const there = await SocketUser.connect(second.url, { cookie: bob.cookie })
      const answer = await here.command('send', { conversation, clientId: randomUUID(), text: 'hello' })
      await there.waitForSeq(conversation, answer.seq as number)
      await here.command('live', { conversation, key: 'typing', value: true, ttlMs: 5_000 })
      await there.waitFor(({ name }) => name === 'live', 'typing')
      await there.command('watch', { users: [ada.id] })
      for (const server of servers) {
        await waitForFact(
          async () => ((await (await fetch(`${server.url}/readyz`)).json()) as { degraded: [] }).degraded.length === 0,
          {
            what: 'nothing degraded',
          },
        )
        expect(server.logs.text).not.toMatch(/NOPERM/)
      }

      const tries = [
        ['CONFIG', 'GET', '*'],
        ['FLUSHALL'],
        ['KEYS', '*'],
        ['SHUTDOWN'],
        ['GET', 'another'],
        ['SPUBLISH', 'other', 'x'],
      ]
      for (const words of tries)
        expect(await redis.command('ACL', 'DRYRUN', 'chorus', ...words)).toMatch(/no permissions/)
    } finally {
      for (const server of servers) await server.remove()
      await redis.remove()
      await databases.remove()
    }
  },
)
