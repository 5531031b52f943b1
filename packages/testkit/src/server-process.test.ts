/**
 * Tests that a real server starts, can be killed and restarts, with every client of the testkit
 * connected.
 */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HttpUser } from './http-user.ts'
import { startServer } from './server-process.ts'
import type { ServerProcess } from './server-process.ts'
import { SocketUser } from './socket-user.ts'
import { SseClient } from './sse-client.ts'

const main = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url))

describe.skipIf(!existsSync(main))('a server started by the testkit', () => {
  let server: ServerProcess
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(() => server.remove())

  it('a killed server restarts with its folder and port, and clients reconnect', async () => {
    const url = () => server.url
    const [ada, bea] = await Promise.all([HttpUser.signUp(url), HttpUser.signUp(url)])
    const conversation = await ada.createConversation('direct', [bea.id])
    const socket = await SocketUser.connect(server.url, { cookie: ada.cookie })
    const stream = await SseClient.open(server.url, { cookie: bea.cookie })
    expect(stream.status).toBe(200)
    await stream.waitFor(({ name }) => name === 'ready')

    const sent = await socket.command('send', { conversation, clientId: randomUUID(), text: 'before' })
    expect(sent).toMatchObject({ ok: true })
    await socket.waitForSeq(conversation, sent.seq as number)
    await stream.waitFor(({ name, data }) => name === 'changes' && JSON.stringify(data).includes('before'))
    await stream.waitFor(({ name, id }) => name === 'checkpoint' && id !== undefined)
    const { lastEventId = '' } = stream

    const { port } = server
    await server.kill9()
    await stream.ended
    await server.start()
    expect(server.port).toBe(port)

    const { seq, duplicate } = await ada.send(conversation, 'after')
    expect(duplicate).toBe(false)
    const resumed = await SseClient.open(server.url, { cookie: bea.cookie, lastEventId })
    await resumed.waitFor(({ name, data }) => name === 'changes' && JSON.stringify(data).includes(`"seq":${seq}`))
    resumed.close()
    socket.close()
    expect(await server.stop()).toEqual({ code: 0, signal: null })
  })

  it("a failed start of a server is reported with the server's output", async () => {
    await expect(startServer({ env: { PORT: 'seven' } })).rejects.toThrow(/PORT is "seven"/)
  })
})
