/**
 * Webhooks of a real cluster while servers and Redis are killed, including the server that reads
 * the log for webhooks. Every change still arrives, signed and in seq order per conversation. The
 * receiver in this test follows the recommendations of docs/webhooks.md.
 */
import { randomUUID } from 'node:crypto'
import { execFile } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { verifyWebhook } from '@chorus/protocol'
import {
  hasPostgres,
  hasRedis,
  HttpUser,
  type Redis,
  type ServerProcess,
  startRedis,
  startServer,
  usePostgres,
  waitForFact,
} from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const command = fileURLToPath(new URL('../../packages/server/dist/webhooks-command.js', import.meta.url))
const unlimited = { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_SIGN_INS_ADDRESS: '0' }

describe.runIf(hasPostgres() && hasRedis())('webhooks of a cluster', () => {
  let redis: Redis
  let databaseUrl: string
  let endpoint: Server
  let hookUrl: string
  let secret = ''
  const servers: ServerProcess[] = []
  /**
   * Changes that the receiver has accepted, as `conversation/seq`. Each event id is recorded once.
   */
  const accepted: string[] = []
  const known = new Set<string>()
  let refused = 0

  beforeAll(async () => {
    const databases = await usePostgres()
    databaseUrl = await databases.createDatabase()
    redis = await startRedis()
    endpoint = createServer((request, response) => {
      void (async () => {
        let body = ''
        for await (const chunk of request.setEncoding('utf8')) body += String(chunk)
        const { id } = await verifyWebhook({ headers: request.headers, body, secrets: secret })
        // A repeated event is no error. The receiver must only handle it once.
        if (!known.has(id)) {
          known.add(id)
          const { data } = JSON.parse(body) as { data: { conversation: string; change: { seq: number } } }
          accepted.push(`${data.conversation}/${data.change.seq}`)
        }
        response.writeHead(204).end()
      })().catch(() => {
        refused++
        response.writeHead(400).end()
      })
    })
    await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve))
    hookUrl = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/hook`
    const added = await promisify(execFile)(process.execPath, [command, 'add', hookUrl], {
      env: { PATH: process.env.PATH, DATABASE_URL: databaseUrl },
    })
    secret = /secret (\S+)/.exec(added.stdout)?.[1] ?? ''
    const start = () => startServer({ databaseUrl, env: { ...unlimited, REDIS_URL: redis.url } })
    servers.push(...(await Promise.all([start(), start(), start()])))
  })
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.remove()))
    endpoint.closeAllConnections()
    endpoint.close()
    await redis.remove()
  })

  it('[OFF1] webhooks deliver every change in order while servers and Redis are killed', async () => {
    const user = await HttpUser.signUp(() => servers[0]!.url)
    const conversations: string[] = []
    for (let n = 0; n < 4; n++) {
      const { body } = await user.expect<{ conversation: { id: string } }>(201, 'POST', '/v1/conversations', {
        kind: 'group',
        name: `place ${n}`,
        members: [],
      })
      conversations.push(body.conversation.id)
    }
    const tops = new Map<string, number>()
    for (let i = 0; i < 80; i++) {
      const conversation = conversations[i % conversations.length]!
      const { body } = await user.expect<{ message: { seq: number } }>(
        201,
        'POST',
        `/v1/conversations/${conversation}/messages`,
        { clientId: randomUUID(), text: `message ${i}` },
      )
      tops.set(conversation, body.message.seq)
      if (i === 15) await redis.command('FLUSHALL')
      // One of these two kills may hit the server that reads the log for webhooks. Another server
      // then takes over its lease.
      if (i === 30) await servers[1]!.kill9()
      if (i === 40) await redis.kill9()
      if (i === 50) await servers[2]!.kill9()
      if (i === 60) await redis.start()
      if (i === 65) await servers[1]!.start()
    }
    const total = [...tops.values()].reduce((sum, top) => sum + top, 0)
    await waitForFact(() => accepted.length >= total, { what: 'every change has come', timeoutMs: 60_000 })
    for (const conversation of conversations) {
      const seqs = accepted
        .filter((entry) => entry.startsWith(conversation))
        .map((entry) => Number(entry.split('/')[1]))
      expect(seqs).toEqual(Array.from({ length: tops.get(conversation)! }, (_, n) => n + 1))
    }
    expect(refused).toBe(0)
  })
})
