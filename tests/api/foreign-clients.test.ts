/**
 * Clients that do not use our SDK: a stock socket.io-client over each of its transports, and plain
 * curl. They know only the wire protocol, and must get the same service as the SDK.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { HttpUser, SocketUser, SseClient, startServer, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

let server: ServerProcess
const folder = mkdtempSync(join(tmpdir(), 'chorus-curl-'))

beforeAll(async () => {
  server = await startServer()
})

afterAll(async () => {
  await server.remove()
  rmSync(folder, { recursive: true, force: true })
})

interface Ready {
  readonly cursor: string
  readonly epoch: string
  readonly resumed: boolean
  readonly user: { readonly id: string }
}

async function twoPeople(): Promise<{ ada: HttpUser; bob: HttpUser; conversation: string }> {
  const [ada, bob] = await Promise.all([HttpUser.signUp(() => server.url), HttpUser.signUp(() => server.url)])
  return { ada, bob, conversation: await ada.createConversation('direct', [bob.id]) }
}

const transports = [
  ['websocket', ['websocket']],
  ['polling', ['polling']],
  ['polling, then upgraded', ['polling', 'websocket']],
] as const

describe.each(transports)('a stock socket.io-client over %s', (_name, names) => {
  const connect = (user: HttpUser, cursor?: string) =>
    SocketUser.connect(server.url, {
      cookie: user.cookie,
      transports: [...names],
      ...(cursor !== undefined && { cursor }),
    })

  it('[ACK1] [ORD3] a stock client receives `ready`, acknowledgements, and all changes in order', async () => {
    const { ada, bob, conversation } = await twoPeople()
    const [adaSocket, bobSocket] = await Promise.all([connect(ada), connect(bob)])
    const ready = adaSocket.named<Ready>('ready')[0]!
    expect(ready.resumed).toBe(false)
    expect(ready.user.id).toBe(ada.id)
    let top = 0
    for (let count = 0; count < 20; count += 1) {
      const writer = count % 2 === 0 ? adaSocket : bobSocket
      const answer = await writer.command('send', { conversation, clientId: randomUUID(), text: `message ${count}` })
      expect(answer.ok).toBe(true)
      expect(answer.seq).toBeGreaterThan(top)
      top = answer.seq as number
      // An acknowledged message is stored: another member can read it at once.
      await bob.expect(200, 'GET', `/v1/conversations/${conversation}/messages/${top}`)
    }
    for (const socket of [adaSocket, bobSocket]) {
      await socket.waitForSeq(conversation, top)
      const messages = socket.changesOf(conversation).filter((change) => change.type === 'message.created')
      expect(messages.map((change) => (change.message as { text: string }).text)).toEqual(
        Array.from({ length: 20 }, (_, count) => `message ${count}`),
      )
      socket.close()
    }
  })

  it('[ORD2] [PUB1] [JOIN1] a stock client receives concurrent sends in order, also when it connects late', async () => {
    const { ada, bob, conversation } = await twoPeople()
    const socket = await connect(ada)
    const answers = Promise.all(
      Array.from({ length: 50 }, (_, count) =>
        socket.command('send', { conversation, clientId: randomUUID(), text: `in a row ${count}` }),
      ),
    )
    const late = await connect(bob)
    const seqs = (await answers).map(({ seq }) => seq as number)
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b))
    const { seq } = await ada.send(conversation, 'barrier')
    await late.waitForSeq(conversation, seq)
    const seen = late.changesOf(conversation).map((change) => change.seq)
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => seq - seen.length + 1 + index))
    late.close()
    socket.close()
  })

  it('[IDEM1] a stock client that repeats a clientId gets the first response again', async () => {
    const { ada, conversation } = await twoPeople()
    const socket = await connect(ada)
    const message = { conversation, clientId: randomUUID(), text: 'once' }
    const first = await socket.command('send', message)
    const again = await socket.command('send', message)
    expect(again).toEqual({ ...first, duplicate: true })
    const other = await socket.command('send', { ...message, text: 'another' })
    expect(other.error?.code).toBe('conflict')
    socket.close()
  })

  it('[RES1] a stock client with a cursor receives missed changes once, before `ready`', async () => {
    const { ada, bob, conversation } = await twoPeople()
    const before = await connect(bob)
    await ada.send(conversation, 'seen')
    await before.waitFor(({ name }) => name === 'checkpoint', 'a checkpoint')
    const { cursor } = before.named<{ cursor: string }>('checkpoint').at(-1)!
    before.close()
    const seqs: number[] = []
    for (let count = 0; count < 10; count += 1) seqs.push((await ada.send(conversation, `missed ${count}`)).seq)

    const after = await connect(bob, cursor)
    expect(after.named<Ready>('ready')[0]?.resumed).toBe(true)
    const readyAt = after.events.findIndex(({ name }) => name === 'ready')
    const beforeReady = after.events
      .slice(0, readyAt)
      .flatMap(({ name, payload }) =>
        name === 'changes' ? (payload as { changes: { seq: number }[] }).changes.map(({ seq }) => seq) : [],
      )
    expect(beforeReady).toEqual(seqs)
    const { seq } = await ada.send(conversation, 'live again')
    await after.waitForSeq(conversation, seq)
    expect(after.changesOf(conversation).map((change) => change.seq)).toEqual([...seqs, seq])
    after.close()
  })

  it('[RES2] a stock client with an invalid cursor receives `reset`', async () => {
    const { bob } = await twoPeople()
    const socket = await connect(bob, 'bm9uc2Vuc2U')
    expect(socket.events[0]?.name).toBe('reset')
    expect(socket.named<Ready>('ready')[0]?.resumed).toBe(false)
    socket.close()
  })
})

describe('a client that upgrades from polling to WebSocket', () => {
  it('[NODE1] a client loses and repeats no message while it upgrades to WebSocket', async () => {
    const { ada, bob, conversation } = await twoPeople()
    const socket = SocketUser.open(server.url, { cookie: bob.cookie, transports: ['polling', 'websocket'] })
    let upgraded = false
    socket.socket.io.on('open', () => {
      socket.socket.io.engine.once('upgrade', () => {
        upgraded = true
      })
    })
    await socket.waitFor(({ name }) => name === 'ready', 'ready')
    let top = 0
    while (!upgraded || top === 0) top = (await ada.send(conversation, 'while upgrading')).seq
    top = (await ada.send(conversation, 'after the upgrade')).seq
    await socket.waitForSeq(conversation, top)
    const seqs = socket.changesOf(conversation).map((change) => change.seq)
    expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => top - seqs.length + 1 + index))
    socket.close()
  })
})

describe('one cursor, used on all transports', () => {
  it('[RES3] one cursor gives the same changes over Socket.IO, SSE and REST', async () => {
    const { ada, bob, conversation } = await twoPeople()
    const group = await ada.createConversation('group', [bob.id], 'a second conversation')
    const { body } = await bob.expect<{ cursor: string }>(200, 'GET', '/v1/sync')
    const { seq } = await ada.send(conversation, 'one')
    await ada.send(group, 'two')
    await ada.expect(200, 'PATCH', `/v1/conversations/${conversation}/messages/${seq}`, { text: 'one, edited' })
    await ada.expect(
      200,
      'PUT',
      `/v1/conversations/${conversation}/messages/${seq}/reactions/${encodeURIComponent('👍')}`,
    )

    type Changes = { conversation: string; changes: { seq: number; type: string }[] }
    const sort = (entries: readonly Changes[]) =>
      entries
        .flatMap((entry) =>
          entry.changes.map((change) => `${entry.conversation} ${change.seq} ${JSON.stringify(change)}`),
        )
        .sort()
    const { body: page } = await bob.expect<{ conversations: Changes[]; more: boolean; cursor: string }>(
      200,
      'GET',
      `/v1/sync?cursor=${body.cursor}`,
    )
    expect(page.more).toBe(false)
    const expected = sort(page.conversations)
    expect(expected).toHaveLength(4)

    for (const names of [['websocket'], ['polling']] as const) {
      const socket = await SocketUser.connect(server.url, {
        cookie: bob.cookie,
        cursor: body.cursor,
        transports: [...names],
      })
      expect(sort(socket.named<Changes>('changes'))).toEqual(expected)
      const { ok, ...synced } = await socket.command('sync', { cursor: body.cursor })
      expect(ok).toBe(true)
      expect(sort(synced.conversations as Changes[])).toEqual(expected)
      socket.close()
    }
    for (const options of [{ cursor: body.cursor }, { lastEventId: body.cursor }]) {
      const stream = await SseClient.open(server.url, { cookie: bob.cookie, ...options })
      const ready = await stream.waitFor(({ name }) => name === 'ready', 'ready')
      expect(sort(stream.named('changes').map(({ data }) => data as Changes))).toEqual(expected)
      // The cursor in the `ready` event of the stream also works in REST. It returns no changes,
      // because the stream has delivered all of them.
      const { body: rest } = await bob.expect<{ conversations: Changes[] }>(
        200,
        'GET',
        `/v1/sync?cursor=${(ready.data as Ready).cursor}`,
      )
      expect(sort(rest.conversations)).toEqual([])
      stream.close()
    }
  })
})

interface CurlAnswer {
  readonly status: number
  readonly body: string
}

/** Runs curl with the cookie file of one user. */
function curl(jar: string, ...args: string[]): Promise<CurlAnswer> {
  return new Promise((resolve, reject) => {
    const child = spawn('curl', ['-sS', '-b', jar, '-c', jar, '-w', '\n%{http_code}', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    let problem = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')))
    child.stderr.on('data', (chunk: Buffer) => (problem += chunk.toString('utf8')))
    child.once('error', reject)
    child.once('close', (code) => {
      if (code !== 0) reject(new Error(`unable to run curl; ${problem}`))
      else resolve({ body: out.slice(0, out.lastIndexOf('\n')), status: Number(out.slice(out.lastIndexOf('\n') + 1)) })
    })
  })
}

interface CurlStream {
  readonly text: () => string
  readonly stop: () => Promise<void>
  readonly ended: Promise<void>
}

function curlStream(jar: string, url: string, lastEventId?: string): CurlStream {
  const child = spawn(
    'curl',
    ['-sS', '-N', '-b', jar, ...(lastEventId === undefined ? [] : ['-H', `Last-Event-ID: ${lastEventId}`]), url],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  return {
    text: () => text,
    ended,
    stop: async () => {
      child.kill()
      await ended
    },
  }
}

const json = ['-H', 'content-type: application/json']

describe('a client that uses only curl', () => {
  it('[SSE1] [RES1] [RES3] curl chats, and resumes its event stream after the server was killed', async () => {
    const own = await startServer()
    try {
      const post = (jar: string, path: string, body: object) =>
        curl(jar, ...json, '-d', JSON.stringify(body), `${own.url}${path}`)
      const ada = join(folder, 'ada')
      const bob = join(folder, 'bob')
      const suffix = randomUUID().slice(0, 8)
      await post(ada, '/v1/users', { handle: `ada_${suffix}`, password: 'a long enough password', name: 'Ada' })
      const signedUp = await post(bob, '/v1/users', {
        handle: `bob_${suffix}`,
        password: 'a long enough password',
        name: 'Bob',
      })
      expect(signedUp.status).toBe(201)
      const bobId = (JSON.parse(signedUp.body) as { user: { id: string } }).user.id
      const made = await post(ada, '/v1/conversations', { kind: 'direct', members: [bobId] })
      expect(made.status).toBe(201)
      const { id } = (JSON.parse(made.body) as { conversation: { id: string } }).conversation

      const acknowledged: number[] = []
      const send = async (text: string): Promise<void> => {
        const answer = await post(ada, `/v1/conversations/${id}/messages`, { clientId: randomUUID(), text })
        expect(answer.status).toBe(201)
        acknowledged.push((JSON.parse(answer.body) as { message: { seq: number } }).message.seq)
      }

      const stream = curlStream(bob, `${own.url}/v1/events`)
      await waitForFact(() => stream.text().includes('event: ready'), { what: 'ready' })
      for (let count = 0; count < 5; count += 1) await send(`before ${count}`)
      const lastId = () => [...stream.text().matchAll(/^id: (\S+)$/gm)].at(-1)?.[1]
      const readyId = lastId()
      await waitForFact(() => lastId() !== readyId, { what: 'a checkpoint with an id' })
      for (let count = 0; count < 5; count += 1) await send(`after the checkpoint ${count}`)
      // The server was killed in the middle of the stream. curl may have printed some of the last
      // five messages, but they came after the last event id, so the resume repeats them.
      await own.kill9()
      await stream.ended
      const firstText = stream.text()
      const resumeFrom = [...firstText.matchAll(/^id: (\S+)$/gm)].at(-1)![1]!

      await own.start()
      await send('after the restart')
      const resumed = curlStream(bob, `${own.url}/v1/events`, resumeFrom)
      await waitForFact(() => resumed.text().includes('event: ready'), { what: 'ready again' })
      await send('live after the restart')
      await waitForFact(() => resumed.text().includes('live after the restart'), { what: 'the last message' })
      await resumed.stop()

      const seen = new Map<number, string>()
      const resumedSeqs: number[] = []
      for (const [text, isResumed] of [
        [firstText, false],
        [resumed.text(), true],
      ] as const) {
        for (const [, data] of text.matchAll(/^event: changes\ndata: (.+)\n\n/gm)) {
          const event = JSON.parse(data!) as { conversation: string; changes: { seq: number }[] }
          expect(event.conversation).toBe(id)
          for (const change of event.changes) {
            const printed = JSON.stringify(change)
            expect(seen.get(change.seq) ?? printed).toBe(printed)
            seen.set(change.seq, printed)
            if (isResumed) resumedSeqs.push(change.seq)
          }
        }
      }
      // No message is missing. A change that both streams contain is equal in both. Within one
      // stream no change is repeated.
      expect([...seen.keys()].sort((a, b) => a - b)).toEqual(acknowledged)
      expect(resumedSeqs).toEqual([...new Set(resumedSeqs)].sort((a, b) => a - b))
      expect(resumed.text()).not.toContain('event: reset')
    } finally {
      await own.remove()
    }
  })

  it('[SSE1] an event stream contains every message sent after its response headers', async () => {
    const { ada, bob, conversation } = await twoPeople()
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const stream = await SseClient.open(server.url, { cookie: bob.cookie })
      expect(stream.status).toBe(200)
      expect(stream.headers['content-type']).toMatch(/^text\/event-stream/)
      const { seq } = await ada.send(conversation, `right after the headers ${attempt}`)
      await stream.waitFor(
        ({ name, data }) =>
          name === 'changes' && (data as { changes: { seq: number }[] }).changes.some((c) => c.seq === seq),
        `seq ${seq}`,
      )
      stream.close()
    }
  })

  it('[SSE1] an event stream has ids only on `ready` and `checkpoint`, and a heartbeat within 15 s', async () => {
    const { ada, bob, conversation } = await twoPeople()
    const stream = await SseClient.open(server.url, { cookie: bob.cookie })
    await stream.waitFor(({ name }) => name === 'ready', 'ready')
    await ada.send(conversation, 'hello')
    await stream.waitFor(({ name }) => name === 'checkpoint', 'a checkpoint')
    await waitForFact(() => stream.commentCount > 0, { what: 'a heartbeat', timeoutMs: 17_000 })
    for (const event of stream.events) {
      expect(event.id !== undefined).toBe(event.name === 'ready' || event.name === 'checkpoint')
    }
    stream.close()
  })
})
